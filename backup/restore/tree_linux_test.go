package restore

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/chunk"
	"github.com/backstay/backstay/backup/crypt"
)

// store is a vault in memory.
type store struct {
	sealer *crypt.Sealer
	mu     sync.Mutex
	kind   map[backup.ID]backup.Kind
	sealed map[backup.ID][]byte
	reads  map[backup.ID]int
}

var scope = backup.UUID{9}

func newStore() *store {
	return &store{
		sealer: crypt.NewSealer(backup.Key{1}, scope, crypt.Profile1),
		kind:   map[backup.ID]backup.Kind{}, sealed: map[backup.ID][]byte{}, reads: map[backup.ID]int{},
	}
}

func (s *store) seal(kind backup.Kind, plain []byte) (backup.Ref, error) {
	o, err := s.sealer.Seal(kind, plain)
	if err != nil {
		return backup.Ref{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kind[o.Ref.ID], s.sealed[o.Ref.ID] = o.Kind, o.Sealed
	return o.Ref, nil
}

func (s *store) read(ctx context.Context, ids []backup.ID, each func(backup.Kind, backup.ID, []byte) error) error {
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.mu.Lock()
		kind, sealed := s.kind[id], s.sealed[id]
		s.reads[id]++
		s.mu.Unlock()
		if err := each(kind, id, sealed); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) fetch() backup.FetchFunc { return crypt.NewFetch(scope, s.read) }

// tree is a snapshot being put together.
type tree struct {
	t       testing.TB
	store   *store
	entries []catalog.Entry
	cut     *chunk.Chunker

	bundle []byte
	waits  []*catalog.Extent // whose chunk is the bundle
	chunks int
}

func newTree(t testing.TB) *tree {
	return &tree{t: t, store: newStore(), cut: chunk.NewChunker(backup.Key{2})}
}

// add appends an entry; the order does not matter.
func (b *tree) add(path string, e catalog.Entry) {
	e.Folder, e.Name = catalog.Split(path)
	if e.Nlink == 0 {
		e.Nlink = 1
	}
	b.entries = append(b.entries, e)
}

// folder appends a folder's entry.
func (b *tree) folder(path string) { b.add(path, catalog.Entry{Type: catalog.Folder, Mode: 0o755}) }

// file appends a file with content.
func (b *tree) file(path, content string) {
	b.add(path, b.content(catalog.Entry{Type: catalog.File, Mode: 0o644}, []byte(content)))
}

// content fills in what an entry says of its content, b being without holes.
func (b *tree) content(e catalog.Entry, data []byte) catalog.Entry {
	b.t.Helper()
	e.Size = uint64(len(data))
	for _, h := range e.Holes {
		e.Size += h.Length
	}
	whole := sha256.New()
	rest, pos := data, uint64(0)
	for _, h := range e.Holes {
		n := h.Offset - pos
		whole.Write(rest[:n])
		whole.Write(make([]byte, h.Length))
		rest, pos = rest[n:], h.Offset+h.Length
	}
	whole.Write(rest)
	whole.Sum(e.Hash[:0])
	for len(data) > 0 {
		n := len(data)
		if n >= backup.MinChunk {
			n = b.cut.Cut(data, true)
		}
		e.Extents = append(e.Extents, catalog.Extent{Length: uint32(n)})
		x := &e.Extents[len(e.Extents)-1]
		if len(e.Extents) == 1 && n == len(data) && n < backup.MinChunk {
			b.join(x, data)
		} else {
			x.Ref = b.seal(data[:n])
		}
		data = data[n:]
	}
	return e
}

func (b *tree) seal(plain []byte) backup.Ref {
	b.t.Helper()
	ref, err := b.store.seal(backup.Data, plain)
	if err != nil {
		b.t.Fatal(err)
	}
	b.chunks++
	return ref
}

func (b *tree) join(x *catalog.Extent, data []byte) {
	if len(b.bundle)+len(data) > 1<<20 {
		b.flush()
	}
	x.Offset = uint32(len(b.bundle))
	b.bundle = append(b.bundle, data...)
	b.waits = append(b.waits, x)
}

func (b *tree) flush() {
	b.t.Helper()
	if len(b.bundle) == 0 {
		return
	}
	ref := b.seal(b.bundle)
	for _, x := range b.waits {
		x.Ref = ref
	}
	b.bundle, b.waits = nil, nil
}

// done writes the catalog.
func (b *tree) done() *catalog.Reader {
	b.t.Helper()
	b.flush()
	slices.SortFunc(b.entries, func(x, y catalog.Entry) int { return x.Compare(&y) })
	w := catalog.NewWriter(catalog.WriterConfig{Secret: backup.Key{2}, Seal: b.store.seal})
	for i := range b.entries {
		if err := w.Add(&b.entries[i]); err != nil {
			b.t.Fatal(err)
		}
	}
	root, err := w.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	return catalog.NewReader(root, b.store.fetch())
}

// scan adds what really lies at root, and the folders above it.
func (b *tree) scan(root string) {
	b.t.Helper()
	for i := 1; i < len(root); i++ {
		if root[i] == '/' {
			b.item(root[:i])
		}
	}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			b.item(path)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *tree) item(path string) {
	b.t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		b.t.Fatal(err)
	}
	e := catalog.Entry{
		Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, Ino: st.Ino, Dev: st.Dev, Nlink: uint32(st.Nlink),
		Mtime: catalog.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)},
		Attrs: attrsOf(path),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Type = catalog.File
		data, holes := readSparse(b.t, path, st.Size)
		e.Holes = holes
		e = b.content(e, data)
	case unix.S_IFDIR:
		e.Type = catalog.Folder
	case unix.S_IFLNK:
		e.Type = catalog.Symlink
		target, err := os.Readlink(path)
		if err != nil {
			b.t.Fatal(err)
		}
		e.Target = target
	case unix.S_IFIFO:
		e.Type = catalog.Fifo
	case unix.S_IFSOCK:
		e.Type = catalog.Socket
	case unix.S_IFCHR:
		e.Type, e.Rdev = catalog.Char, st.Rdev
	case unix.S_IFBLK:
		e.Type, e.Rdev = catalog.Block, st.Rdev
	}
	b.add(path, e)
}

func attrsOf(path string) (attrs []catalog.Attr) {
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	if err != nil {
		return nil
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err == nil && name != "" {
			attrs = append(attrs, catalog.Attr{Name: name, Value: string(value[:n])})
		}
	}
	slices.SortFunc(attrs, func(a, b catalog.Attr) int { return strings.Compare(a.Name, b.Name) })
	return attrs
}

// readSparse reads a file without its holes.
func readSparse(t testing.TB, path string, size int64) (data []byte, holes []catalog.Hole) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at := int64(0); at < size; {
		start, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, syscall.ENXIO) {
			start = size
		} else if err != nil {
			t.Fatal(err)
		}
		if start > at {
			holes = append(holes, catalog.Hole{Offset: uint64(at), Length: uint64(start - at)})
		}
		if start == size {
			break
		}
		end, err := f.Seek(start, unix.SEEK_HOLE)
		if err != nil {
			t.Fatal(err)
		}
		part := make([]byte, end-start)
		if _, err := f.ReadAt(part, start); err != nil {
			t.Fatal(err)
		}
		data = append(data, part...)
		at = end
	}
	return data, holes
}
