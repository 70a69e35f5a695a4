//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/servertest"
)

// fakeClient is a backstay that copies: enough to see what quickstart makes of
// what a client does. case is put where a backup is made.
const fakeClient = `#!/bin/sh
echo "backstay $*"
command=$1
state=$3
eval last=\${$#}
case $command in
activate) mkdir -p "$state" && touch "$state/device.json" ;;
backup) BACKUP ;;
restore)
	while [ "$1" != --target ]; do shift; done
	mkdir -p "$2$last"
	find "$last" -mindepth 1 -maxdepth 1 ! -name own -exec cp -a {} "$2$last" \;
	chmod --reference="$last" "$2$last"; touch -r "$last" "$2$last"
	RESTORE ;;
esac
`

// try is a quickstart with a fake client.
type try struct {
	t            *testing.T
	data, folder string
	client       string
}

func newTry(t *testing.T, backup, restore string) *try {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	q := &try{t: t, data: filepath.Join(dir, "data"), folder: filepath.Join(dir, "folder"), client: filepath.Join(dir, "backstay")}
	if err := os.MkdirAll(filepath.Join(q.folder, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "sub/c"} {
		if err := os.WriteFile(filepath.Join(q.folder, name), []byte("content of "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	q.script(backup, restore)
	return q
}

func (q *try) script(backup, restore string) {
	q.t.Helper()
	text := strings.NewReplacer("BACKUP", backup, "RESTORE", restore).Replace(fakeClient)
	if err := os.WriteFile(q.client, []byte(text), 0o700); err != nil {
		q.t.Fatal(err)
	}
}

func (q *try) run(ctx context.Context, args ...string) (status int, out, err string) {
	var stdout bytes.Buffer
	status, err = q.runTo(ctx, &stdout, args...)
	return status, stdout.String(), err
}

func (q *try) runTo(ctx context.Context, out io.Writer, args ...string) (status int, err string) {
	var stderr bytes.Buffer
	p := &program{out: out, err: &stderr, environ: []string{"PATH=" + os.Getenv("PATH")}, client: q.client, hasher: servertest.Hasher}
	status = p.run(ctx, append([]string{"quickstart", "--data", q.data, "--listen", "127.0.0.1:0", "--exit"}, args...))
	return status, stderr.String()
}

// watched is an output that tells when a word has come.
type watched struct {
	word string
	came chan struct{}

	mu   sync.Mutex
	text strings.Builder
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := strings.Contains(w.text.String(), w.word)
	w.text.Write(p)
	if !before && strings.Contains(w.text.String(), w.word) {
		close(w.came)
	}
	return len(p), nil
}

// What an earlier release left is changed only when somebody says so, and they
// are told how.
func TestQuickstartOnOldData(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ statement, says string }{
		"older": {`DELETE FROM goose_db_version WHERE version_id = $1`, "backstay-server migrate --data "},
		"newer": {`UPDATE goose_db_version SET version_id = version_id + 1 WHERE version_id = $1`, "Remove the folder "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := newTry(t, ":", ":")
			if status, out, err := q.run(t.Context(), q.folder); status != 0 {
				t.Fatalf("status %d: %s%s", status, out, err)
			}
			edit(t, "sqlite:"+filepath.Join(q.data, "backstay.db"), c.statement, db.Target())
			status, _, err := q.run(t.Context(), q.folder)
			if status != 1 || !strings.Contains(err, "E1602") || !strings.Contains(err, c.says+q.data) {
				t.Errorf("status %d: %s; want %q", status, err, c.says+q.data)
			}
		})
	}
}

func TestQuickstartJudges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, backup, restore string
		status                int
		want                  string
	}{
		{"identical", ":", ":", 0, "IDENTICAL: 5 items"},
		{"another byte", ":", `printf x >> "$2$last/a"`, 1, "a: size"},
		{"a file that is missing", ":", `rm "$2$last/sub/c"`, 1, "sub/c: missing"},
		{"a file too many", ":", `touch "$2$last/d"`, 1, "d: extra"},
		{"another mode", ":", `chmod 600 "$2$last/b"`, 1, "b: mode"},
		{"another time", ":", `touch -d 2001-01-01 "$2$last/b"`, 1, "b: time"},
		{"changed by somebody meanwhile", `printf x >> "$last/a"`, `printf y >> "$2$last/a"`, 0, "1 item changed"},
		{"changed, and another is wrong", `printf x >> "$last/a"`, `printf y >> "$2$last/b"`, 1, "b: size"},
		{"made and removed meanwhile", `touch "$last/sub/new"`, `touch "$2$last/sub/other"`, 0, "2 items changed"},
		{"the client says that some could not be read", "exit 3", ":", 0, "IDENTICAL"},
		{"the backup fails", "echo no >&2; exit 1", ":", 1, "backstay backup"},
		{"the restore fails", ":", "exit 4", 1, "status 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			q := newTry(t, c.backup, c.restore)
			status, out, err := q.run(t.Context(), q.folder)
			if status != c.status || !strings.Contains(out+err, c.want) {
				t.Errorf("status %d, want %d and %q:\n%s%s", status, c.status, c.want, out, err)
			}
			if left, _ := filepath.Glob(filepath.Join(q.data, restorePrefix+"*")); len(left) > 0 {
				t.Errorf("%q is left", left)
			}
			if _, err := os.Lstat(filepath.Join(q.data, ".password")); err == nil {
				t.Error("the password's file is left")
			}
		})
	}
}

func TestQuickstartFindsItsDataAgain(t *testing.T) {
	t.Parallel()
	q := newTry(t, ":", ":")
	status, out, err := q.run(t.Context(), q.folder)
	if status != 0 || !strings.Contains(out, "backstay activate") {
		t.Fatalf("first run: status %d\n%s%s", status, out, err)
	}
	path := filepath.Join(q.data, "credentials")
	first, readErr := os.ReadFile(path)
	if readErr != nil {
		t.Fatal(readErr)
	}
	info, readErr := os.Stat(path)
	if readErr != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("credentials: %v, %v, want 0600", info.Mode(), readErr)
	}
	want := regexp.MustCompile(`^portal: https://127\.0\.0\.1:\d+/
user: user
user_password: \S{20,}
console: https://127\.0\.0\.1:\d+/admin/
administrator: administrator
administrator_password: \S{20,}
ca_fingerprint: [0-9a-f]{64}
device_state: \S+/data/device
$`)
	if !want.Match(first) {
		t.Errorf("credentials are\n%s", first)
	}
	if !strings.Contains(out, "--server https://127.0.0.1:") || !strings.Contains(out, "--ca-fingerprint ") {
		t.Errorf("activate was called without the server:\n%s", out)
	}

	status, out, err = q.run(t.Context(), q.folder)
	if status != 0 || strings.Contains(out, "backstay activate") {
		t.Errorf("second run: status %d\n%s%s", status, out, err)
	}
	if second, _ := os.ReadFile(path); !bytes.Equal(first, second) {
		t.Errorf("credentials changed:\n%s\n%s", first, second)
	}
	if status, _, err := q.run(t.Context(), "--listen", "127.0.0.1:1", q.folder); status != 1 || !strings.Contains(err, "--data") {
		t.Errorf("another port: status %d, %s", status, err)
	}
}

// A home folder usually holds the quickstart's own data.
func TestQuickstartLeavesItsDataOut(t *testing.T) {
	t.Parallel()
	q := newTry(t, ":", ":")
	status, out, err := q.run(t.Context(), "--data", filepath.Join(q.folder, "own"), q.folder)
	if status != 0 || !strings.Contains(out, "IDENTICAL: 5 items") {
		t.Errorf("status %d:\n%s%s", status, out, err)
	}
}

func TestQuickstartRefuses(t *testing.T) {
	t.Parallel()
	q := newTry(t, ":", ":")
	inner := filepath.Join(q.folder, "sub")
	foreign := filepath.Dir(writeFile(t, "letter", "Dear"))
	for _, c := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"a folder that is missing", []string{q.folder + "x"}, 1, "There is no folder"},
		{"a file", []string{filepath.Join(q.folder, "a")}, 1, "not a folder"},
		{"no folder", nil, 2, ""},
		{"two folders", []string{q.folder, inner}, 2, ""},
		{"the folder inside the data", []string{"--data", q.folder, inner}, 1, "--data"},
		{"data in a folder of something else", []string{"--data", foreign, q.folder}, 1, foreign},
		{"a bad address", []string{"--listen", "nowhere", q.folder}, 1, "nowhere"},
	} {
		status, out, err := q.run(t.Context(), c.args...)
		if status != c.status || !strings.Contains(err, c.want) {
			t.Errorf("%s: status %d, want %d and %q:\n%s%s", c.name, status, c.status, c.want, out, err)
		}
	}
	list, err := os.ReadDir(q.folder)
	if err != nil || len(list) != 3 {
		t.Errorf("the folder holds %v, %v", list, err)
	}
}

// A quickstart that serves: it has the lock and the port until it is told to
// stop, and then ends well.
func TestQuickstartServesUntilInterrupted(t *testing.T) {
	t.Parallel()
	q := newTry(t, ":", ":")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &watched{word: "Ctrl-C", came: make(chan struct{})}
	done := make(chan int, 1)
	go func() {
		status, err := q.runTo(ctx, out, "--exit=false", q.folder)
		if err != "" {
			t.Error(err)
		}
		done <- status
	}()
	select {
	case <-out.came:
	case status := <-done:
		t.Fatalf("ended with %d before it served", status)
	}
	if status, _, err := q.run(t.Context(), q.folder); status != 1 || !strings.Contains(err, "already") {
		t.Errorf("a second quickstart on the same data: status %d, %s", status, err)
	}
	other := newTry(t, ":", ":")
	c, err := readCredentials(q.data)
	if err != nil {
		t.Fatal(err)
	}
	port := strings.TrimSuffix(strings.TrimPrefix(c.Portal, "https://"), "/")
	if status, _, err := other.run(t.Context(), "--listen", port, other.folder); status != 1 || !strings.Contains(err, "--listen") {
		t.Errorf("a port in use: status %d, %s", status, err)
	}
	cancel()
	if status := <-done; status != 0 {
		t.Errorf("status %d after Ctrl-C", status)
	}
	for _, want := range []string{"IDENTICAL", c.Portal, c.Console, c.UserPassword, c.AdministratorPassword, c.CAFingerprint} {
		if !strings.Contains(out.text.String(), want) {
			t.Errorf("the output lacks %s:\n%s", want, out.text.String())
		}
	}
}

func TestQuickstartIsInterrupted(t *testing.T) {
	t.Parallel()
	q := newTry(t, `trap 'exit 130' INT; touch "$3.started"; while :; do sleep 0.05; done`, ":")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for range 400 {
			if _, err := os.Stat(filepath.Join(q.data, "device.started")); err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		cancel()
	}()
	status, out, err := q.run(ctx, q.folder)
	if status != 130 {
		t.Errorf("status %d, want 130:\n%s%s", status, out, err)
	}
}
