package snapshot

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/crypt"
)

type pageVector struct {
	Plain, Sealed, ID, Key hexBytes
}

type entryVector struct {
	Path   hexBytes // names need not be UTF-8
	Type   string
	Size   uint64   `json:",omitempty"`
	Hash   hexBytes `json:",omitempty"`
	Target string   `json:",omitempty"`
}

type catalogVector struct {
	Secret, Scope, Chunker hexBytes
	Leaf                   pageVector
	Entries                []entryVector
	Inner                  pageVector
	Children               []hexBytes // ids of the pages below Inner
}

func TestVectorsCatalog(t *testing.T) {
	t.Parallel()
	u := must(crypt.DeriveUser(backup.Key(vectorURK), 1, 1))
	scope := uuid(0x33)
	v := catalogVector{Secret: u.Scope[:], Scope: scope[:], Chunker: u.Chunker[:]}
	small := smallTree()
	for i := range small {
		e := &small[i]
		ev := entryVector{Path: []byte(e.Path()), Type: e.Type.String(), Size: e.Size, Target: e.Target}
		if e.Type == catalog.File {
			ev.Hash = e.Hash[:]
		}
		v.Entries = append(v.Entries, ev)
	}
	v.Leaf, _ = pages(t, u, small)
	var large []catalog.Entry
	for i := range 3000 {
		large = append(large, file("/large", fmt.Sprintf("file-%04d", i), lines(10+i), 1))
	}
	v.Inner, v.Children = pages(t, u, large)
	vectors(t, "catalog", v, same)
}

// smallTree has every type of entry, and every form of its parts but those
// that need much room.
func smallTree() []catalog.Entry {
	top := func(name string, kind catalog.Type) catalog.Entry {
		return catalog.Entry{Folder: "/", Name: name, Type: kind, Mode: 0o755, Owner: "root", Group: "root", Nlink: 1}
	}
	in := func(name string, kind catalog.Type) catalog.Entry {
		e := top(name, kind)
		e.Folder, e.Mode, e.UID, e.GID, e.Owner, e.Group = "/home", 0o644, 1000, 1000, "user", "users"
		e.Mtime, e.Ctime = catalog.Time{Sec: 1763781363, Nsec: 123456789}, catalog.Time{Sec: -1, Nsec: 999999999}
		e.Ino, e.Dev = 17, 23
		return e
	}
	sparse := file("/home", "sparse", append(append(lines(100), make([]byte, 8092)...), counter(50)...), 1)
	sparse.Holes = []catalog.Hole{{Offset: 100, Length: 8092}}
	sparse.Extents = []catalog.Extent{{Ref: chunkRef(lines(100)), Length: 100}, {Ref: chunkRef(counter(50)), Length: 50}}
	link := in("link", catalog.Symlink)
	link.Target = "../etc/passwd"
	device := in("null", catalog.Char)
	device.Rdev = 0x103
	folder := top("home", catalog.Folder)
	folder.Attrs = []catalog.Attr{{Name: "system.posix_acl_access", Value: "\x02\x00\x00\x00"}, {Name: "user.note", Value: "kept"}}
	torn := file("/home", "torn", lines(20), 1)
	torn.Flags = catalog.Torn
	names := []catalog.Entry{
		file("/home", "a", lines(3), 1), file("/home", "b\xff", lines(1000), 1), file("/home", "empty", nil, 1),
		in("fifo", catalog.Fifo), file("/home", "hard1", lines(7), 2), file("/home", "hard2", lines(7), 2),
		link, device, in("socket", catalog.Socket), sparse, torn,
	}
	return append([]catalog.Entry{folder}, names...)
}

var vectorSealer = sync.OnceValue(func() *crypt.Sealer {
	u := must(crypt.DeriveUser(backup.Key(vectorURK), 1, 1))
	return crypt.NewSealer(u.Scope, uuid(0x33), crypt.Profile1)
})

func chunkRef(plain []byte) backup.Ref { return must(vectorSealer().Seal(backup.Data, plain)).Ref }

func file(folder, name string, content []byte, nlink uint32) catalog.Entry {
	e := catalog.Entry{
		Folder: folder, Name: name, Type: catalog.File, Mode: 0o644, UID: 1000, GID: 1000, Owner: "user", Group: "users",
		Mtime: catalog.Time{Sec: 1763781363}, Ctime: catalog.Time{Sec: 1763781363}, Ino: 5, Dev: 6, Nlink: nlink,
		Size: uint64(len(content)), Hash: sha256.Sum256(content),
	}
	if len(content) > 0 {
		e.Extents = []catalog.Extent{{Ref: chunkRef(content), Length: uint32(len(content))}}
	}
	return e
}

// pages writes a catalog and returns its root page and the ids of all others.
func pages(t *testing.T, u crypt.User, entries []catalog.Entry) (root pageVector, others []hexBytes) {
	t.Helper()
	var mu sync.Mutex
	all := map[backup.ID]pageVector{}
	w := catalog.NewWriter(catalog.WriterConfig{Secret: u.Chunker, Seal: func(kind backup.Kind, plain []byte) (backup.Ref, error) {
		o, err := vectorSealer().Seal(kind, plain)
		if err != nil {
			return backup.Ref{}, err
		}
		mu.Lock()
		defer mu.Unlock()
		all[o.Ref.ID] = pageVector{Plain: bytes.Clone(plain), Sealed: o.Sealed, ID: o.Ref.ID[:], Key: o.Ref.Key[:]}
		return o.Ref, nil
	}})
	for i := range entries {
		if err := w.Add(&entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	ref := must(w.Close())
	for id := range all {
		if id != ref.ID {
			others = append(others, bytes.Clone(id[:]))
		}
	}
	slices.SortFunc(others, func(a, b hexBytes) int { return bytes.Compare(a, b) })
	return all[ref.ID], others
}
