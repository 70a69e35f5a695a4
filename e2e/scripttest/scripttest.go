//go:build linux

// Package scripttest runs both programs as people do. Each script, *.txt in the
// folder of the test, is a chapter of a manual that checks itself.
//
// Where a chapter stands is decided by what it is about. Those of folder e2e are
// about a computer: its files, its service, its ways to the server. They run
// once, and their server has a database of its own making. Those of e2e/accounts
// are about what the server remembers: who people are, which devices they have,
// what an administrator does to either. They run on each database.
package scripttest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay/e2e/programtest"
	"github.com/backstay/backstay/server/mail/mailtest"
	"github.com/backstay/backstay/wire/proxytest"
)

// bin is the folder of the two programs.
var bin string

// Main is the TestMain of a package with scripts.
func Main(m *testing.M) int { return programtest.Main(m, &bin, "backstay", "backstay-server") }

// Run runs the scripts beside the test. Each has the database whose address dsn
// returns; nil leaves it to the servers. The words that scripts have beside
// testscript's own are in commands.go and explained there.
func Run(t *testing.T, dsn func(testing.TB) string) {
	mails := mailtest.New(t)
	proxy := proxytest.Start(t, proxytest.Options{Password: true})
	testscript.Run(t, testscript.Params{
		Dir: ".",
		// A deadline far under the test's own, so that a script that hangs is told by name.
		Deadline:            time.Now().Add(8 * time.Minute),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[mailServer{}], env.Values[takenMails{}] = mails, map[*mailtest.Mail]bool{}
			env.Values[apps{}] = map[string]*app{}
			env.Values[testKey{}], env.Values[seatKey{}] = env.T().(testing.TB), new(*seat)
			env.Setenv("SQUID", proxy.Addr)
			if err := os.WriteFile(filepath.Join(env.WorkDir, "proxy-password"), []byte(proxytest.Password+"\n"), 0o600); err != nil {
				return err
			}
			if dsn != nil {
				env.Setenv(serverDB, dsn(env.T().(testing.TB)))
			}
			return setup(env)
		},
		Condition: condition,
		Cmds:      commands,
	})
}

// setup gives each script a computer's worth of environment: a home, a state
// folder, the programs on the path, English.
func setup(env *testscript.Env) error {
	home := filepath.Join(env.WorkDir, "home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	// Another user must be able to come by.
	for dir := env.WorkDir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			break
		}
	}
	env.Setenv("HOME", home)
	env.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	env.Setenv("BACKSTAY_STATE", filepath.Join(env.WorkDir, "state"))
	env.Setenv("LANG", "en_GB.UTF-8")
	env.Setenv("LC_ALL", "")
	env.Setenv("LANGUAGE", "")
	env.Setenv("XDG_DATA_HOME", filepath.Join(home, "data"))
	env.Setenv("NO_PROXY", "127.0.0.1")
	env.Values[serversKey{}], env.Values[lineKey{}] = &servers{}, new(*line)
	env.Defer(func() { env.Values[serversKey{}].(*servers).stopAll() })
	return nil
}

// condition adds [root].
func condition(name string) (bool, error) {
	if name == "root" {
		return os.Geteuid() == 0, nil
	}
	return false, fmt.Errorf("there is no condition %q", name)
}

// within repeats ok until it is true or the time is over. What it waits for needs
// the processor more than it does: a program that is run again and again would
// take most of one.
func within(d time.Duration, ok func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	for {
		began := time.Now()
		if ok() {
			return true
		}
		pause := min(max(20*time.Millisecond, 2*time.Since(began)), 200*time.Millisecond)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}

// oneLine is text without its last line break.
func oneLine(text string) string { return strings.TrimSpace(text) }
