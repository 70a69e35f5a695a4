package scan

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/backup/archive"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/e2e/oracle"
	"github.com/backstay/backstay/errs"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// temp is a temporary folder without links on the way to it.
func temp(t testing.TB) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	return dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644))
}

// all takes everything from a walk.
func all(t testing.TB, cfg Config) []archive.Item {
	t.Helper()
	w := New(cfg)
	defer w.Close()
	var items []archive.Item
	for {
		item, err := w.Next(t.Context())
		if err == io.EOF {
			return items
		}
		must(t, err)
		items = append(items, item)
	}
}

func place(i archive.Item) string {
	if i.Entry != nil {
		return i.Entry.Path()
	}
	if i.Listing {
		return "! listing " + i.Path
	}
	return "! " + i.Path
}

// below lists the places of items below a folder; the ancestors are left out.
func below(dir string, items []archive.Item) []string {
	var paths []string
	for _, i := range items {
		p := place(i)
		if i.Entry != nil && !catalog.Inside(dir, p) {
			continue
		}
		paths = append(paths, strings.ReplaceAll(p, dir, ""))
	}
	return paths
}

func isOrdered(t testing.TB, items []archive.Item) {
	t.Helper()
	key := func(i archive.Item) (string, string) {
		if i.Entry != nil {
			return i.Entry.Folder, i.Entry.Name
		}
		if i.Listing {
			return i.Path, ""
		}
		return catalog.Split(i.Path)
	}
	for n := 1; n < len(items); n++ {
		fa, na := key(items[n-1])
		fb, nb := key(items[n])
		if catalog.Compare(fa, na, fb, nb) >= 0 {
			t.Fatalf("%s comes before %s", place(items[n-1]), place(items[n]))
		}
	}
}

// Everything that other code sees in an ugly tree is found, with the same
// metadata and content.
func TestTortureTree(t *testing.T) {
	dir := temp(t)
	must(t, oracle.Torture(dir, 1))
	want, err := oracle.Read(dir)
	must(t, err)
	items := all(t, Config{Roots: []string{dir}})
	isOrdered(t, items)
	w := New(Config{})
	defer w.Close()
	got := map[string]*catalog.Entry{}
	for _, i := range items {
		if i.Entry == nil {
			t.Fatalf("%s: %v", place(i), i.Err)
		}
		if rel, ok := strings.CutPrefix(i.Entry.Path(), dir+"/"); ok {
			got[rel] = i.Entry
		}
	}
	for _, e := range want.Entries {
		if e.Path == "." {
			continue
		}
		g := got[e.Path]
		if g == nil {
			t.Errorf("%q was not found", e.Path)
			continue
		}
		delete(got, e.Path)
		compare(t, w, e, g)
	}
	for path := range got {
		t.Errorf("%q was found and is not there", path)
	}
}

func compare(t *testing.T, w *Walk, want *oracle.Entry, e *catalog.Entry) {
	t.Helper()
	sum, holes := [32]byte{}, []catalog.Hole(nil)
	if e.Type == catalog.File {
		f, err := w.Open(e)
		if err != nil {
			t.Errorf("%q: %v", want.Path, err)
			return
		}
		defer f.Close()
		must(t, f.Stat(e), f.Complete(e))
		h := sha256.New()
		n, err := io.Copy(h, io.NewSectionReader(f, 0, int64(e.Size)+1))
		must(t, err)
		if n != want.Size || int64(e.Size) != want.Size {
			t.Errorf("%q has %d bytes, want %d", want.Path, n, want.Size)
		}
		sum = [32]byte(h.Sum(nil))
		holes, err = f.Holes(e.Size)
		must(t, err)
		var data []oracle.Region
		at := uint64(0)
		for _, hole := range append(slices.Clone(holes), catalog.Hole{Offset: e.Size}) {
			if hole.Offset > at {
				data = append(data, oracle.Region{From: int64(at), To: int64(hole.Offset)})
			}
			at = hole.Offset + hole.Length
		}
		if !slices.Equal(data, want.Data) {
			t.Errorf("%q has data at %v, want %v", want.Path, data, want.Data)
		}
	} else if err := w.Complete(e); err != nil {
		t.Errorf("%q: %v", want.Path, err)
	}
	attrs := map[string]string{}
	for _, a := range e.Attrs {
		attrs[a.Name] = a.Value
	}
	if e.Mode != want.Mode || e.UID != want.UID || e.GID != want.GID || !e.Mtime.Time().Equal(want.MTime) ||
		e.Target != want.Target || e.Rdev != want.Device || sum != want.Sum || fmt.Sprint(attrs) != fmt.Sprint(want.Xattrs) {
		t.Errorf("%q is %+v, want %+v", want.Path, e, want)
	}
}

// The order and the items do not depend on how far the listers may run ahead.
func TestAnyBoundGivesTheSame(t *testing.T) {
	dir := temp(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	folders := []string{dir}
	for i := range 400 {
		path := filepath.Join(folders[rnd.IntN(len(folders))], fmt.Sprintf("%c%d", "a! é"[rnd.IntN(4)], i))
		if rnd.IntN(3) == 0 {
			must(t, os.Mkdir(path, 0o755))
			folders = append(folders, path)
		} else {
			must(t, os.WriteFile(path, nil, 0o644))
		}
	}
	items := all(t, Config{Roots: []string{dir}})
	isOrdered(t, items)
	want := below(dir, items)
	if len(want) != 401 {
		t.Fatalf("%d items, want 401", len(want))
	}
	for _, bound := range []int{1, 2, 3, 10, 100} {
		for _, batch := range []int{1, 7} {
			items := all(t, Config{Roots: []string{dir}, maxAhead: bound, batch: batch})
			if got := below(dir, items); !slices.Equal(got, want) {
				t.Errorf("with bound %d and batch %d: %q, want %q", bound, batch, got, want)
			}
		}
	}
}

// Memory is bounded also in one folder with very many items: a consumer that
// does not take finds the listers waiting.
func TestListersWait(t *testing.T) {
	dir := temp(t)
	for i := range 3000 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o644))
	}
	w := New(Config{Roots: []string{dir}, maxAhead: 100, batch: 10})
	defer w.Close()
	for range 300 {
		if _, err := w.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Microsecond)
		w.walker.mu.Lock()
		ahead := w.walker.ahead
		w.walker.mu.Unlock()
		if ahead > 100+2*10 {
			t.Fatalf("%d items wait, want about 100", ahead)
		}
	}
}

func TestRoots(t *testing.T) {
	dir := temp(t)
	for _, path := range []string{"a/1", "a/b/2", "a/b c/3", "d/4", "e/5"} {
		write(t, filepath.Join(dir, path), "")
	}
	must(t, os.Symlink(filepath.Join(dir, "d"), filepath.Join(dir, "link")))
	at := func(names ...string) (paths []string) {
		for _, n := range names {
			paths = append(paths, filepath.Join(dir, n))
		}
		return paths
	}
	for _, test := range []struct {
		roots []string
		want  string
	}{
		{at("a"), "[ /a /a/1 /a/b /a/b c /a/b/2 /a/b c/3]"},
		{at("a", "a/b"), "[ /a /a/1 /a/b /a/b c /a/b/2 /a/b c/3]"},
		{at("a/b", "e", "a/b c"), "[ /a /e /a/b /a/b c /a/b/2 /a/b c/3 /e/5]"},
		{at("a/1"), "[ /a /a/1]"},
		{at("link"), "[ /d /d/4]"},
		{at("d", "link"), "[ /d /d/4]"},
		{at("d", "e", "link", "d"), "[ /d /e /d/4 /e/5]"},
		{at("e", "gone", "a/gone/too"), "[ /a /e ! /gone ! /a/gone /e/5]"},
		{at("d/4/x/y"), "[ /d /d/4 ! listing /d/4]"},
		{at("e/../d/"), "[ /d /d/4]"},
	} {
		items := all(t, Config{Roots: test.roots})
		isOrdered(t, items)
		if got := fmt.Sprint(below(dir, items)); got != test.want {
			t.Errorf("roots %q: %s, want %s", test.roots, got, test.want)
		}
	}
	if items := all(t, Config{}); len(items) != 0 {
		t.Errorf("no roots: %d items", len(items))
	}
}

func TestLeftOut(t *testing.T) {
	dir := temp(t)
	for _, path := range []string{"keep/1", "state/secret", "cache/x/y", "keep/cache/z", "keep/a.iso"} {
		write(t, filepath.Join(dir, path), "")
	}
	items := all(t, Config{
		Roots: []string{dir}, Skip: []string{filepath.Join(dir, "state")},
		Excluded: func(path string) bool { return filepath.Base(path) == "cache" || strings.HasSuffix(path, ".iso") },
	})
	if got, want := fmt.Sprint(below(dir, items)), "[ /keep /keep/1]"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}

func TestPseudoFileSystemsAreEmpty(t *testing.T) {
	for _, path := range []string{"/proc", "/sys", "/dev"} {
		for _, i := range all(t, Config{Roots: []string{path}}) {
			if place(i) != path {
				t.Errorf("%s: found %s", path, place(i))
			}
		}
	}
}

// helper runs a walk as nobody, in a process of its own: permissions do not
// stop root.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SCAN_TEST_WALK"); dir != "" {
		w := New(Config{Roots: []string{dir}})
		for {
			i, err := w.Next(context.Background())
			if err != nil {
				break
			}
			what := place(i)
			if i.Err != nil {
				what += fmt.Sprint(" ", errors.Is(i.Err, fs.ErrPermission))
			}
			if i.Entry != nil && i.Entry.Type == catalog.File {
				if f, err := w.Open(i.Entry); err != nil {
					what += fmt.Sprint(" not opened ", errors.Is(err, fs.ErrPermission))
				} else {
					f.Close()
				}
			}
			fmt.Println(what)
		}
		return
	}
	os.Exit(m.Run())
}

func asNobody(t *testing.T, dir string) string {
	t.Helper()
	bin, err := os.Executable()
	must(t, err)
	copied := filepath.Join(dir, "test-binary")
	data, err := os.ReadFile(bin)
	must(t, err, os.WriteFile(copied, data, 0o755))
	defer os.Remove(copied)
	cmd := exec.Command(copied)
	cmd.Dir = "/"
	cmd.Env = []string{"SCAN_TEST_WALK=" + filepath.Join(dir, "tree")}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: false}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// What may not be read is reported, each thing once and nothing else (R23).
func TestUnreadable(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "scan")
	must(t, err, os.Chmod(dir, 0o755))
	t.Cleanup(func() {
		exec.Command("chmod", "-R", "u+rwx", dir).Run()
		os.RemoveAll(dir)
	})
	tree := filepath.Join(dir, "tree")
	for _, path := range []string{"open/1", "no list/2", "no enter/3", "open/denied", "z"} {
		write(t, filepath.Join(tree, path), "text")
	}
	must(t,
		os.Chmod(filepath.Join(tree, "no list"), 0o311),
		os.Chmod(filepath.Join(tree, "no enter"), 0o644),
		os.Chmod(filepath.Join(tree, "open/denied"), 0))
	must(t, os.Chmod(dir, 0o711)) // on the way to a root, looking is enough
	var got []string
	for line := range strings.Lines(asNobody(t, dir)) {
		if strings.Contains(line, "tree/") {
			got = append(got, strings.TrimSpace(strings.ReplaceAll(line, tree, "")))
		}
	}
	want := []string{"/no enter", "/no list", "/open", "/z", "! /no enter/3 true", "! listing /no list true", "/open/1", "/open/denied not opened true"}
	if !slices.Equal(got, want) {
		t.Errorf("a walk as nobody gives %q, want %q", got, want)
	}
}

func TestResolve(t *testing.T) {
	dir := temp(t)
	write(t, filepath.Join(dir, "a/b"), "")
	must(t, os.Symlink("a", filepath.Join(dir, "link")))
	if got, err := Resolve(filepath.Join(dir, "link/../link/")); got != filepath.Join(dir, "a") || err != nil {
		t.Errorf("Resolve = %q, %v", got, err)
	}
	_, err := Resolve(filepath.Join(dir, "none"))
	if e := errs.Find(err); e == nil || e.Key != "scan.folder.missing" {
		t.Errorf("Resolve of nothing: %v", err)
	}
}

func TestCloseAndCancel(t *testing.T) {
	before := runtime.NumGoroutine()
	dir := temp(t)
	for i := range 200 {
		write(t, filepath.Join(dir, fmt.Sprint(i%10), fmt.Sprint(i)), "")
	}
	for range 20 {
		w := New(Config{Roots: []string{dir}, maxAhead: 3, batch: 1})
		if _, err := w.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := New(Config{Roots: []string{dir}, maxAhead: 3, batch: 1})
	var err error
	for err == nil {
		_, err = w.Next(ctx)
	}
	if w.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

func BenchmarkWalk(b *testing.B) {
	goRoot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		n = len(all(b, Config{Roots: []string{strings.TrimSpace(string(goRoot))}}))
	}
	b.ReportMetric(float64(n), "items")
}
