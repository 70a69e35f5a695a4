//go:build linux || darwin

package oracle

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Read looks at everything below the folder root, following no link, and root
// itself. It works from folder to folder by descriptors, so that no path is
// too long for it, and hashes on all processors with a fixed buffer each. What
// cannot be read becomes a problem and Read goes on; the error is about root
// only. Items must not change meanwhile; a file that does becomes a problem.
func Read(root string) (*Tree, error) {
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: root, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "stat", Path: root, Err: err}
	}
	r := &reader{tree: &Tree{Root: root}, root: root, jobs: make(chan job, 16), seen: map[inode]*Entry{}}
	var workers sync.WaitGroup
	for range max(2, runtime.GOMAXPROCS(0)) {
		workers.Go(r.hash)
	}
	e := r.entry(".", &st)
	r.attrs(e, fd, ".")
	r.folder(e, os.NewFile(uintptr(fd), root))
	close(r.jobs)
	workers.Wait()
	r.finish()
	return r.tree, nil
}

type inode struct{ dev, ino uint64 }

// errChanged is the problem of a file that somebody wrote to, or put in
// another's place, while it was read.
var errChanged = errors.New("changed meanwhile")

type reader struct {
	tree *Tree
	root string
	jobs chan job
	seen map[inode]*Entry // files with several names, as first met

	mu sync.Mutex // guards tree.Problems
}

// job is an open file to hash into its entry.
type job struct {
	e  *Entry
	f  *os.File
	st unix.Stat_t
}

func (r *reader) problem(e *Entry, doing string, err error) {
	e.Unread = true
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tree.Problems = append(r.tree.Problems, Problem{e.Path, fmt.Errorf("%s: %w", doing, err)})
}

// folder reads the items of an open folder and closes it.
func (r *reader) folder(e *Entry, dir *os.File) {
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		r.problem(e, "list", err)
	}
	above := e.Path + "/"
	if e.Path == "." {
		above = ""
	}
	for _, name := range names {
		r.item(int(dir.Fd()), above+name, name)
	}
}

func (r *reader) item(dir int, path, name string) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		r.problem(&Entry{Path: path}, "stat", err)
		return
	}
	e := r.entry(path, &st)
	r.attrs(e, dir, name)
	switch e.Type {
	case Link:
		target, err := readlink(dir, name)
		if err != nil {
			r.problem(e, "read link", err)
		}
		e.Target = target
	case Char, Block:
		e.Device = uint64(st.Rdev)
	case Folder:
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			r.problem(e, "open", err)
			return
		}
		r.folder(e, os.NewFile(uintptr(fd), path))
	case File:
		e.Size = st.Size
		if st.Nlink > 1 {
			id := inode{e.dev, e.ino}
			if r.seen[id] != nil {
				return // finish copies what the first name gave
			}
			r.seen[id] = e
		}
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			r.problem(e, "open", err)
			return
		}
		r.jobs <- job{e, os.NewFile(uintptr(fd), path), st}
	}
}

var types = map[uint32]Type{
	unix.S_IFDIR: Folder, unix.S_IFREG: File, unix.S_IFLNK: Link, unix.S_IFIFO: FIFO,
	unix.S_IFSOCK: Socket, unix.S_IFCHR: Char, unix.S_IFBLK: Block,
}

// entry adds what stat tells of an item.
func (r *reader) entry(path string, st *unix.Stat_t) *Entry {
	e := &Entry{
		Path: path, Type: types[uint32(st.Mode)&unix.S_IFMT], Mode: uint32(st.Mode) & 0o7777,
		UID: st.Uid, GID: st.Gid, MTime: time.Unix(st.Mtim.Unix()).UTC(),
		block: max(4096, int64(st.Blksize)), dev: uint64(st.Dev), ino: st.Ino,
	}
	r.tree.Entries = append(r.tree.Entries, e)
	return e
}

func readlink(dir int, name string) (string, error) {
	for size := 256; ; size *= 2 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(dir, name, buf)
		if err != nil || n < size {
			return string(buf[:max(n, 0)]), err
		}
	}
}

// attrs reads the extended attributes of the item itself, never of a link's
// target.
func (r *reader) attrs(e *Entry, dir int, name string) {
	path := attrPath(r.root, e.Path, dir, name)
	list, err := grow(func(buf []byte) (int, error) { return unix.Llistxattr(path, buf) })
	if err != nil {
		if !errors.Is(err, unix.ENOTSUP) {
			r.problem(e, "list attributes", err)
		}
		return
	}
	for _, key := range strings.Split(strings.TrimSuffix(list, "\x00"), "\x00") {
		if key == "" {
			continue
		}
		value, err := grow(func(buf []byte) (int, error) { return unix.Lgetxattr(path, key, buf) })
		if err != nil {
			r.problem(e, "read attribute "+key, err)
			continue
		}
		if e.Xattrs == nil {
			e.Xattrs = map[string]string{}
		}
		e.Xattrs[key] = value
	}
}

// grow calls get with a larger buffer until the answer fits.
func grow(get func([]byte) (int, error)) (string, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := get(buf)
		if errors.Is(err, unix.ERANGE) && size < 1<<24 {
			continue
		}
		if err != nil {
			return "", err
		}
		return string(buf[:n]), nil
	}
}

// hash works on jobs until there are no more.
func (r *reader) hash() {
	buf := make([]byte, 1<<20)
	for j := range r.jobs {
		if err := j.read(buf); err != nil {
			r.problem(j.e, "read", err)
		}
		j.f.Close()
	}
}

func (j job) read(buf []byte) error {
	var before, after unix.Stat_t
	if err := unix.Fstat(int(j.f.Fd()), &before); err != nil {
		return err
	}
	if before.Dev != j.st.Dev || before.Ino != j.st.Ino {
		return errChanged
	}
	data, err := dataMap(j.f, before.Size)
	if err != nil {
		return err
	}
	if _, err := j.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h := sha256.New()
	// Only Read is shown to CopyBuffer, or it would not use our buffer.
	n, err := io.CopyBuffer(h, struct{ io.Reader }{j.f}, buf)
	if err != nil {
		return err
	}
	if err := unix.Fstat(int(j.f.Fd()), &after); err != nil {
		return err
	}
	if n != j.st.Size || after.Size != j.st.Size || after.Mtim != j.st.Mtim || after.Ctim != j.st.Ctim {
		return errChanged
	}
	h.Sum(j.e.Sum[:0])
	j.e.Data = data
	return nil
}

// dataMap finds where a file has data. A file system that knows no holes
// answers that all is data.
func dataMap(f *os.File, size int64) ([]Region, error) {
	var data []Region
	for at := int64(0); at < size; {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // nothing but a hole is left
		}
		if err != nil {
			return nil, err
		}
		to, err := unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
		if err != nil {
			return nil, err
		}
		data = append(data, Region{from, to})
		at = to
	}
	return data, nil
}

// finish sorts the tree and joins the names of each inode.
func (r *reader) finish() {
	t := r.tree
	slices.SortFunc(t.Entries, func(a, b *Entry) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortStableFunc(t.Problems, func(a, b Problem) int { return cmp.Compare(a.Path, b.Path) })
	groups := map[inode][]*Entry{}
	for _, e := range t.Entries {
		if e.Type == Folder {
			continue
		}
		id := inode{e.dev, e.ino}
		groups[id] = append(groups[id], e)
		if read := r.seen[id]; read != nil && e.Type == File {
			e.Sum, e.Data, e.Unread = read.Sum, read.Data, read.Unread
		}
	}
	for _, names := range groups {
		if len(names) < 2 {
			continue
		}
		for _, e := range names {
			e.Twin = names[0].Path
		}
	}
}
