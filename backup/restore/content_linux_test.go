package restore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/errs"
)

// withHoles returns a file's content and its entry: data between holes.
func withHoles(b *tree, data []byte, holes ...catalog.Hole) ([]byte, catalog.Entry) {
	e := b.content(catalog.Entry{Type: catalog.File, Mode: 0o644, Holes: holes}, data)
	var whole []byte
	for _, h := range holes {
		n := h.Offset - uint64(len(whole))
		whole = append(append(whole, data[:n]...), make([]byte, h.Length)...)
		data = data[n:]
	}
	return append(whole, data...), e
}

func TestContentRanges(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	contents := map[string][]byte{}
	add := func(path string, whole []byte, e catalog.Entry) {
		b.add(path, e)
		contents[path] = whole
	}
	plain := func(data []byte) ([]byte, catalog.Entry) { return withHoles(b, data) }
	for path, data := range map[string][]byte{"/empty": nil, "/small": []byte("small content"), "/large": noise(11 << 20)} {
		whole, e := plain(data)
		add(path, whole, e)
	}
	whole, e := withHoles(b, noise(3<<20), catalog.Hole{Offset: 0, Length: 70_000}, catalog.Hole{Offset: 500_000, Length: 1}, catalog.Hole{Offset: 3<<20 + 70_001, Length: 9_000_000})
	add("/sparse", whole, e)
	whole, e = withHoles(b, nil, catalog.Hole{Offset: 0, Length: 123_456})
	add("/hole", whole, e)
	c := b.done()
	shared := NewContents(c.Fetch)
	rapid.Check(t, func(rt *rapid.T) {
		path := rapid.SampledFrom([]string{"/empty", "/small", "/large", "/sparse", "/hole"}).Draw(rt, "path")
		whole := contents[path]
		offset := rapid.IntRange(0, len(whole)).Draw(rt, "offset")
		length := rapid.IntRange(0, len(whole)-offset).Draw(rt, "length")
		if rapid.Bool().Draw(rt, "all") {
			offset, length = 0, len(whole)
		}
		e, err := c.Lookup(t.Context(), path)
		if err != nil {
			rt.Fatal(err)
		}
		var out bytes.Buffer
		if err := shared.Copy(t.Context(), e, &out, int64(offset), int64(length)); err != nil {
			rt.Fatalf("%s from %d, %d bytes: %v", path, offset, length, err)
		}
		if !bytes.Equal(out.Bytes(), whole[offset:offset+length]) {
			rt.Fatalf("%s from %d, %d bytes: other content", path, offset, length)
		}
	})
	e2, err := c.Lookup(t.Context(), "/small")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]int64{{-1, 2}, {0, 14}, {13, 1}, {0, -1}, {1 << 62, 1 << 62}} {
		if err := Content(t.Context(), c.Fetch, e2, io.Discard, r[0], r[1]); err == nil {
			t.Errorf("range %v of a file of 13 bytes was read", r)
		}
	}
}

// A zip of many small files opens each bundle once.
func TestContentsOpensBundlesOnce(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	for i := range 2000 {
		b.file(fmt.Sprintf("/%04d", i), strings.Repeat(fmt.Sprint(i), 3000))
	}
	c := b.done()
	contents := NewContents(c.Fetch)
	for e, err := range c.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := contents.Copy(t.Context(), e, io.Discard, 0, int64(e.Size)); err != nil {
			t.Fatal(err)
		}
	}
	for id, n := range b.store.reads {
		if b.store.kind[id] == backup.Data && n != 1 {
			t.Errorf("chunk %v was read %d times", id, n)
		}
	}
	if b.chunks < 15 {
		t.Errorf("only %d bundles", b.chunks)
	}
	if room := cap(contents.arena); len(contents.arena) > contentBytes || room > 2*contentBytes {
		t.Errorf("%d bytes are held, in %d", len(contents.arena), room)
	}
}

// Of a range, only the chunks it needs are read.
func TestContentReadsWhatItNeeds(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	b.add("/large", b.content(catalog.Entry{Type: catalog.File}, noise(40<<20)))
	c := b.done()
	e, err := c.Lookup(t.Context(), "/large")
	if err != nil {
		t.Fatal(err)
	}
	clear(b.store.reads)
	if err := Content(t.Context(), c.Fetch, e, io.Discard, 30<<20, 1000); err != nil {
		t.Fatal(err)
	}
	if n := len(b.store.reads); n < 1 || n > 2 {
		t.Errorf("1,000 bytes took %d chunks", n)
	}
}

func TestContentFailures(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	e := b.content(catalog.Entry{Type: catalog.File}, noise(9<<20))
	b.add("/file", e)
	wrong := e
	wrong.Hash[3] ^= 1
	b.add("/wrong", wrong)
	b.add("/wrong empty", catalog.Entry{Type: catalog.File})
	c := b.done()
	get := func(path string) *catalog.Entry {
		e, err := c.Lookup(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	var out bytes.Buffer
	if err := Content(t.Context(), c.Fetch, get("/wrong"), &out, 0, 9<<20); !errs.Is(err, errs.Mismatch) || out.Len() >= 9<<20 {
		t.Errorf("another hash: %v after %d bytes, want E1506 before the end", err, out.Len())
	}
	if err := Content(t.Context(), c.Fetch, get("/wrong empty"), &out, 0, 0); !errs.Is(err, errs.Mismatch) {
		t.Errorf("another hash of nothing: %v, want E1506", err)
	}
	if err := Content(t.Context(), c.Fetch, get("/wrong"), &out, 0, 9<<20-1); err != nil {
		t.Errorf("a part of it: %v", err)
	}
	want := errors.New("the browser went away")
	if err := Content(t.Context(), c.Fetch, get("/file"), failing{want}, 0, 9<<20); !errors.Is(err, want) {
		t.Errorf("the writer failed: %v, want %v", err, want)
	}
	e = *get("/file")
	b.store.sealed[e.Extents[len(e.Extents)-1].Ref.ID] = nil
	out.Reset()
	if err := Content(t.Context(), c.Fetch, get("/file"), &out, 0, 9<<20); !errs.Is(err, errs.Mismatch) || out.Len() >= 9<<20 {
		t.Errorf("a lost chunk: %v after %d bytes, want E1506", err, out.Len())
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
