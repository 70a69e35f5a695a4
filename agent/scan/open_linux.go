package scan

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/backup/archive"
	"github.com/backstay/backstay/backup/catalog"
)

// Complete fills in owner and group, a link's target, extended attributes.
func (w *Walk) Complete(e *catalog.Entry) error {
	e.Owner, e.Group = w.owners.user(e.UID), w.owners.group(e.GID)
	path := e.Path()
	if n, err := unix.Llistxattr(path, nil); n == 0 && err == nil && e.Type != catalog.Symlink {
		return nil // most items
	}
	fd, err := openAs(path, unix.O_PATH, identify(e))
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if e.Type == catalog.Symlink {
		if e.Target, err = readLink(fd); err != nil {
			return err
		}
	}
	// A descriptor of this kind has no attributes, but its name in /proc has.
	magic := "/proc/self/fd/" + strconv.Itoa(fd)
	e.Attrs, err = attrs(
		func(buf []byte) (int, error) { return unix.Listxattr(magic, buf) },
		func(name string, buf []byte) (int, error) { return unix.Getxattr(magic, name, buf) },
	)
	return err
}

func readLink(fd int) (string, error) {
	for size := 256; ; size *= 2 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(fd, "", buf)
		if err != nil || n < size {
			return string(buf[:max(n, 0)]), err
		}
	}
}

// attrs reads extended attributes by name. What a file system has none of is
// none.
func attrs(list func([]byte) (int, error), get func(string, []byte) (int, error)) ([]catalog.Attr, error) {
	text, err := grow(list)
	if err != nil || len(text) == 0 {
		return nil, ignoringUnsupported(err)
	}
	var all []catalog.Attr
	for name := range strings.SplitSeq(strings.TrimSuffix(text, "\x00"), "\x00") {
		value, err := grow(func(buf []byte) (int, error) { return get(name, buf) })
		if errors.Is(err, unix.ENODATA) {
			continue // it was removed meanwhile
		}
		if err != nil {
			return all, err
		}
		all = append(all, catalog.Attr{Name: name, Value: value})
	}
	slices.SortFunc(all, func(a, b catalog.Attr) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// grow calls a function that tells how much room it needs until it had enough.
func grow(call func([]byte) (int, error)) (string, error) {
	for {
		n, err := call(nil)
		if err != nil || n == 0 {
			return "", err
		}
		buf := make([]byte, n)
		n, err = call(buf)
		if err != unix.ERANGE {
			return string(buf[:max(n, 0)]), err
		}
	}
}

func ignoringUnsupported(err error) error {
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// file is an open file.
type file struct {
	w      *Walk
	fd     int
	blocks int64 // that it takes on the disk, of 512 bytes
}

var _ archive.File = (*file)(nil)

// Open opens a regular file that the walk found.
func (w *Walk) Open(e *catalog.Entry) (archive.File, error) {
	fd, err := openAs(e.Path(), unix.O_RDONLY, identify(e))
	if err != nil {
		return nil, err
	}
	return &file{w: w, fd: fd}, nil
}

func (f *file) Close() error { return unix.Close(f.fd) }

func (f *file) Stat(e *catalog.Entry) error {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return err
	}
	fill(e, &st)
	f.blocks = st.Blocks
	return nil
}

func (f *file) Complete(e *catalog.Entry) (err error) {
	e.Owner, e.Group = f.w.owners.user(e.UID), f.w.owners.group(e.GID)
	if n, err := unix.Flistxattr(f.fd, nil); n == 0 && err == nil {
		return nil // most files
	}
	e.Attrs, err = attrs(
		func(buf []byte) (int, error) { return unix.Flistxattr(f.fd, buf) },
		func(name string, buf []byte) (int, error) { return unix.Fgetxattr(f.fd, name, buf) },
	)
	return err
}

// ReadAt reads until p is full or the file ends.
func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		m, err := ignoringEINTR(func() (int, error) { return unix.Pread(f.fd, p[n:], off+int64(n)) })
		if err != nil {
			return n, err
		}
		if m == 0 {
			return n, io.EOF
		}
		n += m
	}
	return n, nil
}

// Holes asks for the holes of a file that takes less room than it has bytes.
func (f *file) Holes(size uint64) ([]catalog.Hole, error) {
	if uint64(f.blocks)*512 >= size {
		return nil, nil
	}
	var holes []catalog.Hole
	end := int64(size)
	for at := int64(0); at < end; {
		hole, err := unix.Seek(f.fd, at, unix.SEEK_HOLE)
		if err != nil || hole >= end {
			return holes, noHoles(err)
		}
		data, err := unix.Seek(f.fd, hole, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && data > end {
			data, err = end, nil // a hole up to the end
		}
		if err != nil {
			return holes, noHoles(err)
		}
		if data > hole {
			holes = append(holes, catalog.Hole{Offset: uint64(hole), Length: uint64(data - hole)})
		}
		at = max(data, at+1)
	}
	return holes, nil
}

// noHoles passes over what a file system without holes answers, and that the
// file became shorter: it will be read again.
func noHoles(err error) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENXIO) {
		return nil
	}
	return ignoringUnsupported(err)
}
