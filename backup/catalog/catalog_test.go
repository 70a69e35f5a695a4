package catalog

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
)

var secret = backup.Key{1, 2, 3}

// store keeps plaintexts under their hashes: what is tested here does not
// depend on how objects are sealed.
type store struct {
	mu    sync.Mutex
	plain map[backup.ID][]byte
	seals int
	reads int
	fail  error
}

func newStore() *store { return &store{plain: map[backup.ID][]byte{}} }

func (s *store) seal(kind backup.Kind, plain []byte) (backup.Ref, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seals++
	id := backup.ID(sha256.Sum256(append([]byte{byte(kind)}, plain...)))
	s.plain[id] = slices.Clone(plain)
	return backup.Ref{ID: id, Len: uint32(len(plain))}, s.fail
}

func (s *store) fetch(_ context.Context, _ backup.Kind, refs []backup.Ref, each func(int, []byte) error) error {
	for i := range refs {
		s.mu.Lock()
		plain, ok := s.plain[refs[i].ID]
		s.reads++
		s.mu.Unlock()
		if !ok {
			return errors.New("no such object")
		}
		if err := each(i, plain); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) write(t testing.TB, entries []Entry, known *Known) (backup.Ref, *Writer) {
	t.Helper()
	w := NewWriter(WriterConfig{Secret: secret, Seal: s.seal, Known: known})
	for i := range entries {
		if err := w.Add(&entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	root, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return root, w
}

// tree makes n files in folders of 40, three deep, with bundles and some
// entries of each other type.
func tree(n int) []Entry {
	rnd := rand.New(rand.NewPCG(1, 2))
	var all []Entry
	add := func(path string, e Entry) {
		e.Folder, e.Name = Split(path)
		e.Mode, e.Owner, e.Group, e.Nlink = 0o644, "root", "root", 1
		e.Mtime, e.Ctime = Time{1e9 + int64(len(all)), 5}, Time{1e9, uint32(len(all))}
		e.Ino, e.Dev = uint64(len(all)), 66
		all = append(all, e)
	}
	bundle := backup.Ref{Len: 4 << 20}
	seen := map[string]bool{}
	for i := range n {
		folder := fmt.Sprintf("/srv/%03d/%03d", i/1600, i/40)
		for p := folder; p != "/" && !seen[p]; p, _ = Split(p) {
			seen[p] = true
			add(p, Entry{Type: Folder})
		}
		path := fmt.Sprintf("%s/file number %06d.txt", folder, i)
		switch {
		case i%97 == 0:
			add(path, Entry{Type: Symlink, Target: "../elsewhere"})
		case i%193 == 0:
			add(path, Entry{Type: Char, Rdev: uint64(i)})
		default:
			if i%50 == 1 {
				bundle.ID = backup.ID(sha256.Sum256([]byte(path)))
			}
			size := uint32(rnd.IntN(9000) + 1)
			e := Entry{Type: File, Size: uint64(size), Hash: backup.Hash(sha256.Sum256([]byte(path)))}
			e.Extents = []Extent{{bundle, uint32(i%50) * 9000, size}}
			if i%31 == 0 {
				e.Attrs = []Attr{{"user.a", "1"}, {"user.b", "\x00\xff"}}
			}
			add(path, e)
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return a.Compare(&b) })
	return all
}

func read(t testing.TB, r *Reader, from string) []Entry {
	t.Helper()
	var got []Entry
	for e, err := range r.From(t.Context(), from) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, *e)
	}
	return got
}

func sameEntries(t testing.TB, got, want []Entry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d entries, want %d", len(got), len(want))
	}
	for i := range got {
		if !got[i].Equal(&want[i]) {
			t.Fatalf("entry %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 39, 1000, 12_000} {
		s := newStore()
		entries := tree(n)
		root, w := s.write(t, entries, nil)
		sameEntries(t, read(t, NewReader(root, s.fetch), ""), entries)
		if got := w.Totals().Entries; got != uint64(len(entries)) {
			t.Errorf("%d entries counted, want %d", got, len(entries))
		}
	}
}

// Entries so large that the limit ends pages, not their content.
func TestLargeEntries(t *testing.T) {
	var entries []Entry
	for i := range 40 {
		e := Entry{Folder: "/", Name: fmt.Sprintf("large %02d", i), Type: File}
		for j := range 3000 {
			ref := backup.Ref{ID: backup.ID{byte((i + j) % 50), byte(j), byte(j >> 8)}, Len: 10}
			e.Extents = append(e.Extents, Extent{ref, 0, 10})
			e.Size += 10
		}
		entries = append(entries, e)
	}
	s := newStore()
	root, _ := s.write(t, entries, nil)
	sameEntries(t, read(t, NewReader(root, s.fetch), ""), entries)
	longest := 0
	for _, plain := range s.plain {
		longest = max(longest, len(plain))
	}
	if longest > backup.MaxPage || longest < backup.MaxPage/2 {
		t.Errorf("the longest page has %d bytes, want up to %d", longest, backup.MaxPage)
	}
}

func TestFrom(t *testing.T) {
	s := newStore()
	entries := tree(12_000)
	root, _ := s.write(t, entries, nil)
	r := NewReader(root, s.fetch)
	for _, i := range []int{0, 1, 700, 8_000, len(entries) - 1} {
		sameEntries(t, read(t, r, entries[i].Path()), entries[i:])
		sameEntries(t, read(t, r, entries[i].Path()+"\x01"), entries[i+1:])
	}
	if got := read(t, r, "/zzz"); len(got) != 0 && got[0].Folder == "/" {
		t.Errorf("entries after the last name of a folder: %v", got[0].Path())
	}
}

func TestLookupAndFolder(t *testing.T) {
	s := newStore()
	entries := tree(12_000)
	root, _ := s.write(t, entries, nil)
	r := NewReader(root, s.fetch)
	for i := 0; i < len(entries); i += 501 {
		got, err := r.Lookup(t.Context(), entries[i].Path())
		if err != nil || !got.Equal(&entries[i]) {
			t.Fatalf("Lookup(%q) = %+v, %v", entries[i].Path(), got, err)
		}
	}
	for _, path := range []string{"/", "/nope", "/srv/000/000/x", "/zzz/z"} {
		if _, err := r.Lookup(t.Context(), path); !errs.Is(err, errs.NoSuchSnapshot) {
			t.Errorf("Lookup(%q): %v, want E1504", path, err)
		}
	}

	var want, got []string
	for i := range entries {
		if entries[i].Folder == "/srv/003/130" {
			want = append(want, entries[i].Name)
		}
	}
	fresh := NewReader(root, s.fetch)
	s.reads = 0
	after, more := "", true
	for more {
		var page []*Entry
		var err error
		if page, more, err = fresh.Folder(t.Context(), "/srv/003/130", after, 7); err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			got = append(got, e.Name)
			after = e.Name
		}
	}
	if !slices.Equal(got, want) || len(want) != 40 {
		t.Errorf("Folder gave %q, want %q", got, want)
	}
	if s.reads > 4 {
		t.Errorf("listing one folder read %d pages, want at most 4", s.reads)
	}
	if got, more, err := r.Folder(t.Context(), "/no such", "", 10); len(got) != 0 || more || err != nil {
		t.Errorf("Folder of nothing = %v, %v, %v", got, more, err)
	}
}

// One more file among 100,000 changes at most 3 pages on each level.
func TestInsertionChangesFewPages(t *testing.T) {
	entries := tree(100_000)
	s := newStore()
	root, _ := s.write(t, entries, nil)
	before := levels(t, NewReader(root, s.fetch))
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 6 {
		i := rnd.IntN(len(entries))
		e := entries[i]
		e.Name += "+"
		more := slices.Insert(slices.Clone(entries), i+1, e)
		slices.SortFunc(more, func(a, b Entry) int { return a.Compare(&b) })
		root, _ := s.write(t, more, nil)
		for level, pages := range levels(t, NewReader(root, s.fetch)) {
			fresh := 0
			for id := range pages {
				if _, old := before[level][id]; !old {
					fresh++
				}
			}
			if fresh > 3 {
				t.Errorf("a file after %q changed %d pages of level %d, want at most 3", entries[i].Path(), fresh, level)
			}
		}
	}
	if len(before) < 2 || len(before[0]) < 50 {
		t.Fatalf("the test's catalog has %d levels and %d leaves: too small to say anything", len(before), len(before[0]))
	}
}

func levels(t *testing.T, r *Reader) map[uint8]map[backup.ID]bool {
	t.Helper()
	all := map[uint8]map[backup.ID]bool{}
	var down func(ref backup.Ref)
	down = func(ref backup.Ref) {
		p, err := r.page(t.Context(), ref, nil)
		if err != nil {
			t.Fatal(err)
		}
		if all[p.level] == nil {
			all[p.level] = map[backup.ID]bool{}
		}
		all[p.level][ref.ID] = true
		for i := range p.children {
			down(p.children[i].ref)
		}
	}
	down(r.Root)
	return all
}

func TestKnownPagesAreNotSealedAgain(t *testing.T) {
	entries := tree(12_000)
	s := newStore()
	root, _ := s.write(t, entries, nil)
	known := &Known{}
	r := NewReader(root, s.fetch)
	r.Known = known
	again := read(t, r, "")
	s.seals = 0
	if got, _ := s.write(t, again, known); got != root || s.seals != 0 {
		t.Errorf("an equal catalog: root %v, want %v, %d pages sealed, want none", got.ID, root.ID, s.seals)
	}
	again[7_000].Mode = 0
	if _, _ = s.write(t, again, known); s.seals == 0 || s.seals > 2 {
		t.Errorf("one entry changed and %d pages were sealed, want 1 or 2", s.seals)
	}
}

func TestFork(t *testing.T) {
	entries := tree(12_000)
	s := newStore()
	want, _ := s.write(t, entries, nil)
	short, _ := s.write(t, entries[:7_111], nil)

	w := NewWriter(WriterConfig{Secret: secret, Seal: s.seal})
	var fork *Writer
	for i := range entries {
		if i == 7_111 {
			fork = w.Fork()
		}
		if err := w.Add(&entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := fork.Close(); err != nil || got != short {
		t.Errorf("the fork's root is %v, %v, want %v", got.ID, err, short.ID)
	}
	if got, err := w.Close(); err != nil || got != want {
		t.Errorf("the forked writer's root is %v, %v, want %v", got.ID, err, want.ID)
	}
}

func TestDiff(t *testing.T) {
	entries := tree(12_000)
	s := newStore()
	root, _ := s.write(t, entries, nil)
	changed := slices.Clone(entries)
	var want []string
	for _, i := range []int{11_000, 8_000, 6_345, 5, 0} {
		switch i % 3 {
		case 0:
			want = append(want, "+"+changed[i].Path()+"+")
			e := changed[i]
			e.Name += "+"
			changed = slices.Insert(changed, i+1, e)
		case 1:
			want = append(want, "-"+changed[i].Path())
			changed = slices.Delete(changed, i, i+1)
		case 2:
			want = append(want, "*"+changed[i].Path())
			changed[i].Mode = 0
		}
	}
	slices.SortFunc(changed, func(a, b Entry) int { return a.Compare(&b) })
	slices.Reverse(want)
	root2, _ := s.write(t, changed, nil)

	s.reads = 0
	var got []string
	err := Diff(t.Context(), NewReader(root, s.fetch), NewReader(root2, s.fetch), func(old, new *Entry) error {
		switch {
		case old == nil:
			got = append(got, "+"+new.Path())
		case new == nil:
			got = append(got, "-"+old.Path())
		default:
			got = append(got, "*"+new.Path())
		}
		return nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Diff gave %v, %q, want %q", err, got, want)
	}
	if s.reads > 30 {
		t.Errorf("Diff of five changes read %d pages", s.reads)
	}
}

func TestObjectsAreTheWritersIDs(t *testing.T) {
	s := newStore()
	entries := tree(12_000)
	var list []backup.Ref
	for i := range 3 {
		ref, _ := s.seal(backup.Extents, EncodeExtents([]Extent{{backup.Ref{ID: backup.ID{9, byte(i)}, Len: 10}, 0, 10}}))
		list = append(list, ref)
	}
	attrs, _ := s.seal(backup.Attrs, []byte("attrs"))
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Type == File })
	entries[i].Extents, entries[i].Lists, entries[i].Size = nil, list, 30
	entries[i].AttrsRef, entries[i].Attrs = &attrs, nil
	root, w := s.write(t, entries, nil)
	w.Use(backup.ID{9, 0}, backup.ID{9, 1}, backup.ID{9, 2})

	got := map[backup.ID]bool{}
	err := NewReader(root, s.fetch).Objects(t.Context(), func(kind backup.Kind, ref backup.Ref) error {
		got[ref.ID] = true
		return nil
	})
	if err != nil || len(got) != len(w.IDs()) {
		t.Fatalf("Objects gave %d ids, %v, the writer %d", len(got), err, len(w.IDs()))
	}
	for id := range w.IDs() {
		if !got[id] {
			t.Errorf("%v is missing", id)
		}
	}
}

func TestCursorStopsWhenCancelled(t *testing.T) {
	entries := tree(12_000)
	s := newStore()
	root, _ := s.write(t, entries, nil)
	ctx, cancel := context.WithCancel(t.Context())
	c := NewReader(root, s.fetch).Cursor(ctx, "")
	if _, err := c.Next(); err != nil {
		t.Fatal(err)
	}
	cancel()
	var err error
	for err == nil {
		_, err = c.Next()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
