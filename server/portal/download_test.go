package portal

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/restore"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
)

// store is a vault in memory without keys: what it is asked to seal it gives
// back.
type store struct {
	mu      sync.Mutex
	objects map[backup.ID][]byte
	fetched int // objects
	calls   int
}

func (s *store) seal(kind backup.Kind, plain []byte) (backup.Ref, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects == nil {
		s.objects = map[backup.ID][]byte{}
	}
	id := backup.ID(sha256.Sum256(append([]byte{byte(kind)}, plain...)))
	s.objects[id] = bytes.Clone(plain)
	return backup.Ref{ID: id, Len: uint32(len(plain))}, nil
}

func (s *store) fetch(_ context.Context, _ backup.Kind, refs []backup.Ref, each func(int, []byte) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	for i := range refs {
		at := len(refs) - 1 - i // in any order
		plain, ok := s.objects[refs[at].ID]
		if !ok {
			return backup.Mismatched("store", errors.New("an object is missing"))
		}
		s.fetched++
		if err := each(at, plain); err != nil {
			return err
		}
	}
	return nil
}

// file makes an entry whose content is cut into chunks of the given length.
func (s *store) file(t testing.TB, folder, name string, content []byte, chunk int) *catalog.Entry {
	t.Helper()
	e := &catalog.Entry{Folder: folder, Name: name, Type: catalog.File, Mode: 0o640, Nlink: 1,
		Mtime: catalog.TimeOf(sampleNow.Add(-time.Hour)), Size: uint64(len(content)), Hash: sha256.Sum256(content)}
	for part := range slices.Chunk(content, chunk) {
		ref, err := s.seal(backup.Data, part)
		if err != nil {
			t.Fatal(err)
		}
		e.Extents = append(e.Extents, catalog.Extent{Ref: ref, Length: uint32(len(part))})
	}
	return e
}

func (s *store) catalog(t testing.TB, entries ...*catalog.Entry) *catalog.Reader {
	t.Helper()
	w := catalog.NewWriter(catalog.WriterConfig{Seal: s.seal})
	slices.SortFunc(entries, (*catalog.Entry).Compare)
	for _, e := range entries {
		if err := w.Add(e); err != nil {
			t.Fatalf("adding %q: %v", e.Path(), err)
		}
	}
	root, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return catalog.NewReader(root, s.fetch)
}

func folderEntry(path string) *catalog.Entry {
	folder, name := catalog.Split(path)
	return &catalog.Entry{Folder: folder, Name: name, Type: catalog.Folder, Mode: 0o755, Nlink: 1, Mtime: catalog.TimeOf(sampleNow)}
}

func randomBytes(n int, seed uint64) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed)})
	b := make([]byte, n)
	r.Read(b)
	return b
}

// sparse is a file with holes at its start, inside a chunk and at its end.
func sparse(t testing.TB, s *store) (*catalog.Entry, []byte) {
	data := randomBytes(5000, 3)
	content := make([]byte, 12_000)
	copy(content[1000:], data[:2500])
	copy(content[5000:], data[2500:])
	e := s.file(t, "/home", "sparse", data, 2000)
	e.Size, e.Hash = uint64(len(content)), sha256.Sum256(content)
	e.Holes = []catalog.Hole{{Offset: 0, Length: 1000}, {Offset: 3500, Length: 1500}, {Offset: 7500, Length: 4500}}
	return e, content
}

func TestCopy(t *testing.T) {
	t.Parallel()
	s := &store{}
	big := randomBytes(20<<20, 1)
	holed, holedContent := sparse(t, s)
	for _, tc := range []struct {
		name    string
		e       *catalog.Entry
		content []byte
	}{
		{"empty", s.file(t, "/", "empty", nil, 10), nil},
		{"one chunk", s.file(t, "/", "small", []byte("hello"), 10), []byte("hello")},
		{"many windows", s.file(t, "/", "big", big, 1<<20), big},
		{"holes", holed, holedContent},
	} {
		size := int64(len(tc.content))
		for _, r := range [][2]int64{{0, size}, {0, min(1, size)}, {size / 3, size / 3}, {size / 2, size - size/2}, {max(size-1, 0), min(1, size)}, {size, 0}} {
			var got bytes.Buffer
			if err := restore.NewContents(s.fetch).Copy(t.Context(), tc.e, &got, r[0], r[1]); err != nil {
				t.Errorf("%s %v: %v", tc.name, r, err)
			}
			if !bytes.Equal(got.Bytes(), tc.content[r[0]:r[0]+r[1]]) {
				t.Errorf("%s %v: wrong content, %d bytes", tc.name, r, got.Len())
			}
		}
	}
}

// Lists of extents, which only files of many gigabytes have, read alike.
func TestCopyFromLists(t *testing.T) {
	t.Parallel()
	s := &store{}
	content := randomBytes(100_000, 4)
	e := s.file(t, "/", "listed", content, 700)
	for part := range slices.Chunk(e.Extents, 40) {
		ref, err := s.seal(backup.Extents, catalog.EncodeExtents(part))
		if err != nil {
			t.Fatal(err)
		}
		e.Lists = append(e.Lists, ref)
	}
	e.Extents = nil
	var got bytes.Buffer
	if err := restore.NewContents(s.fetch).Copy(t.Context(), e, &got, 33_333, 50_000); err != nil || !bytes.Equal(got.Bytes(), content[33_333:83_333]) {
		t.Errorf("copying from lists: %d bytes, %v", got.Len(), err)
	}
}

// Damage never looks like a whole file.
func TestCopyRefusesDamage(t *testing.T) {
	t.Parallel()
	s := &store{}
	content := randomBytes(3000, 5)
	e := s.file(t, "/", "f", content, 1000)
	e.Hash[0] ^= 1
	var got bytes.Buffer
	err := restore.NewContents(s.fetch).Copy(t.Context(), e, &got, 0, 3000)
	if !errs.Is(err, errs.Mismatch) || got.Len() >= 3000 {
		t.Errorf("wrong hash: %d bytes written, %v; want E1506 and fewer than 3000", got.Len(), err)
	}
	e = s.file(t, "/", "g", content, 1000)
	delete(s.objects, e.Extents[2].Ref.ID)
	if err := restore.NewContents(s.fetch).Copy(t.Context(), e, io.Discard, 0, 3000); !errs.Is(err, errs.Mismatch) {
		t.Errorf("missing chunk: %v, want E1506", err)
	}
}

func TestSeekerServesRanges(t *testing.T) {
	t.Parallel()
	s := &store{}
	content := randomBytes(10<<20, 6)
	e := s.file(t, "/", "f", content, 1<<20)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := serveFile(w, r, restore.NewContents(s.fetch), e); err != nil {
			t.Error(err)
		}
	})
	for _, tc := range []struct {
		header string
		status int
		want   []byte
	}{
		{"", 200, content},
		{"bytes=0-0", 206, content[:1]},
		{"bytes=5000000-", 206, content[5_000_000:]},
		{"bytes=-100", 206, content[len(content)-100:]},
		{"bytes=99999999-", 416, nil},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if tc.header != "" {
			r.Header.Set("Range", tc.header)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tc.status || tc.want != nil && !bytes.Equal(w.Body.Bytes(), tc.want) {
			t.Errorf("range %q: status %d, %d bytes", tc.header, w.Code, w.Body.Len())
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("range %q: %s = %q, want %q", tc.header, name, got, want)
			}
		}
	}
}

// A damaged file ends early, whatever its headers promised.
func TestServeFileBreaksOff(t *testing.T) {
	t.Parallel()
	s := &store{}
	e := s.file(t, "/", "f", randomBytes(20<<20, 7), 1<<20)
	delete(s.objects, e.Extents[19].Ref.ID)
	w := httptest.NewRecorder()
	err := serveFile(w, httptest.NewRequest(http.MethodGet, "/", nil), restore.NewContents(s.fetch), e)
	if !errs.Is(err, errs.Mismatch) || w.Body.Len() >= 20<<20 {
		t.Errorf("a file with a missing chunk: %d bytes, %v; want E1506", w.Body.Len(), err)
	}
}

func TestArchiveName(t *testing.T) {
	for name, want := range map[string]string{
		"a/b c/é.txt": "a/b c/é.txt",
		"12:30.log":   "12:30.log",
		"\ufffd":      "\ufffd",
	} {
		if got := archiveName(name); got != want {
			t.Errorf("archiveName(%q) = %q, want %q", name, got, want)
		}
	}
	seen := map[string]string{}
	for _, name := range []string{"C:/x", `a\b`, "a_b", "bad\xff", "bad\xfe", "a/..", "..", "new\nline", "\u202egnp.exe", "x\x00", "D:evil"} {
		got := archiveName(name)
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q both become %q", name, other, got)
		}
		seen[got] = name
		if strings.ContainsAny(got, "\\\x00\n\u202e") || !utf8.ValidString(got) || slices.Contains(strings.Split(got, "/"), "..") || len(got) > 1 && got[1] == ':' {
			t.Errorf("archiveName(%q) = %q is not safe", name, got)
		}
	}
}

func sampleTree(t testing.TB, s *store) *catalog.Reader {
	holed, _ := sparse(t, s)
	link := &catalog.Entry{Folder: "/home/marie", Name: "link", Type: catalog.Symlink, Mode: 0o777, Nlink: 1, Target: "/etc/passwd"}
	pipe := &catalog.Entry{Folder: "/home/marie", Name: "pipe", Type: catalog.Fifo, Mode: 0o600, Nlink: 1}
	unread := s.file(t, "/home/marie", "secret", nil, 1)
	unread.Flags = catalog.Unreadable
	older := s.file(t, "/home/marie", "locked.db", []byte("as it was"), 4)
	older.Flags = catalog.Unreadable
	return s.catalog(t,
		folderEntry("/home"), holed, folderEntry("/home/marie"), folderEntry("/home/marie-anne"), folderEntry("/home/marie/Documents"),
		folderEntry("/home/marie/empty"), folderEntry("/other"),
		s.file(t, "/home/marie", "été.txt", []byte("summer"), 4), s.file(t, "/home/marie/Documents", "report", randomBytes(9000, 8), 1000),
		s.file(t, "/home/marie/Documents", "bad\xffname", []byte("x"), 4), s.file(t, "/home/marie-anne", "hers", []byte("y"), 4),
		s.file(t, "/other", "thing", []byte("z"), 4), link, pipe, unread, older)
}

func TestZip(t *testing.T) {
	t.Parallel()
	s := &store{}
	sel := &selection{catalog: sampleTree(t, s), folder: "/home", names: []string{"marie", "sparse"}}
	if err := sel.count(t.Context()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := writeZip(t.Context(), &out, sel, restore.NewContents(s.fetch), locale.For(locale.English)); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]*zip.File{}
	for _, f := range z.File {
		got[f.Name] = f
	}
	for _, want := range []string{"marie/", "marie/Documents/", "marie/empty/", "marie/été.txt", "marie/Documents/report", "marie/locked.db", "sparse", archiveName("marie/Documents/bad\xffname")} {
		if got[want] == nil {
			t.Errorf("the archive lacks %q; it has %q", want, slices.Collect(mapsKeys(got)))
		}
	}
	for _, no := range []string{"marie/link", "marie/pipe", "marie/secret", "marie-anne/", "thing"} {
		if got[no] != nil {
			t.Errorf("the archive holds %q", no)
		}
	}
	if f := got["marie/été.txt"]; f.Mode() != 0o640 || !f.Modified.Equal(sampleNow.Add(-time.Hour)) || f.NonUTF8 {
		t.Errorf("mode %v, modified %v, not UTF-8 %v", f.Mode(), f.Modified, f.NonUTF8)
	}
	_, content := sparse(t, s)
	if !bytes.Equal(unzip(t, got["sparse"]), content) {
		t.Error("the sparse file differs")
	}
	notes := string(unzip(t, got["NOT INCLUDED.txt"]))
	for _, want := range []string{"3 entries", "marie/link: a link to /etc/passwd", "marie/pipe: ", "marie/secret: ", "marie/locked.db"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes lack %q: %s", want, notes)
		}
	}
}

func mapsKeys(m map[string]*zip.File) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func unzip(t *testing.T, f *zip.File) []byte {
	t.Helper()
	if f == nil {
		t.Fatal("no such file in the archive")
	}
	r, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	return b
}

func TestSelectionOfNothing(t *testing.T) {
	t.Parallel()
	s := &store{}
	sel := &selection{catalog: sampleTree(t, s), folder: "/home", names: []string{"nobody"}}
	if err := sel.count(t.Context()); !errs.Is(err, errs.NoSuchSnapshot) {
		t.Errorf("a name that is not there: %v, want E1504", err)
	}
}

// A selection of 2 GB takes no more memory than a small one.
func TestZipMemory(t *testing.T) {
	s := &store{}
	chunk := randomBytes(1<<20, 9)
	var entries []*catalog.Entry
	const files, perFile = 20, 100
	sum := sha256.New()
	for range perFile {
		sum.Write(chunk)
	}
	for i := range files {
		e := s.file(t, "/", fmt.Sprintf("file%02d", i), nil, 1)
		for j := range perFile {
			// Each chunk has an id of its own, and one content.
			ref := backup.Ref{ID: backup.ID{1, byte(i), byte(j)}, Len: uint32(len(chunk))}
			e.Extents = append(e.Extents, catalog.Extent{Ref: ref, Length: uint32(len(chunk))})
		}
		e.Size, e.Hash = perFile<<20, backup.Hash(sum.Sum(nil))
		entries = append(entries, e)
	}
	reader := s.catalog(t, entries...)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	fetch := func(ctx context.Context, kind backup.Kind, refs []backup.Ref, each func(int, []byte) error) error {
		if kind != backup.Data {
			return s.fetch(ctx, kind, refs, each)
		}
		for i := range refs {
			if err := each(i, chunk); err != nil {
				return err
			}
		}
		return nil
	}
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	out := &meter{each: 64 << 20, look: func() {
		runtime.ReadMemStats(&now)
		if grown := int64(now.HeapInuse) - int64(before.HeapInuse); grown > 16<<20 {
			t.Errorf("the heap grew by %d MiB, want under 16", grown>>20)
		}
	}}
	sel := &selection{catalog: reader, folder: "/", names: names}
	if err := writeZip(t.Context(), out, sel, restore.NewContents(fetch), locale.For(locale.English)); err != nil {
		t.Fatal(err)
	}
	if out.n < files*perFile<<20 {
		t.Errorf("the archive has %d bytes, want over 2 GB", out.n)
	}
}

// meter counts what is written and looks around from time to time.
type meter struct {
	n, next, each int64
	look          func()
}

func (m *meter) Write(p []byte) (int, error) {
	m.n += int64(len(p))
	if m.n >= m.next {
		m.next = m.n + m.each
		m.look()
	}
	return len(p), nil
}

// A folder of many small files in few bundles costs one fetch for each bundle.
func TestZipOfSmallFiles(t *testing.T) {
	t.Parallel()
	s := &store{}
	bundle, err := s.seal(backup.Data, randomBytes(1<<20, 11))
	if err != nil {
		t.Fatal(err)
	}
	plain := s.objects[bundle.ID]
	var entries []*catalog.Entry
	for i := range 1000 {
		e := s.file(t, "/", fmt.Sprintf("small%04d", i), nil, 1)
		e.Extents = []catalog.Extent{{Ref: bundle, Offset: uint32(i * 1000), Length: 1000}}
		e.Size, e.Hash = 1000, sha256.Sum256(plain[i*1000:i*1000+1000])
		entries = append(entries, e)
	}
	c := restore.NewContents(s.fetch)
	s.fetched = 0
	for _, e := range entries {
		if err := c.Copy(t.Context(), e, io.Discard, 0, 1000); err != nil {
			t.Fatal(err)
		}
	}
	if s.fetched != 1 {
		t.Errorf("%d objects fetched for one bundle, want 1", s.fetched)
	}
}
