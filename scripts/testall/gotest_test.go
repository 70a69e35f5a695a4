package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

const output = `{"Action":"run","Package":"m/good","Test":"TestA"}
{"Action":"output","Package":"m/good","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"pass","Package":"m/good","Test":"TestA"}
{"Action":"output","Package":"m/good","Output":"ok  \tm/good\t0.1s\n"}
{"Action":"pass","Package":"m/good"}
{"Action":"run","Package":"m/bad","Test":"TestB"}
{"Action":"run","Package":"m/bad","Test":"TestB/sub"}
{"Action":"output","Package":"m/bad","Test":"TestB/sub","Output":"    b_test.go:1: got 1, want 2\n"}
{"Action":"fail","Package":"m/bad","Test":"TestB/sub"}
{"Action":"fail","Package":"m/bad","Test":"TestB"}
{"Action":"run","Package":"m/bad","Test":"TestC"}
{"Action":"output","Package":"m/bad","Test":"TestC","Output":"    c_test.go:1: fine\n"}
{"Action":"pass","Package":"m/bad","Test":"TestC"}
{"Action":"output","Package":"m/bad","Output":"FAIL\tm/bad\t0.2s\n"}
{"Action":"fail","Package":"m/bad"}
{"Action":"run","Package":"m/skips","Test":"TestD"}
{"Action":"output","Package":"m/skips","Test":"TestD","Output":"    d_test.go:1: no chromium\n"}
{"Action":"skip","Package":"m/skips","Test":"TestD"}
{"Action":"output","Package":"m/skips","Output":"ok  \tm/skips\t0.2s\n"}
{"Action":"pass","Package":"m/skips"}
{"Action":"output","Package":"m/none","Output":"?   \tm/none\t[no test files]\n"}
{"Action":"skip","Package":"m/none"}
{"ImportPath":"m/broken [m/broken.test]","Action":"build-output","Output":"broken.go:1:1: syntax error\n"}
{"ImportPath":"m/broken [m/broken.test]","Action":"build-fail"}
{"Action":"output","Package":"m/broken","Output":"FAIL\tm/broken [build failed]\n"}
{"Action":"fail","Package":"m/broken","FailedBuild":"m/broken [m/broken.test]"}
{"Action":"run","Package":"m/dies","Test":"TestE"}
{"Action":"output","Package":"m/dies","Test":"TestE","Output":"panic: oh\n"}
`

func TestReadEvents(t *testing.T) {
	t.Parallel()
	var shown strings.Builder
	got, err := readEvents(strings.NewReader(output), &shown)
	if err != nil {
		t.Fatal(err)
	}
	want := "ok  \tm/good\t0.1s\t1 tests\n" +
		"    b_test.go:1: got 1, want 2\nFAIL\tm/bad\t0.2s\t3 tests\n" +
		"    d_test.go:1: no chromium\nok  \tm/skips\t0.2s\t1 tests\n" +
		"broken.go:1:1: syntax error\nFAIL\tm/broken [build failed]\t0 tests\n" +
		"panic: oh\n"
	if shown.String() != want {
		t.Errorf("shown:\n%s\nwant:\n%s", shown.String(), want)
	}
	// Failed are TestB, its subtest, the package that did not build, and TestE.
	if p, f, s := got.sum(); p != 2 || f != 4 || s != 1 {
		t.Errorf("sum() = %d, %d, %d, want 2, 4, 1", p, f, s)
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	one := &tally{packages: []*pkg{
		{name: "m/db", outcome: "pass", tests: map[string]string{"TestA": "pass", "TestB": "pass"}},
		{name: "m/other", outcome: "pass", tests: map[string]string{"TestC": "skip"}},
	}}
	two := &tally{packages: []*pkg{
		{name: "m/db", outcome: "fail", tests: map[string]string{"TestA": "fail", "TestZ": "pass"}},
	}}
	want := []string{
		"m/other TestC was skipped", "m/db",
		"m/db: 1 ran on SQLite only: TestB", "m/db: 1 ran on PostgreSQL only: TestZ",
	}
	if got := verdict(one, two, []string{"m/db"}); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := verdict(&tally{}, &tally{}, nil); len(got) > 0 {
		t.Errorf("got %q for nothing wrong", got)
	}
}

// The race detector watches all but the drivers and the controls once, and the
// package of the two databases on both.
func TestJobs(t *testing.T) {
	t.Parallel()
	both, packaging := []string{"m/store", attacks, dialects}, module+"/packaging"
	for name, tc := range map[string]struct{ got, want []job }{
		"on SQLite": {onSQLite(both, []string{"m/other", packaging}),
			[]job{{packages: []string{"m/store", attacks, packaging}}, {packages: []string{dialects, "m/other"}, raced: true}}},
		"on PostgreSQL": {onPostgres(both),
			[]job{{packages: both, raced: true, flags: []string{"-skip=" + controls}}, {packages: []string{attacks}, flags: []string{"-run=" + controls}}}},
		"on PostgreSQL, without the attacks": {onPostgres([]string{"m/store"}), []job{{packages: []string{"m/store"}, raced: true}}},
	} {
		if !slices.EqualFunc(tc.got, tc.want, func(a, b job) bool {
			return a.raced == b.raced && slices.Equal(a.flags, b.flags) && slices.Equal(a.packages, b.packages)
		}) {
			t.Errorf("%s: %v, want %v", name, tc.got, tc.want)
		}
	}
}

func TestLongFirst(t *testing.T) {
	t.Parallel()
	got := longFirst([]string{"m/a", module + "/packaging", "m/b", attacks})
	if want := []string{attacks, module + "/packaging", "m/a", "m/b"}; !slices.Equal(got, want) {
		t.Errorf("longFirst() = %q, want %q", got, want)
	}
}

// Who renames a package or a test that is named here gets no other run than before
// without a word.
func TestNamesAreThere(t *testing.T) {
	t.Parallel()
	for _, name := range slices.Concat(drivers, long) {
		if _, err := os.Stat("../.." + strings.TrimPrefix(name, module)); err != nil {
			t.Error(err)
		}
	}
	text, err := os.ReadFile("../.." + strings.TrimPrefix(attacks, module) + "/controls_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if test := "func " + strings.Trim(controls, "^$") + "("; !strings.Contains(string(text), test) {
		t.Errorf("%s has no %s", attacks, test)
	}
}

// The packages of this program and of a store, and each once.
func TestByDatabase(t *testing.T) {
	t.Parallel()
	using, others, err := byDatabase(t.Context(), []string{"../../server/db/...", "."})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{dialects}; !slices.Equal(using, want) {
		t.Errorf("a database is used by %q, want %q", using, want)
	}
	if want := []string{dbtest, "github.com/backstay/backstay/scripts/testall"}; !slices.Equal(others, want) {
		t.Errorf("none is used by %q, want %q", others, want)
	}
}
