package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/wire"
)

// run executes a command line with a state folder of its own.
func run(t *testing.T, env string, args ...string) (status int, out, errOut string) {
	t.Helper()
	in, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	values := map[string]string{"BACKSTAY_STATE": filepath.Join(t.TempDir(), "state")}
	for _, pair := range strings.Fields(env) {
		name, value, _ := strings.Cut(pair, "=")
		values[name] = value
	}
	getenv := func(name string) string { return values[name] }
	var o, e bytes.Buffer
	a := &app{in: in, out: &o, errOut: &e, getenv: getenv, say: locale.For(locale.FromEnv(getenv)), now: time.Now}
	status = a.run(args)
	return status, o.String(), e.String()
}

func TestCommandLines(t *testing.T) {
	tests := []struct {
		args   string
		status int
		want   string // in what is printed, on either stream
	}{
		{"--help", 0, "backstay restore --target"},
		{"", 0, "backstay restore --target"},
		{"help backup", 0, "backstay backup ~/Documents"},
		{"version", 0, "backstay 0.1"},
		{"version --json", 0, `"version": "0.1"`},
		{"explode", 2, "explode"},
		{"help explode", 2, "explode"},
		{"backup --explode", 2, "--explode"},
		{"backup --state", 2, "--state"},
		{"backup --json=maybe", 2, "--json does not take maybe"},
		{"backup -x", 2, "no option -x"},
		{"backup --=x", 2, "--=x is not an option"},
		{"completion", 0, "source <(backstay completion bash)"},
		{"completion bash", 0, "__start_backstay"},
		{"completion fish", 0, "complete -c backstay"},
		{"completion tcsh", 2, "tcsh"},
		{"completion bash zsh", 2, "zsh"},
		{"version now", 2, "now"},
		{"ls /a /b", 2, "/b"},
		{"activate --user ann", 2, "--server"},
		{"activate --server https://b.example", 2, "--user"},
		{"activate --server http://b.example --user ann", 2, "http://b.example"},
		{"activate --server https://b.example --user ann --ca-fingerprint 12:34", 2, "12:34"},
		{"restore", 2, "--target"},
		{"status", 1, "E1501"},
		{"status --json", 1, `"code":"E1501"`},
		{"snapshots", 1, "E1501"},
		{"agent", 1, "E1501"},
		{"backup /", 1, "E1501"},
		{"backup /nowhere/at/all", 1, "/nowhere/at/all"},
		{"backup /etc/hostname/x", 1, "/etc/hostname/x"},
		{"backup /etc/hostname", 1, "/etc/hostname"},
		{"ls", 1, "E1501"},
		{"restore --target /nowhere", 1, "E1501"},
	}
	for _, test := range tests {
		status, out, errOut := run(t, "", strings.Fields(test.args)...)
		if status != test.status || !strings.Contains(out+errOut, test.want) {
			t.Errorf("backstay %s = %d, %q, %q; want %d and %q", test.args, status, out, errOut, test.status, test.want)
		}
		if status == 0 && errOut != "" || status != 0 && out != "" {
			t.Errorf("backstay %s used the wrong stream: %q, %q", test.args, out, errOut)
		}
		if strings.Contains(out+errOut, "\x1b") {
			t.Errorf("backstay %s writes colours where there is no terminal", test.args)
		}
	}
}

// Every command says what it is for, in both languages, its texts exist, and
// they go into the usual 80 columns: all but the examples, which are to be copied.
func TestHelp(t *testing.T) {
	all := (&app{say: locale.For("en")}).rootCommand()
	for _, lang := range []string{"en_GB.UTF-8", "fr_FR.UTF-8"} {
		walk(all, func(cmd *cobra.Command) {
			status, out, _ := run(t, "LANG="+lang, append(strings.Fields(cmd.CommandPath())[1:], "--help")...)
			if status != 0 || len(out) < 200 {
				t.Errorf("%s %s --help = %d, %q", lang, cmd.CommandPath(), status, out)
			}
			if strings.Contains(out, "cli.") || strings.Contains(out, "<no value>") {
				t.Errorf("%s %s --help lacks a text:\n%s", lang, cmd.CommandPath(), out)
			}
			_, below, _ := strings.Cut(out, "\n\n")
			for line := range strings.Lines(below) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
					t.Errorf("%s %s --help has a line of %d signs: %s", lang, cmd.CommandPath(), n, line)
				}
			}
		})
	}
}

// walk visits a command and those below it.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		walk(c, visit)
	}
}

func TestShorten(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in    string
		width int
		want  string
	}{
		{"/home/ann", 20, "/home/ann"},
		{"/home/ann/Documents/2026/report", 16, "/home…2026/report"[:5] + "…" + "026/report"},
		{"/home/ann", 4, ""},
		{"/home/ann", 0, ""},
		{"/home/ann", -3, ""},
		{"", 10, ""},
	} {
		if got := shorten(test.in, test.width); got != test.want || len([]rune(got)) > max(test.width, 0) {
			t.Errorf("shorten(%q, %d) = %q, want %q", test.in, test.width, got, test.want)
		}
	}
}

func TestPathJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/a\u00e9": "{\"path\":\"/a\u00e9\"}",
		"/a\xe9\n": "{\"path\":\"/a\ufffd\\n\",\"path_b64\":\"L2HpCg==\"}",
	} {
		got, err := json.Marshal(toJSON(in))
		if err != nil || string(got) != want {
			t.Errorf("toJSON(%q) = %s, %v, want %s", in, got, err, want)
		}
	}
}

func TestExitStatus(t *testing.T) {
	t.Parallel()
	for want, list := range map[int][]error{
		exitFailed: {
			errors.New("something"), errs.Of(errs.CannotConnect), errs.Of(errs.OlderHistory),
			errs.Of(errs.StorageFull).Because(&wire.Refusal{Status: 500}),
		},
		exitRefused: {
			errs.Of(errs.AuthFailed).Because(&wire.Refusal{Status: 401}),
			fmt.Errorf("backing up: %w", errs.Of(errs.StorageFull).Because(&wire.Refusal{Status: 507})),
			control.Fail(errs.Of(errs.DeviceDeactivated).Because(&wire.Refusal{Status: 403})).Err(),
		},
		exitInterrupted: {errInterrupted, fmt.Errorf("reading: %w", errInterrupted)},
		exitUsage:       {&usage{"backstay", errors.New("what?")}},
	} {
		for _, err := range list {
			if got := exitStatus(err); got != want {
				t.Errorf("exitStatus(%v) = %d, want %d", err, got, want)
			}
		}
	}
}

func TestFailureTellsAll(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := &app{errOut: &out, getenv: func(string) string { return "" }, say: locale.For(locale.English)}
	a.fail(fmt.Errorf("activating: %w", errs.Of(errs.UntrustedCert, "subject", "CN=evil\x1b[2J", "issuer", "CN=ca", "fingerprint", "12ab", "why", wire.CertExpired, "not_after", "2026-11-22")))
	for _, want := range []string{"E1002", `CN=evil\x1b[2J`, "CN=ca", "12ab", "expired on 2026-11-22", "Check the date"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the message lacks %q:\n%s", want, out.String())
		}
	}
}

func TestProgressLine(t *testing.T) {
	t.Parallel()
	clock := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	a := &app{errOut: &out, getenv: func(string) string { return "" }, say: locale.For(locale.English), now: func() time.Time { return clock }}
	p := a.newProgress()
	now := wire.Progress{Files: 1234, TotalFiles: 61659, Bytes: 250e6, TotalBytes: 1e9, Folder: "/home/ann/Documents/2026/a\x1b[2Jb/c", Errors: 3}
	p.samples = []sample{{clock, 0}, {clock.Add(10 * time.Second), 250e6}}
	for width := range 200 {
		line := p.line(now, width)
		if n := len([]rune(line)); n > width {
			t.Errorf("a line of %d signs for a width of %d: %s", n, width, line)
		}
		if strings.Contains(line, "\x1b") {
			t.Errorf("the folder reaches the terminal as it is: %q", line)
		}
	}
	line := p.line(now, 180)
	for _, want := range []string{"█████░░░", "1,234", "61,659", "250 MB", "25 MB", "30 s", "2026"} {
		if !strings.Contains(line, want) {
			t.Errorf("the line lacks %q: %s", want, line)
		}
	}
	// Elsewhere than on a terminal: a line every half minute.
	for range 90 {
		clock = clock.Add(time.Second)
		p.show(now)
	}
	if got := strings.Count(out.String(), "\n"); got != 3 {
		t.Errorf("%d lines in 90 seconds, want 3:\n%s", got, out.String())
	}
}

func TestModeText(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]*catalog.Entry{
		"-rw-r--r--": {Type: catalog.File, Mode: 0o644},
		"drwxrwxrwt": {Type: catalog.Folder, Mode: 0o1777},
		"-rwsr-sr-x": {Type: catalog.File, Mode: 0o6755},
		"-rwSr-S--T": {Type: catalog.File, Mode: 0o7640},
		"lrwxrwxrwx": {Type: catalog.Symlink, Mode: 0o777},
		"c---------": {Type: catalog.Char},
	} {
		if got := modeText(e); got != want {
			t.Errorf("modeText(%v, %o) = %s, want %s", e.Type, e.Mode, got, want)
		}
	}
}

func TestPasswordFile(t *testing.T) {
	t.Parallel()
	a := &app{getenv: func(string) string { return "" }}
	file := filepath.Join(t.TempDir(), "password")
	for content, want := range map[string]string{"secret\n": "secret", "se cret": "se cret", "a\r\nb\n": "a", "": "", "\n": ""} {
		os.WriteFile(file, []byte(content), 0o600)
		got, err := a.password(context.Background(), file, "ann")
		if got != want || (err == nil) != (want != "") {
			t.Errorf("password from %q = %q, %v, want %q", content, got, err, want)
		}
	}
	if _, err := a.password(context.Background(), file+"x", "ann"); err == nil {
		t.Error("a password file that is missing is no failure")
	}
}

func TestRealFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(filepath.Join(dir, "real"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := realFolder(filepath.Join(dir, "link")); got != real || err != nil {
		t.Errorf("realFolder of a link = %q, %v, want %q", got, err, real)
	}
}
