package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

const (
	// dbtest is what a test imports, directly or not, to get a database.
	dbtest = module + "/server/db/dbtest"

	// dialects is the package that has code of its own for each database.
	dialects = module + "/server/db"
)

// byDatabase parts the packages into those whose tests use a database and the
// others.
func byDatabase(ctx context.Context, packages []string) (using, others []string, err error) {
	args := append([]string{"list", "-test", "-json=ImportPath,ForTest,Deps"}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("listing packages: %w", err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p struct {
			ImportPath, ForTest string
			Deps                []string
		}
		if err := dec.Decode(&p); err != nil {
			return nil, nil, fmt.Errorf("listing packages: %w", err)
		}
		tested, isTest := strings.CutSuffix(p.ImportPath, ".test")
		uses := func(dep string) bool { return dep == dbtest || strings.HasPrefix(dep, dbtest+" ") }
		switch {
		case isTest && slices.ContainsFunc(p.Deps, uses):
			using = append(using, tested)
		case !isTest && p.ForTest == "":
			others = append(others, p.ImportPath)
		}
	}
	return using, slices.DeleteFunc(others, func(name string) bool { return slices.Contains(using, name) }), nil
}

// tally is the outcome of one run of go test.
type tally struct {
	packages []*pkg // as they ended
}

type pkg struct {
	name    string
	tests   map[string]string // full name to pass, fail, skip, or run when it never ended
	outcome string
	events  []event // with output
}

type event struct {
	Action, Package, Test, Output, ImportPath string
	FailedBuild                               string
}

// unraced is what the race detector leaves out. SQLite's own code is C in Go's
// clothes: under the detector a query takes eight times as long, and nothing that
// it could find there is ours to mend. The driver, which touches our memory,
// stays in. To pack pages and to draw QR codes is arithmetic on bytes that their
// caller holds alone, and a fifth of what an attack on the pages costs.
var unraced = []string{
	"-gcflags=modernc.org/sqlite/lib=-race=false", "-gcflags=modernc.org/libc/...=-race=false",
	"-gcflags=compress/flate=-race=false", "-gcflags=github.com/boombuler/barcode/qr=-race=false",
}

// job is packages that are tested in one way.
type job struct {
	packages []string
	raced    bool     // under the race detector
	flags    []string // of go test, beside those that all have
}

// goTest tests the packages of the jobs, prints a line for each, and the whole
// output of what failed. The error is about go test itself; failed tests are in
// the tally.
func goTest(ctx context.Context, jobs []job, env ...string) (*tally, error) {
	all := &tally{}
	for _, j := range jobs {
		if len(j.packages) == 0 {
			continue
		}
		t, err := goTestJob(ctx, j, env)
		if err != nil {
			return nil, err
		}
		all.packages = append(all.packages, t.packages...)
	}
	return all, nil
}

func goTestJob(ctx context.Context, j job, env []string) (*tally, error) {
	// Vet has run over everything already. A test's result is never taken from
	// the cache: the cache does not see what a test does to the machine.
	args := []string{"test", "-json", "-vet=off", "-count=1", "-timeout=20m"}
	if j.raced {
		args = append(append(args, "-race"), unraced...)
	}
	args = slices.Concat(args, j.flags, longFirst(j.packages))
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(cleanEnv(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t, readErr := readEvents(out, os.Stdout)
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case readErr != nil:
		return nil, readErr
	case err != nil && (!errors.As(err, &exit) || len(t.packages) == 0):
		return nil, fmt.Errorf("go test: %w", err)
	case err != nil && !slices.ContainsFunc(t.packages, (*pkg).failed):
		return nil, fmt.Errorf("go test failed without saying where: %w", err)
	}
	return t, nil
}

// long are the longest packages, which start before all others: one that starts
// late has the end of the run for itself, and half of the machine.
var long = []string{module + "/e2e/browser", attacks, module + "/e2e/accounts", module + "/packaging", module + "/e2e"}

func longFirst(packages []string) []string {
	sorted := slices.DeleteFunc(slices.Clone(long), func(name string) bool { return !slices.Contains(packages, name) })
	for _, name := range packages {
		if !slices.Contains(long, name) {
			sorted = append(sorted, name)
		}
	}
	return sorted
}

// cleanEnv is our environment without what would decide the database.
func cleanEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "BACKSTAY_TEST_POSTGRES=")
	})
}

func readEvents(from io.Reader, to io.Writer) (*tally, error) {
	t := &tally{}
	running := map[string]*pkg{}
	builds := map[string]string{} // output by import path
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(to, line) // what go test says before it turns to JSON
			} else if e.Action == "build-output" {
				builds[e.ImportPath] += e.Output
			} else if e.Package != "" {
				t.event(running, e, builds, to)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading go test: %w", err)
		}
	}
	for _, p := range running { // go test died
		p.end("fail", to)
		t.packages = append(t.packages, p)
	}
	return t, nil
}

func (t *tally) event(running map[string]*pkg, e event, builds map[string]string, to io.Writer) {
	p := running[e.Package]
	if p == nil {
		p = &pkg{name: e.Package, tests: map[string]string{}}
		running[e.Package] = p
	}
	switch {
	case e.Action == "output":
		p.events = append(p.events, e)
	case e.Test != "" && slices.Contains([]string{"run", "pass", "fail", "skip"}, e.Action):
		p.tests[e.Test] = e.Action
	case e.Test == "" && slices.Contains([]string{"pass", "fail", "skip"}, e.Action):
		if e.FailedBuild != "" {
			fmt.Fprint(to, builds[e.FailedBuild])
		}
		p.end(e.Action, to)
		t.packages = append(t.packages, p)
		delete(running, e.Package)
	}
}

// end prints the package's closing line, and before it what failed. When the
// program died, its last words may stand under any test's name, so all is shown.
func (p *pkg) end(outcome string, to io.Writer) {
	p.outcome = outcome
	bad, died := p.with("fail", "run"), len(p.with("run")) > 0
	for _, e := range p.events {
		if line := strings.TrimLeft(e.Output, " "); strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- PASS") {
			continue // the order, of no use here
		}
		closing := e.Test == "" && (strings.HasPrefix(e.Output, "ok  \t") || strings.HasPrefix(e.Output, "FAIL\t"))
		switch {
		case closing:
			fmt.Fprintf(to, "%s\t%d tests\n", strings.TrimRight(e.Output, "\n"), len(p.tests))
		case died, p.failed() && (e.Test == "" || slices.Contains(bad, e.Test)),
			p.tests[e.Test] == "skip":
			fmt.Fprint(to, e.Output)
		}
	}
	p.events = nil
}

// failed reports whether the package or a test in it failed. A package without
// tests ends as skipped, which is no failure.
func (p *pkg) failed() bool { return p.outcome == "fail" || len(p.with("fail", "run")) > 0 }

// with returns the names of the tests with one of the outcomes, sorted.
func (p *pkg) with(outcomes ...string) []string {
	var names []string
	for name, o := range p.tests {
		if slices.Contains(outcomes, o) {
			names = append(names, name)
		}
	}
	return slices.Sorted(slices.Values(names))
}

// sum counts the tests, subtests too. A package that failed outside its tests,
// such as one that does not build, counts as one failed.
func (t *tally) sum() (passed, failed, skipped int) {
	for _, p := range t.packages {
		bad := len(p.with("fail", "run"))
		if bad == 0 && p.outcome == "fail" {
			bad = 1
		}
		passed += len(p.with("pass"))
		failed += bad
		skipped += len(p.with("skip"))
	}
	return passed, failed, skipped
}

// only returns the tests of the named packages, as package and name.
func (t *tally) only(packages []string) map[string]bool {
	tests := map[string]bool{}
	for _, p := range t.packages {
		if !slices.Contains(packages, p.name) {
			continue
		}
		for name, outcome := range p.tests {
			if outcome != "skip" {
				tests[p.name+" "+name] = true
			}
		}
	}
	return tests
}

// missing returns what is in a but not in b.
func missing(a, b map[string]bool) []string {
	only := maps.Clone(a)
	maps.DeleteFunc(only, func(name string, _ bool) bool { return b[name] })
	return slices.Sorted(maps.Keys(only))
}
