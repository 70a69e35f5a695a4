package catalog

import (
	"errors"
	"strings"
	"testing"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
)

func TestWriterRefuses(t *testing.T) {
	file := func(change func(*Entry)) Entry {
		e := Entry{Folder: "/a", Name: "b", Type: File, Size: 10, Extents: []Extent{{backup.Ref{Len: 10}, 0, 10}}}
		change(&e)
		return e
	}
	for name, e := range map[string]Entry{
		"no name":          file(func(e *Entry) { e.Name = "" }),
		"dots":             file(func(e *Entry) { e.Name = ".." }),
		"slash":            file(func(e *Entry) { e.Name = "a/b" }),
		"zero byte":        file(func(e *Entry) { e.Name = "a\x00" }),
		"long name":        file(func(e *Entry) { e.Name = strings.Repeat("n", 1025) }),
		"relative folder":  file(func(e *Entry) { e.Folder = "a" }),
		"empty component":  file(func(e *Entry) { e.Folder = "/a//b" }),
		"slash at the end": file(func(e *Entry) { e.Folder = "/a/" }),
		"dots in folder":   file(func(e *Entry) { e.Folder = "/a/.." }),
		"type":             file(func(e *Entry) { e.Type = 8 }),
		"flags":            file(func(e *Entry) { e.Flags = 8 }),
		"mode":             file(func(e *Entry) { e.Mode = 0o100644 }),
		"nanoseconds":      file(func(e *Entry) { e.Mtime.Nsec = 1e9 }),
		"sum":              file(func(e *Entry) { e.Size = 11 }),
		"outside chunk":    file(func(e *Entry) { e.Extents[0].Offset = 1 }),
		"empty extent":     file(func(e *Entry) { e.Extents = append(e.Extents, Extent{}) }),
		"hole outside":     file(func(e *Entry) { e.Holes = []Hole{{5, 6}} }),
		"hole overflows":   file(func(e *Entry) { e.Holes = []Hole{{5, 1<<64 - 1}} }),
		"holes touch":      file(func(e *Entry) { e.Holes = []Hole{{0, 1}, {1, 1}} }),
		"empty hole":       file(func(e *Entry) { e.Holes = []Hole{{0, 0}} }),
		"attrs order":      file(func(e *Entry) { e.Attrs = []Attr{{"b", ""}, {"a", ""}} }),
		"attrs twice":      file(func(e *Entry) { e.Attrs = []Attr{{"a", ""}, {"a", ""}} }),
		"attrs large":      file(func(e *Entry) { e.Attrs = []Attr{{"a", strings.Repeat("v", 4096)}} }),
		"one list":         file(func(e *Entry) { e.Extents, e.Lists = nil, make([]backup.Ref, 1) }),
	} {
		w := NewWriter(WriterConfig{Secret: secret, Seal: newStore().seal})
		if err := w.Add(&e); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	w := NewWriter(WriterConfig{Secret: secret, Seal: newStore().seal})
	a, b := file(func(e *Entry) { e.Name = "b" }), file(func(e *Entry) { e.Name = "a" })
	if err := w.Add(&a); err != nil {
		t.Fatal(err)
	}
	if err := w.Add(&b); err == nil {
		t.Error("an entry out of order: accepted")
	}
	if err := w.Add(&a); err == nil {
		t.Error("the same entry again: accepted")
	}
}

func TestSealFailureEndsTheCatalog(t *testing.T) {
	s := newStore()
	s.fail = errors.New("full")
	w := NewWriter(WriterConfig{Secret: secret, Seal: s.seal})
	var err error
	entries := tree(10_000)
	for i := range entries {
		if err = w.Add(&entries[i]); err != nil {
			break
		}
	}
	if err == nil {
		_, err = w.Close()
	}
	if !errors.Is(err, s.fail) {
		t.Errorf("got %v, want %v", err, s.fail)
	}
}

// sealPage stores a page made by hand.
func (s *store) sealPage(t *testing.T, level uint8, children ...child) backup.Ref {
	t.Helper()
	ref, err := s.seal(backup.Page, encodeAgain(&page{level: level, children: children}))
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// Pages that verify, but are not what their parents say, are found out.
func TestReaderHoldsPagesToTheirParents(t *testing.T) {
	s := newStore()
	fifo := func(path string) []Entry {
		folder, name := Split(path)
		return []Entry{{Folder: folder, Name: name, Type: Fifo}}
	}
	a, _ := s.write(t, fifo("/a"), nil)
	b, _ := s.write(t, fifo("/b"), nil)
	z, _ := s.write(t, []Entry{fifo("/a")[0], fifo("/z")[0]}, nil)
	none, _ := s.write(t, nil, nil)
	ca, cb := child{"/", "a", a, 1, 0}, child{"/", "b", b, 1, 0}
	for name, root := range map[string]backup.Ref{
		"another page":    s.sealPage(t, 1, child{"/", "a", b, 1, 0}),
		"more entries":    s.sealPage(t, 1, child{"/", "a", a, 2, 0}),
		"more bytes":      s.sealPage(t, 1, child{"/", "a", a, 1, 5}),
		"another level":   s.sealPage(t, 2, ca),
		"an empty page":   s.sealPage(t, 1, child{"/", "a", none, 0, 0}),
		"pages overlap":   s.sealPage(t, 1, child{"/", "a", z, 2, 0}, cb),
		"a page twice":    s.sealPage(t, 2, child{"/", "a", s.sealPage(t, 1, ca), 1, 0}, child{"/", "b", s.sealPage(t, 1, ca), 1, 0}),
		"cousins overlap": s.sealPage(t, 2, child{"/", "a", s.sealPage(t, 1, child{"/", "a", z, 2, 0}), 2, 0}, child{"/", "b", s.sealPage(t, 1, cb), 1, 0}),
	} {
		var err error
		for _, err = range NewReader(root, s.fetch).All(t.Context()) {
		}
		if !errs.Is(err, errs.Mismatch) {
			t.Errorf("%s: %v, want E1506", name, err)
		}
		if _, _, err := NewReader(root, s.fetch).Folder(t.Context(), "/", "", 10); !errs.Is(err, errs.Mismatch) && name != "cousins overlap" {
			t.Errorf("%s, listed: %v, want E1506", name, err)
		}
	}
	root := s.sealPage(t, 1, ca, cb)
	if got := read(t, NewReader(root, s.fetch), ""); len(got) != 2 {
		t.Errorf("a sound tree made by hand gives %d entries, want 2", len(got))
	}
}
