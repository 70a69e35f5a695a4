// Testall runs every check and every test of Backstay, as `make test` does.
//
// The checks come first. Then all tests run, on SQLite where they use a
// database, and those of packages that use one run again on a PostgreSQL server,
// which is made for them in a temporary folder and removed. Every test of our own
// code runs once under the race detector, on PostgreSQL where it uses a database;
// see drivers and controls for what it leaves alone. Testall fails when anything
// failed, when a test was skipped for whatever reason (a missing tool is not a
// pass), and when the two databases did not see the same tests.
//
// With packages as arguments it leaves out the checks and tests those alone.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/scripts/cluster"
)

// The server of the test must die with us, however we die. The kernel watches
// the thread that started it, so main stays on one.
func init() { runtime.LockOSThread() }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(os.Stderr, "testall: interrupted")
			stop()
			os.Exit(130)
		}
		fmt.Fprintln(os.Stderr, "testall:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, packages []string) error {
	began := time.Now()
	var failed []string
	if len(packages) == 0 {
		packages = []string{"./..."}
		failed = check(ctx)
	}
	badChecks := len(failed)
	both, alone, err := byDatabase(ctx, packages)
	if err != nil {
		return err
	}

	programs, err := newPrograms()
	if err != nil {
		return err
	}
	defer programs.remove()

	fmt.Println("\n== tests, on SQLite")
	sqlite, err := goTest(ctx, onSQLite(both, alone), programs.env...)
	if err != nil {
		return err
	}
	postgres := &tally{}
	if len(both) > 0 {
		if postgres, err = testOnPostgres(ctx, both, programs.env...); err != nil {
			return err
		}
	}

	fmt.Println()
	failed = append(failed, verdict(sqlite, postgres, both)...)
	for _, f := range failed {
		fmt.Println("FAILED:", f)
	}
	fmt.Printf("took %s\n", time.Since(began).Round(time.Second))
	passed, bad, skipped := sqlite.sum()
	p, b, s := postgres.sum()
	fmt.Printf("%d passed, %d failed, %d skipped\n", passed+p, bad+b+badChecks, skipped+s)
	if len(failed) > 0 {
		return errors.New("not everything passed")
	}
	return ctx.Err()
}

const module = "github.com/backstay/backstay"

// drivers are the packages whose tests start programs, which are processes of
// their own: the race detector does not see into those, and what it would see
// goes one step after the other.
var drivers = []string{module + "/e2e", module + "/packaging"}

// onSQLite is how the tests run on SQLite. The race detector makes a test four
// times as dear, and a package that does not know which database it has shows
// it more on PostgreSQL: there transactions that write run beside each other,
// and on SQLite one after the other. So it watches those on PostgreSQL alone.
func onSQLite(both, alone []string) []job {
	var plain, raced []string
	for _, name := range slices.Concat(both, alone) {
		if slices.Contains(drivers, name) || slices.Contains(both, name) && name != dialects {
			plain = append(plain, name)
		} else {
			raced = append(raced, name)
		}
	}
	return []job{{packages: plain}, {packages: raced, raced: true}}
}

// The tests named controls see that the attacks of a package fail where a server
// was weakened: they end with the first failure, and are about the attacks. The
// race detector watches the servers while the attacks themselves run.
const (
	attacks  = module + "/e2e/authattack"
	controls = "^TestControls$"
)

// onPostgres is how the tests that use a database run there.
func onPostgres(packages []string) []job {
	raced := job{packages: packages, raced: true}
	if !slices.Contains(packages, attacks) {
		return []job{raced}
	}
	raced.flags = []string{"-skip=" + controls}
	return []job{raced, {packages: []string{attacks}, flags: []string{"-run=" + controls}}}
}

func testOnPostgres(ctx context.Context, packages []string, env ...string) (*tally, error) {
	server, err := cluster.Start(ctx, cluster.Careless...)
	if err != nil {
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	defer server.Stop()
	fmt.Println("\n== tests that use a database, on", server.Version)
	return goTest(ctx, onPostgres(packages), append(env, "BACKSTAY_TEST_POSTGRES="+server.DSN)...)
}

// verdict prints the counts and returns what is wrong with them.
func verdict(sqlite, postgres *tally, both []string) []string {
	var failed []string
	for _, t := range []*tally{sqlite, postgres} {
		for _, p := range t.packages {
			if p.failed() {
				failed = append(failed, p.name)
			}
			for _, name := range p.with("skip") {
				failed = append(failed, fmt.Sprintf("%s %s was skipped", p.name, name))
			}
		}
	}
	here, there := sqlite.only(both), postgres.only(both)
	fmt.Printf("store tests run on SQLite: %d\nstore tests run on PostgreSQL: %d\n", len(here), len(there))
	failed = append(failed, onlyOn("SQLite", missing(here, there))...)
	failed = append(failed, onlyOn("PostgreSQL", missing(there, here))...)
	return failed
}

// onlyOn says which tests, each a package and a name, ran on one database only:
// a line for each package.
func onlyOn(database string, tests []string) []string {
	names := map[string][]string{}
	for _, test := range tests {
		pkg, name, _ := strings.Cut(test, " ")
		names[pkg] = append(names[pkg], name)
	}
	var lines []string
	for _, pkg := range slices.Sorted(maps.Keys(names)) {
		lines = append(lines, fmt.Sprintf("%s: %d ran on %s only: %s", pkg, len(names[pkg]), database, strings.Join(names[pkg], " ")))
	}
	return lines
}

// command is a tool that prints only when it fails.
func command(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
