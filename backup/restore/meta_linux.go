package restore

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/errs"
)

// openFlags keep an open from following a link or waiting for a FIFO's writer.
const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK

func isQuota(err error) bool { return errors.Is(err, unix.EDQUOT) }

// fd is the descriptor for calls with one name below f.
func (f *folder) fd() int { return int(f.dir.Fd()) }

// inherits notes whether what is made in f gets an ACL that nobody asked for.
func (f *folder) inherits() {
	n, err := unix.Fgetxattr(f.fd(), defaultACL, nil)
	f.strips = err == nil && n > 0
}

// rename renames inside f and replaces nothing: that is fs.ErrExist.
func (f *folder) rename(from, to string) error {
	err := unix.Renameat2(f.fd(), from, f.fd(), to, unix.RENAME_NOREPLACE)
	if err != unix.EINVAL && err != unix.ENOSYS {
		return pathError("rename", to, err)
	}
	// The file system cannot do it in one step.
	if _, err := f.root.Lstat(to); err == nil {
		return pathError("rename", to, unix.EEXIST)
	}
	return f.root.Rename(from, to)
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: name, Err: err}
}

// unlock lets the restorer into a folder of his own.
func (f *folder) unlock(name string) error {
	fd, err := unix.Openat(f.fd(), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), 0o700)
}

// hardLink does not follow a link that stands at name.
func (r *restorer) hardLink(from *folder, name string, to *folder, as string) error {
	return pathError("link", as, unix.Linkat(from.fd(), name, to.fd(), as, 0))
}

func (f *folder) mknod(e *catalog.Entry) error {
	kind := map[catalog.Type]uint32{
		catalog.Fifo: unix.S_IFIFO, catalog.Socket: unix.S_IFSOCK, catalog.Char: unix.S_IFCHR, catalog.Block: unix.S_IFBLK,
	}[e.Type]
	if kind == 0 {
		return fmt.Errorf("type %d is unknown", e.Type)
	}
	return pathError("mknod", e.Name, unix.Mknodat(f.fd(), e.Name, kind|0o600, int(e.Rdev)))
}

func sameSpecial(info os.FileInfo, e *catalog.Entry) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && sameKind(uint32(st.Mode), uint64(st.Rdev), e)
}

func sameKind(mode uint32, rdev uint64, e *catalog.Entry) bool {
	switch mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return e.Type == catalog.Fifo
	case unix.S_IFSOCK:
		return e.Type == catalog.Socket
	case unix.S_IFCHR:
		return e.Type == catalog.Char && rdev == e.Rdev
	case unix.S_IFBLK:
		return e.Type == catalog.Block && rdev == e.Rdev
	case unix.S_IFLNK:
		return e.Type == catalog.Symlink
	}
	return false
}

// object is an open file, folder or other thing to be given its metadata. All
// calls go through the descriptor: a name might mean something else by now.
type object struct {
	fd         int
	path       bool // opened with O_PATH
	privileged bool
	e          *catalog.Entry
	refused    []string
	problems   []error
}

func (o *object) note(what string, err error) {
	if err != nil {
		o.refused = append(o.refused, what)
		o.problems = append(o.problems, fmt.Errorf("%s: %w", what, err))
	}
}

func (o *object) warning() error {
	if len(o.problems) == 0 {
		return nil
	}
	return metadataRefused(strings.Join(o.refused, ", "), errors.Join(o.problems...))
}

func metadataRefused(what string, err error) error {
	return errs.New(errs.Local, "restore.metadata.refused", "what", what).Because(err)
}

func (o *object) proc() string { return "/proc/self/fd/" + strconv.Itoa(o.fd) }

// owner sets owner and group, as far as the restorer may, and returns the mode
// with the bits that go with them (R22).
func (o *object) owner() uint32 {
	var st unix.Stat_t
	if err := unix.Fstat(o.fd, &st); err != nil {
		o.note("owner", err)
		return o.e.Mode & 0o1777
	}
	uid, gid := -1, -1
	if o.privileged && st.Uid != o.e.UID {
		uid = int(o.e.UID)
	}
	if st.Gid != o.e.GID && (o.privileged || st.Uid == o.e.UID) {
		gid = int(o.e.GID)
	}
	if uid >= 0 || gid >= 0 {
		err := unix.Fchownat(o.fd, "", uid, gid, unix.AT_EMPTY_PATH)
		o.note("owner", err)
		if err == nil && uid >= 0 {
			st.Uid = o.e.UID
		}
		if err == nil && gid >= 0 {
			st.Gid = o.e.GID
		}
	}
	mode := o.e.Mode & 0o7777
	if mode&unix.S_ISUID != 0 && st.Uid != o.e.UID {
		mode &^= unix.S_ISUID
		o.note("setuid", errDropped)
	}
	if mode&unix.S_ISGID != 0 && st.Gid != o.e.GID {
		mode &^= unix.S_ISGID
		o.note("setgid", errDropped)
	}
	return mode
}

var errDropped = errors.New("not kept, since its owner is not")

// attributes sets the extended attributes, ACLs among them, that may be set.
func (o *object) attributes(attrs []catalog.Attr, later string) {
	for _, a := range attrs {
		if a.Name == later {
			continue
		}
		if !o.privileged && (strings.HasPrefix(a.Name, "security.") || strings.HasPrefix(a.Name, "trusted.")) {
			o.note(a.Name, errors.New("left to an administrator"))
			continue
		}
		var err error
		if o.path {
			err = unix.Setxattr(o.proc(), a.Name, []byte(a.Value), 0)
		} else {
			err = unix.Fsetxattr(o.fd, a.Name, []byte(a.Value), 0)
		}
		o.note(a.Name, err)
	}
}

// noACL takes away an ACL that came from the folder.
func (o *object) noACL(attrs []catalog.Attr) {
	const accessACL = "system.posix_acl_access"
	for _, a := range attrs {
		if a.Name == accessACL {
			return
		}
	}
	if err := unix.Fremovexattr(o.fd, accessACL); err != unix.ENODATA && err != unix.EOPNOTSUPP {
		o.note(accessACL, err)
	}
}

func (o *object) mode(mode uint32) {
	if o.path {
		o.note("permissions", unix.Chmod(o.proc(), mode))
		return
	}
	o.note("permissions", unix.Fchmod(o.fd, mode))
}

func (o *object) time(t catalog.Time) { o.note("time", setTime(o.fd, t)) }

// setTime sets both times: futimens, which package unix lacks.
func setTime(fd int, t catalog.Time) error {
	ts := [2]unix.Timespec{{Sec: t.Sec, Nsec: int64(t.Nsec)}, {Sec: t.Sec, Nsec: int64(t.Nsec)}}
	ts[0].Nsec = unix.UTIME_OMIT // the time of reading is not ours to make up
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func (f *folder) setTime(t catalog.Time) error { return setTime(f.fd(), t) }

// setFileMeta gives a new file all its metadata. What is refused comes back as
// one warning.
func (f *folder) setFileMeta(file *os.File, privileged bool, e *catalog.Entry, attrs []catalog.Attr) error {
	o := &object{fd: int(file.Fd()), privileged: privileged, e: e}
	mode := o.owner()
	o.attributes(attrs, "")
	if f.strips {
		o.noACL(attrs)
	}
	o.mode(mode)
	o.time(e.Mtime)
	return o.warning()
}

func (f *folder) setTimesLater(string, *catalog.Entry) error { return nil }

// setMeta gives the folder its metadata. What would keep the restorer from
// filling it, or change what is made in it, is returned for later.
func (f *folder) setMeta(privileged bool, e *catalog.Entry, attrs []catalog.Attr) (*oddFolder, error) {
	o := &object{fd: f.fd(), privileged: privileged, e: e}
	odd := oddFolder{mode: o.owner()}
	isOdd := false
	for _, a := range attrs {
		if a.Name == defaultACL {
			odd.defaultACL, isOdd = a.Value, true
		}
	}
	o.attributes(attrs, defaultACL)
	mode := odd.mode
	if mode&0o700 != 0o700 && os.Geteuid() != 0 {
		mode, isOdd = mode|0o700, true
	}
	o.mode(mode)
	o.time(e.Mtime)
	if !isOdd {
		return nil, o.warning()
	}
	return &odd, o.warning()
}

// setOdd is the rest of setMeta.
func (f *folder) setOdd(odd oddFolder) error {
	o := &object{fd: f.fd()}
	if odd.defaultACL != "" {
		o.note(defaultACL, unix.Fsetxattr(o.fd, defaultACL, []byte(odd.defaultACL), 0))
	}
	o.mode(odd.mode)
	return o.warning()
}

// setOtherMeta gives a link or a special file its metadata. It is opened
// without following or using it, and must be what was just made.
func (f *folder) setOtherMeta(privileged bool, e *catalog.Entry, attrs []catalog.Attr) error {
	fd, err := unix.Openat(f.fd(), e.Name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return metadataRefused("owner", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || !sameKind(uint32(st.Mode), uint64(st.Rdev), e) {
		return metadataRefused("owner", errors.Join(err, errors.New("it was replaced")))
	}
	o := &object{fd: fd, path: true, privileged: privileged, e: e}
	mode := o.owner()
	if e.Type == catalog.Symlink {
		o.linkAttributes(f, attrs)
	} else {
		o.attributes(attrs, "")
		o.mode(mode)
	}
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: e.Mtime.Sec, Nsec: int64(e.Mtime.Nsec)}}
	o.note("time", unix.UtimesNanoAt(f.fd(), e.Name, ts, unix.AT_SYMLINK_NOFOLLOW))
	return o.warning()
}

// linkAttributes sets a link's own attributes, which needs a name; the calls
// do not follow it.
func (o *object) linkAttributes(f *folder, attrs []catalog.Attr) {
	for _, a := range attrs {
		if !o.privileged {
			o.note(a.Name, errors.New("left to an administrator"))
			continue
		}
		o.note(a.Name, unix.Lsetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", f.fd(), o.e.Name), a.Name, []byte(a.Value), 0))
	}
}
