package restore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay/e2e/oracle"
)

func root() bool { return os.Geteuid() == 0 }

// run restores and fails the test for anything but success without a word.
func mustRun(t testing.TB, cfg Config) *Result {
	t.Helper()
	res, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(res.Failed, res.Warnings...) {
		t.Errorf("%s: %v", p.Path, p.Err)
	}
	for _, p := range res.Renamed {
		t.Errorf("%s: what was there is now %q", p.Path, p.Name)
	}
	return res
}

// sameTrees compares with code that is not the product's.
func sameTrees(t testing.TB, want, got string) {
	t.Helper()
	a, err := oracle.Read(want)
	if err != nil {
		t.Fatal(err)
	}
	b, err := oracle.Read(got)
	if err != nil {
		t.Fatal(err)
	}
	if diffs := oracle.Compare(a, b); len(diffs) > 0 {
		t.Errorf("the trees differ:\n%s", oracle.Report(diffs, 20))
	}
}

func TestTorture(t *testing.T) {
	t.Parallel()
	src, target := t.TempDir(), t.TempDir()
	if err := oracle.Torture(src, 1); err != nil {
		t.Fatal(err)
	}
	b := newTree(t)
	b.scan(src)
	cfg := Config{Catalog: b.done(), Target: target, Privileged: root()}
	res := mustRun(t, cfg)
	sameTrees(t, src, filepath.Join(target, src))
	if res.Files == 0 || res.Folders == 0 || res.Others == 0 || res.Bytes == 0 {
		t.Errorf("result %+v: nothing of some sort was restored", res.Progress)
	}
	// Once more over it: everything is there already.
	again := mustRun(t, cfg)
	sameTrees(t, src, filepath.Join(target, src))
	if again.Progress != res.Progress || again.Kept != again.Files+again.Others {
		t.Errorf("repeated: %+v, %d kept; want %+v, all kept", again.Progress, again.Kept, res.Progress)
	}
}
