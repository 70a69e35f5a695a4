package catalog

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
)

// encodeAgain writes a decoded page with the writer's own code.
func encodeAgain(p *page) []byte {
	if p.level == 0 {
		l := leaf{index: map[backup.ID]uint32{}}
		for i := range p.entries {
			l.add(&p.entries[i])
		}
		return l.encode(nil)
	}
	e := backup.Encoder{}
	e.U8(pageVersion)
	e.U8(p.level)
	e.Count(len(p.children))
	for _, c := range p.children {
		e.String(Join(c.folder, c.name))
		e.Ref(c.ref)
		e.U64(c.entries)
		e.U64(c.bytes)
	}
	return e.B
}

func samplePages(t testing.TB) [][]byte {
	s := newStore()
	s.write(t, tree(3000), nil)
	var pages [][]byte
	for _, plain := range s.plain {
		pages = append(pages, plain)
	}
	small := []Entry{
		{Folder: "/", Name: "a", Type: Folder, Nlink: 2},
		{Folder: "/a", Name: "f", Type: File, Size: 100, Holes: []Hole{{0, 10}, {50, 50}}, Extents: []Extent{{backup.Ref{Len: 40}, 0, 40}},
			Attrs: []Attr{{"user.x", "y"}}},
		{Folder: "/a", Name: "l", Type: File, Size: 9, Lists: []backup.Ref{{ID: backup.ID{7}}, {ID: backup.ID{8}}}, AttrsRef: &backup.Ref{ID: backup.ID{6}}},
		{Folder: "/a", Name: "s", Type: Symlink, Target: "t"},
		{Folder: "/a", Name: "t", Type: Block, Rdev: 3},
	}
	l := leaf{index: map[backup.ID]uint32{}}
	for i := range small {
		l.add(&small[i])
	}
	return append(pages, l.encode(nil))
}

// Whatever a page decoder accepts is canonical: written again it is the same.
func FuzzDecodePage(f *testing.F) {
	for _, plain := range samplePages(f) {
		if len(plain) < 20_000 {
			f.Add(plain)
		}
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		p, err := decode(plain)
		if err != nil {
			if !errs.Is(err, errs.Mismatch) {
				t.Errorf("refused with %v, want E1506", err)
			}
			return
		}
		if got := encodeAgain(p); !bytes.Equal(got, plain) {
			t.Errorf("accepted, but written again it differs:\n% x\n% x", plain, got)
		}
	})
}

func FuzzDecodeExtents(f *testing.F) {
	f.Add(EncodeExtents([]Extent{{backup.Ref{Len: 9}, 1, 8}, {backup.Ref{Len: 4 << 20}, 0, 4 << 20}}))
	f.Fuzz(func(t *testing.T, plain []byte) {
		if x, err := DecodeExtents(plain); err == nil && !bytes.Equal(EncodeExtents(x), plain) {
			t.Errorf("accepted % x, which is not canonical", plain)
		}
	})
}

func FuzzDecodeAttrs(f *testing.F) {
	f.Add(EncodeAttrs([]Attr{{"user.a", strings.Repeat("v", 4097)}, {"user.b", ""}}))
	f.Fuzz(func(t *testing.T, plain []byte) {
		if a, err := DecodeAttrs(plain); err == nil && (!bytes.Equal(EncodeAttrs(a), plain) || AttrsFit(a)) {
			t.Errorf("accepted % x, which is not canonical", plain)
		}
	})
}

// Every page cut short, and every page with one bit turned, is either refused
// or still canonical.
func TestDecodeDamagedPages(t *testing.T) {
	for _, plain := range samplePages(t) {
		if len(plain) > 5000 {
			continue
		}
		for n := range plain {
			if _, err := decode(plain[:n]); err == nil {
				t.Fatalf("a page cut to %d of %d bytes is accepted", n, len(plain))
			}
		}
		for i := range len(plain) * 8 {
			bad := slices.Clone(plain)
			bad[i/8] ^= 1 << (i % 8)
			if p, err := decode(bad); err == nil && !bytes.Equal(encodeAgain(p), bad) {
				t.Fatalf("with bit %d turned the page is accepted and not canonical", i)
			}
		}
	}
}

func TestDecodeRefusesWhatTheWriterNeverWrites(t *testing.T) {
	a, b := backup.Ref{ID: backup.ID{1}, Len: 10}, backup.Ref{ID: backup.ID{2}, Len: 10}
	page := func(build func(l *leaf)) []byte {
		l := leaf{index: map[backup.ID]uint32{}}
		build(&l)
		return l.encode(nil)
	}
	file := func(name string, refs ...backup.Ref) *Entry {
		e := &Entry{Folder: "/a", Name: name, Type: File}
		for _, ref := range refs {
			e.Extents = append(e.Extents, Extent{ref, 0, 10})
			e.Size += 10
		}
		return e
	}
	for name, plain := range map[string][]byte{
		"entries out of order": page(func(l *leaf) { l.add(file("b")); l.add(file("a")) }),
		"groups out of order":  page(func(l *leaf) { l.add(&Entry{Folder: "/b", Name: "x", Type: Fifo}); l.add(file("a")) }),
		"a folder twice": page(func(l *leaf) {
			l.add(file("a"))
			l.folder = "other"
			l.add(file("b"))
		}),
		"a ref not used": page(func(l *leaf) { l.add(file("a", a)); l.refs = append(l.refs, b) }),
		"a ref twice":    page(func(l *leaf) { l.add(file("a", a)); clear(l.index); l.refs = append(l.refs, b); l.add(file("b", a)) }),
		"refs in another order": page(func(l *leaf) {
			l.add(file("a", a))
			l.add(file("b", b))
			l.refs[0], l.refs[1] = l.refs[1], l.refs[0]
			l.body.B = bytes.Replace(l.body.B, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10}, []byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 10}, 1)
		}),
		"one ref as two kinds":        page(func(l *leaf) { l.add(file("a", a)); e := file("b"); e.AttrsRef = &a; l.add(e) }),
		"inner page without children": {1, 1, 0, 0, 0, 0},
		"another version":             {2, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"a table over all memory":     {1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
	} {
		if _, err := decode(plain); !errs.Is(err, errs.Mismatch) {
			t.Errorf("%s: %v, want E1506", name, err)
		}
	}
}
