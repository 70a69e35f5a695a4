package scan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/backup/catalog"
)

// dir is an open folder.
type dir struct {
	fd       int
	dev, ino uint64
}

// openDir opens the folder at path, which must be the one seen. To look up
// names needs less rights than to list them.
func (*Walk) openDir(path string, seen identity, lookOnly bool) (*dir, error) {
	flags := unix.O_RDONLY | unix.O_DIRECTORY
	if lookOnly {
		flags = unix.O_PATH | unix.O_DIRECTORY
	}
	fd, err := openAs(path, flags, seen)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &dir{fd, st.Dev, st.Ino}, nil
}

func (d *dir) Close() { unix.Close(d.fd) }

// Names returns the names in the folder, sorted.
func (d *dir) Names() ([]string, error) {
	var all []byte // the names, each with a zero byte behind it
	buf := make([]byte, 32<<10)
	for {
		n, err := ignoringEINTR(func() (int, error) { return unix.Getdents(d.fd, buf) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		all = appendNames(all, buf[:n])
	}
	if len(all) == 0 {
		return nil, nil
	}
	text := string(all[:len(all)-1])
	names := make([]string, 0, strings.Count(text, "\x00")+1)
	for name := range strings.SplitSeq(text, "\x00") {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// appendNames takes the names out of struct linux_dirent64: inode and offset of
// 8 bytes each, length of the record, type, name.
func appendNames(all, records []byte) []byte {
	for len(records) > 19 {
		size := binary.NativeEndian.Uint16(records[16:])
		name := records[19:size]
		records = records[size:]
		if end := bytes.IndexByte(name, 0); end >= 0 {
			name = name[:end]
		}
		if s := string(name); s == "" || s == "." || s == ".." || strings.Contains(s, "/") {
			continue
		}
		all = append(append(all, name...), 0)
	}
	return all
}

// Look fills in the metadata of an item in the folder.
func (d *dir) Look(name string, e *catalog.Entry) error {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	fill(e, &st)
	return nil
}

// pseudo are the file systems that hold no files.
var pseudo = map[int64]bool{
	unix.PROC_SUPER_MAGIC: true, unix.SYSFS_MAGIC: true, unix.CGROUP_SUPER_MAGIC: true, unix.CGROUP2_SUPER_MAGIC: true,
	unix.DEBUGFS_MAGIC: true, unix.TRACEFS_MAGIC: true, unix.SECURITYFS_MAGIC: true, unix.PSTOREFS_MAGIC: true,
	unix.BPF_FS_MAGIC: true, unix.BINFMTFS_MAGIC: true, unix.DEVPTS_SUPER_MAGIC: true, unix.EFIVARFS_MAGIC: true,
	unix.HUGETLBFS_MAGIC: true, unix.NSFS_MAGIC: true, unix.SELINUX_MAGIC: true, unix.SMACK_MAGIC: true,
	unix.AUTOFS_SUPER_MAGIC: true, unix.BINDERFS_SUPER_MAGIC: true, unix.RDTGROUP_SUPER_MAGIC: true,
	0x62656570: true, // configfs
	0x65735543: true, // fusectl
	0x19800202: true, // mqueue
	0x67596969: true, // rpc_pipefs
}

// Pseudo reports whether a file system that is not there to keep files is
// mounted at the folder. What is mounted at /dev looks like any other in
// memory.
func (d *dir) Pseudo(path string, above uint64) bool {
	if d.dev == above {
		return false
	}
	if path == "/dev" {
		return true
	}
	var st unix.Statfs_t
	return unix.Fstatfs(d.fd, &st) == nil && pseudo[int64(st.Type)]
}

func fill(e *catalog.Entry, st *unix.Stat_t) {
	e.Type = typeOf(st.Mode)
	e.Mode = st.Mode & 0o7777
	e.UID, e.GID = st.Uid, st.Gid
	e.Mtime = catalog.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}
	e.Ctime = catalog.Time{Sec: st.Ctim.Sec, Nsec: uint32(st.Ctim.Nsec)}
	e.Ino, e.Dev, e.Nlink = st.Ino, st.Dev, uint32(st.Nlink)
	e.Size, e.Rdev = 0, 0
	switch e.Type {
	case catalog.File:
		e.Size = uint64(st.Size)
	case catalog.Char, catalog.Block:
		e.Rdev = st.Rdev
	}
}

func typeOf(mode uint32) catalog.Type {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return catalog.File
	case unix.S_IFDIR:
		return catalog.Folder
	case unix.S_IFLNK:
		return catalog.Symlink
	case unix.S_IFIFO:
		return catalog.Fifo
	case unix.S_IFSOCK:
		return catalog.Socket
	case unix.S_IFCHR:
		return catalog.Char
	case unix.S_IFBLK:
		return catalog.Block
	}
	return 0
}

// openAs opens path, following no link at its end. What is opened must be what
// was seen; when it is not, perhaps because a file was replaced by its next
// version, it is opened once more with no link on the way, and then holds as
// what is at path now.
func openAs(path string, flags int, seen identity) (int, error) {
	flags |= unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	fd, err := open(path, flags)
	if errors.Is(err, unix.ENAMETOOLONG) {
		fd, err = openStepwise(path, flags)
	}
	if err != nil {
		return -1, typeError(err)
	}
	if isSeen(fd, seen) {
		return fd, nil
	}
	unix.Close(fd)
	if fd, err = openStepwise(path, flags); err != nil {
		return -1, typeError(err)
	}
	if !seen.known || isSeen(fd, identity{kind: seen.kind}) {
		return fd, nil
	}
	unix.Close(fd)
	return -1, errReplaced
}

// isSeen compares an open item with what was seen, or with its type alone.
func isSeen(fd int, seen identity) bool {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return false
	}
	var e catalog.Entry
	fill(&e, &st)
	if !seen.known {
		return seen.kind == 0 || seen.kind == e.Type
	}
	return seen.is(&e)
}

// typeError says what a link or a file in a folder's place means: the folder
// was replaced.
func typeError(err error) error {
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		return errReplaced
	}
	return err
}

// open opens a file without changing its access time, where that is allowed.
func open(path string, flags int) (int, error) { return openAt(unix.AT_FDCWD, path, flags) }

func openAt(at int, path string, flags int) (int, error) {
	if flags&unix.O_PATH == 0 {
		fd, err := ignoringEINTR(func() (int, error) { return unix.Openat(at, path, flags|unix.O_NOATIME, 0) })
		if err != unix.EPERM {
			return fd, err
		}
	}
	return ignoringEINTR(func() (int, error) { return unix.Openat(at, path, flags, 0) })
}

// openStepwise opens path name by name: no link on the way is followed, and
// the path may be longer than the system takes at once.
func openStepwise(path string, flags int) (int, error) {
	at, err := open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return -1, err
	}
	rest := strings.TrimPrefix(path, "/")
	for {
		name, after, more := strings.Cut(rest, "/")
		step := flags
		if more {
			step = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		}
		if name == "" {
			name = "."
		}
		next, err := openAt(at, name, step)
		unix.Close(at)
		if err != nil || !more {
			return next, err
		}
		at, rest = next, after
	}
}

func ignoringEINTR[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if err != unix.EINTR {
			return v, err
		}
	}
}
