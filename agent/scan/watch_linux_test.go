package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/archive"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/crypt"
)

// store keeps what backups make, in memory.
type store struct {
	mu      sync.Mutex
	objects map[backup.ID]backup.Object
}

func (s *store) Put(_ context.Context, o backup.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[o.Ref.ID] = o
	return nil
}

func (s *store) fetch(_ context.Context, kind backup.Kind, refs []backup.Ref, each func(int, []byte) error) error {
	for i, ref := range refs {
		s.mu.Lock()
		o := s.objects[ref.ID]
		s.mu.Unlock()
		plain, err := crypt.Open(nil, backup.UUID{1}, kind, ref, o.Sealed)
		if err == nil {
			err = each(i, plain)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// device backs up a folder with a watch, as the agent does.
type device struct {
	t      testing.TB
	root   string
	store  *store
	sealer *crypt.Sealer
	watch  *Watch
	last   *archive.Result
	listed []string // by the last walk, of folders
}

func newDevice(t testing.TB) *device {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := &device{t: t, root: filepath.Join(root, "home"), store: &store{objects: map[backup.ID]backup.Object{}},
		sealer: crypt.NewSealer(backup.Key{3}, backup.UUID{1}, crypt.Profile1), watch: NewWatch()}
	if err := os.Mkdir(d.root, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.watch.Forget)
	return d
}

func (d *device) run(w *Walk, hints archive.Hints) *archive.Result {
	d.t.Helper()
	defer w.Close()
	cfg := archive.Config{Source: w, Sink: d.store, Sealer: d.sealer, Secret: backup.Key{2}, Walked: []string{d.root}, Hints: hints}
	if d.last != nil {
		cfg.Previous = d.reader(d.last)
	}
	r, err := archive.Run(context.Background(), cfg)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

func (d *device) reader(r *archive.Result) *catalog.Reader {
	return catalog.NewReader(r.Root, d.store.fetch)
}

// hinted backs up with hints.
func (d *device) hinted() *archive.Result {
	d.t.Helper()
	base := ""
	if d.last != nil {
		base = d.last.Root.ID.String()
	}
	w := New(Config{Roots: []string{d.root}, Watch: d.watch, Base: base})
	r := d.run(w, w)
	if !r.Whole {
		w = New(Config{Roots: []string{d.root}, Watch: d.watch})
		r = d.run(w, w)
	}
	d.listed = nil
	if w.Whole() {
		d.listed = []string{d.path("all")}
	}
	for folder := range w.listed {
		d.listed = append(d.listed, folder)
	}
	slices.Sort(d.listed)
	d.watch.Keep(r.Root.ID.String())
	return r
}

// whole backs up by a whole walk.
func (d *device) whole() *archive.Result {
	d.t.Helper()
	return d.run(New(Config{Roots: []string{d.root}}), nil)
}

// same checks that a backup with hints is what a whole walk finds, and keeps it.
func (d *device) same(what string) {
	d.t.Helper()
	got := d.hinted()
	want := d.whole()
	if missed := d.difference(got, want); missed != "" {
		d.t.Errorf("%s: the hints missed something: %s", what, missed)
	}
	d.last = got
}

func (d *device) entries(r *archive.Result) map[string]*catalog.Entry {
	d.t.Helper()
	all := map[string]*catalog.Entry{}
	c := d.reader(r).Cursor(context.Background(), "")
	defer c.Close()
	for {
		e, err := c.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			d.t.Fatal(err)
		}
		if catalog.Inside(d.root, e.Path()) { // what is above changes as it likes
			kept := *e
			all[e.Path()] = &kept
		}
	}
}

func (d *device) difference(got, want *archive.Result) string {
	if got.Root.ID == want.Root.ID {
		return ""
	}
	a, b := d.entries(got), d.entries(want)
	var text []string
	for path, e := range b {
		if o := a[path]; o == nil || !o.Equal(e) {
			text = append(text, fmt.Sprintf("%s is %+v, want %+v", path, o, e))
		}
	}
	for path := range a {
		if b[path] == nil {
			text = append(text, path+" is no more")
		}
	}
	return strings.Join(text, "\n")
}

func (d *device) path(name string) string { return filepath.Join(d.root, name) }

func (d *device) write(name, text string) {
	d.t.Helper()
	d.do(os.MkdirAll(filepath.Dir(d.path(name)), 0o755), os.WriteFile(d.path(name), []byte(text), 0o644))
}

func (d *device) do(failed ...error) {
	d.t.Helper()
	if err := errors.Join(failed...); err != nil {
		d.t.Fatal(err)
	}
}

// TestHints is what happens to folders, and which of them are looked into for it.
func TestHints(t *testing.T) {
	d := newDevice(t)
	for _, name := range []string{"docs/a/1", "docs/b/1", "docs/b/2", "music/1", "music/deep/er/1", "top"} {
		d.write(name, name)
	}
	outside := filepath.Join(filepath.Dir(d.root), "outside")
	d.same("the first")
	var held *os.File
	for _, step := range []struct {
		what   string
		do     func()
		listed string
	}{
		{"nothing", func() {}, ""},
		{"a file is written", func() { d.write("music/deep/er/1", "other") }, "music/deep/er"},
		{"again nothing", func() {}, ""},
		{"a file comes and another goes", func() { d.write("docs/a/new", ""); d.do(os.Remove(d.path("docs/b/1"))) }, "docs/a docs/b"},
		{"a file's mode", func() { d.do(os.Chmod(d.path("docs/a/1"), 0o600)) }, "docs/a"},
		{"a folder's mode", func() { d.do(os.Chmod(d.path("docs/a"), 0o700)) }, "docs docs/a"},
		{"folders in a new one", func() { d.write("music/n/e/w", "") }, "music music/n music/n/e"},
		{"a folder moves, with what is in it", func() { d.do(os.Rename(d.path("music/deep"), d.path("docs/deep"))) }, "docs docs/deep docs/deep/er music"},
		{"what has moved is written", func() { d.write("docs/deep/er/1", "moved") }, "docs/deep/er"},
		{"and moves out", func() { d.do(os.Rename(d.path("docs/deep"), outside)) }, "docs"},
		{"is written there", func() { d.do(os.WriteFile(filepath.Join(outside, "er", "1"), []byte("out"), 0o644)) }, ""},
		{"and comes back", func() { d.do(os.Rename(outside, d.path("docs/deep"))) }, "docs docs/deep docs/deep/er"},
		{"two folders change places", func() {
			d.do(os.Rename(d.path("docs/a"), outside), os.Rename(d.path("docs/b"), d.path("docs/a")), os.Rename(outside, d.path("docs/b")))
		}, "docs docs/a docs/b"},
		{"a folder goes", func() { d.do(os.RemoveAll(d.path("docs/deep"))) }, "docs"},
		{"and a file has its name", func() { d.write("docs/deep", "a file") }, "docs"},
		{"a file becomes a folder", func() { d.do(os.Remove(d.path("top")), os.Mkdir(d.path("top"), 0o755)) }, ". top"},
		{"a file is open and grows", func() {
			var err error
			held, err = os.OpenFile(d.path("docs/deep"), os.O_WRONLY|os.O_APPEND, 0)
			d.do(err)
			held.WriteString("more")
		}, "docs"},
		{"and grows", func() { held.WriteString("and more") }, "docs"},
		// From now on either may change by the other's name.
		{"a file has a second name", func() { d.do(os.Link(d.path("music/1"), d.path("docs/b/2nd"))) }, "all"},
		{"it is written by that", func() { d.write("docs/b/2nd", "by the other name") }, "docs/b music"},
		{"and nothing", func() {}, "docs/b music"},
	} {
		step.do()
		d.same(step.what)
		var want []string
		for _, name := range strings.Fields(step.listed) {
			want = append(want, d.path(name))
		}
		slices.Sort(want)
		if !slices.Equal(d.listed, want) {
			t.Errorf("%s: listed %v, want %v", step.what, d.listed, want)
		}
	}
	held.Close()
}

// What nobody can see shows a day later: here that a file changes by a name that
// lies elsewhere.
func TestADayLater(t *testing.T) {
	d := newDevice(t)
	d.write("docs/1", "1")
	d.same("the first")
	outside := filepath.Join(filepath.Dir(d.root), "outside")
	d.do(os.Link(d.path("docs/1"), outside), os.WriteFile(outside, []byte("other"), 0o644))
	d.last = d.hinted()
	if d.difference(d.last, d.whole()) == "" {
		t.Error("hints see what they cannot; then they may be believed for longer")
	}
	d.watch.now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	d.same("a day later")
}

// After each of these all is walked, for nobody knows what has changed meanwhile.
func TestHintsAreDoubted(t *testing.T) {
	d := newDevice(t)
	d.write("docs/1", "1")
	d.same("the first")
	began := time.Now()
	d.watch.now = func() time.Time { return began }
	for what, do := range map[string]func(){
		"it slept":               d.watch.Forget,
		"a day has passed":       func() { began = began.Add(25 * time.Hour) },
		"the clock was put back": func() { began = began.Add(-80 * time.Hour) },
		"a backup came to nothing": func() {
			w := New(Config{Roots: []string{d.root}, Watch: d.watch, Base: d.last.Root.ID.String()})
			w.Close()
		},
		"another snapshot came": func() { d.watch.Keep("another") },
		"other things are left out": func() {
			d.watch.mu.Lock()
			defer d.watch.mu.Unlock()
			d.watch.scope = "other"
		},
	} {
		d.same("before: " + what)
		d.same("before: " + what)
		do()
		d.write("docs/1", what)
		w := New(Config{Roots: []string{d.root}, Watch: d.watch, Base: d.last.Root.ID.String()})
		if w.ways != nil {
			t.Errorf("%s: hints are believed", what)
		}
		w.Close()
		d.same(what)
	}
}

// Where there is too much to watch, all is walked.
func TestTooMuchToWatch(t *testing.T) {
	d := newDevice(t)
	d.watch.max = 3
	for i := range 10 {
		d.write(fmt.Sprint(i, "/file"), "1")
	}
	for i := range 3 {
		d.write(fmt.Sprint(i, "/file"), fmt.Sprint("other ", i))
		d.same("too much")
	}
	if d.watch.fd >= 0 || len(d.watch.folders) > 0 {
		t.Errorf("%d folders are watched", len(d.watch.folders))
	}
}

// Whatever happens between two backups, and during one, the next is the same with
// hints as by a whole walk.
func TestHintsMissNothing(t *testing.T) {
	const rounds, changes = 60, 12
	for seed := range uint64(4) {
		d := newDevice(t)
		r := rand.New(rand.NewPCG(seed, 1))
		for range 150 {
			d.random(r)
		}
		d.same("the first")
		spared := 0
		for round := range rounds {
			if round%4 == 3 {
				// What changes while it is backed up is in this backup or in the next.
				var busy sync.WaitGroup
				busy.Go(func() {
					for range changes {
						d.random(r)
					}
				})
				d.last = d.hinted()
				busy.Wait()
			}
			for range r.IntN(changes) {
				d.random(r)
			}
			d.same(fmt.Sprintf("seed %d, round %d", seed, round))
			if folders := len(d.watch.folders); len(d.listed) < folders/2 && !slices.Contains(d.listed, d.path("all")) {
				spared++
			}
			if t.Failed() {
				return
			}
		}
		if spared < rounds/2 {
			t.Errorf("seed %d: most folders were listed in %d of %d rounds: the hints are good for nothing", seed, rounds-spared, rounds)
		}
	}
}

// random does something to the tree, or fails to: that is no matter.
func (d *device) random(r *rand.Rand) {
	names := func() string {
		path := d.root
		if r.IntN(12) == 0 {
			path = filepath.Dir(d.root) // beside what is backed up
		}
		for range 1 + r.IntN(4) {
			path = filepath.Join(path, string('a'+rune(r.IntN(4))))
		}
		return path
	}
	path, other := names(), names()
	switch r.IntN(14) {
	case 0, 1, 2:
		os.MkdirAll(path, 0o755)
	case 3, 4, 5, 6:
		os.MkdirAll(filepath.Dir(path), 0o755)
		os.WriteFile(path, fmt.Append(nil, r.Uint64()), 0o644)
	case 7:
		if f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0); err == nil {
			f.WriteString("more")
			f.Close()
		}
	case 8:
		os.Rename(path, other)
	case 9:
		if path != d.root {
			os.RemoveAll(path)
		}
	case 10:
		if strings.HasPrefix(path, d.root) && strings.HasPrefix(other, d.root) { // TestADayLater
			os.Link(path, other)
		}
	case 11:
		os.Symlink(other, path)
	case 12:
		os.Chmod(path, os.FileMode(0o700+r.IntN(64)))
	case 13:
		os.Chtimes(path, time.Time{}, time.Unix(int64(r.Uint32()), 0))
	}
}
