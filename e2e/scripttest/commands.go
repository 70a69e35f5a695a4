//go:build linux

package scripttest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay/e2e/oracle"
)

// commands are the words that scripts have beside testscript's own.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"server":        server,
	"activate":      activate,
	"exits":         exits,
	"sametree":      sametree,
	"torture":       torture,
	"random":        random,
	"settled":       settled,
	"received":      receivedCommand,
	"happens":       happens,
	"capture":       capture,
	"tmpfs":         tmpfs,
	"asuser":        asUser,
	"token":         tokenCommand,
	"approve":       approveCommand,
	"reset":         resetCommand,
	"resetis":       resetIsCommand,
	"tell":          tellCommand,
	"device":        deviceCommand,
	"sql":           sqlCommand,
	"settings":      settingsCommand,
	"profile":       profileCommand,
	"mailed":        mailed,
	"authenticator": authenticator,
	"recovery":      recovery,
	"code":          code,
	"keep":          keep,
	"setpassword":   setPassword,
	"invite":        invite,
	"sit":           sit,
	"shown":         shown,
	"answer":        answer,
	"secret":        secret,
	"rise":          rise,
	"computer":      computer,
	"person":        person,
	"console":       consoleCommand,
	"reads":         reads,
	"key":           keyCommand,
	"line":          lineCommand,
	"sound":         soundCommand,
}

// activate makes the script's computer a device of ann: activate [FLAG...]
func activate(ts *testscript.TestScript, _ bool, args []string) {
	flags := []string{"activate", "--server", ts.Getenv("SERVER"), "--ca-fingerprint", ts.Getenv("FINGERPRINT"),
		"--user", "ann", "--password-file", ts.MkAbs("password")}
	if os.Geteuid() == 0 {
		flags = append(flags, "--system-device")
	}
	ts.Check(ts.Exec("backstay", append(flags, args...)...))
}

// exits runs a program that must end with a status: exits STATUS PROGRAM [ARG...]
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got, err = exit.ExitCode(), nil
	}
	ts.Check(err)
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// sametree compares two trees by the oracle, names, content and metadata:
// [!] sametree A B
func sametree(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: sametree A B")
	}
	var trees [2]*oracle.Tree
	for i, arg := range args {
		var err error
		trees[i], err = oracle.Read(ts.MkAbs(arg))
		ts.Check(err)
	}
	diffs := oracle.Compare(trees[0], trees[1])
	if neg {
		if len(diffs) == 0 {
			ts.Fatalf("the trees are the same")
		}
		return
	}
	if len(diffs) > 0 {
		ts.Fatalf("the trees differ:\n%s", oracle.Report(diffs, 20))
	}
}

// torture makes a tree of everything that file systems allow: torture DIR
func torture(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: torture DIR")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(oracle.Torture(dir, 1))
}

// random makes files whose content cannot be compressed: random DIR FILES MIB
// of so many megabytes each, with the same names each time and never the same content.
func random(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: random DIR FILES MIB")
	}
	files, err := strconv.Atoi(args[1])
	ts.Check(err)
	size, err := strconv.Atoi(args[2])
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	for i := range files {
		var seed [32]byte
		rand.Read(seed[:])
		data := make([]byte, size<<20)
		mathrand.NewChaCha8(seed).Read(data)
		ts.Check(os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%03d", i)), data, 0o644))
	}
}

// settled waits until the files in a folder are so old that a backup can tell by
// their times that they have not changed since: settled DIR
func settled(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: settled DIR")
	}
	var newest time.Time
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if t := time.Unix(info.Sys().(*syscall.Stat_t).Ctim.Unix()); t.After(newest) {
			newest = t
		}
		return nil
	}))
	within(time.Minute, func() bool { return time.Since(newest) > 3*time.Second })
}

// receivedCommand keeps in a variable how many bytes the server has received,
// checks how many more they are now, or waits until they are:
//
//	received VAR
//	received since $VAR at most N MiB
//	received since $VAR at least N MiB
//	received since $VAR reaches N MiB
func receivedCommand(ts *testscript.TestScript, _ bool, args []string) {
	server := ts.Getenv("SERVER")
	now, err := received(server)
	ts.Check(err)
	if len(args) == 1 {
		ts.Setenv(args[0], strconv.FormatInt(now, 10))
		return
	}
	m := regexp.MustCompile(`^since (\d+) (at most|at least|reaches) ([\d.]+) MiB$`).FindStringSubmatch(strings.Join(args, " "))
	if m == nil {
		ts.Fatalf("usage: received VAR | received since $VAR at most|at least|reaches N MiB")
	}
	before, err := strconv.ParseInt(m[1], 10, 64)
	ts.Check(err)
	limit, err := strconv.ParseFloat(m[3], 64)
	ts.Check(err)
	if m[2] == "reaches" {
		within(30*time.Second, func() bool {
			now, err = received(server)
			return err == nil && float64(now-before) >= limit*(1<<20)
		})
	}
	more := float64(now-before) / (1 << 20)
	ts.Logf("received %.1f MiB", more)
	if m[2] == "at most" && more > limit || m[2] != "at most" && more < limit {
		ts.Fatalf("received %.1f MiB, want %s %s", more, m[2], m[3])
	}
}

// happens repeats a program until what it prints matches, or with ! until it
// does not: [!] happens PATTERN PROGRAM [ARG...]
func happens(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] happens PATTERN PROGRAM [ARG...]")
	}
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	var last string
	if !within(2*time.Minute, func() bool {
		ts.Exec(args[1], args[2:]...)
		last = ts.ReadFile("stdout") + ts.ReadFile("stderr")
		return pattern.MatchString(last) != neg
	}) {
		ts.Fatalf("%s: that never became so; at last:\n%s", args[0], last)
	}
}

// capture keeps the first group of a pattern in the last output: capture VAR PATTERN
func capture(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: capture VAR PATTERN")
	}
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("nothing in the output matches %s:\n%s", args[1], ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], m[1])
}

// tmpfs mounts a small disk until the script ends, or changes its size: tmpfs DIR SIZE
func tmpfs(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: tmpfs DIR SIZE")
	}
	dir := ts.MkAbs(args[0])
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		ts.Check(ts.Exec("mount", "-o", "remount,size="+args[1], dir))
		return
	}
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Check(ts.Exec("mount", "-t", "tmpfs", "-o", "mode=0700,size="+args[1], "backstay-e2e", dir))
	ts.Defer(func() { exec.Command("umount", "-l", dir).Run() })
}

// asuser runs a program with the rights of an ordinary user: asuser STATUS PROGRAM [ARG...]
func asUser(ts *testscript.TestScript, neg bool, args []string) {
	if os.Geteuid() == 0 {
		args = append([]string{args[0], "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"}, args[1:]...)
	}
	exits(ts, neg, args)
}
