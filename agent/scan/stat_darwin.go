package scan

import (
	"io/fs"
	"syscall"

	"github.com/backstay/backstay/backup/catalog"
)

const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

func stat(e *catalog.Entry, info fs.FileInfo) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return
	}
	e.UID, e.GID = st.Uid, st.Gid
	e.Ctime = catalog.Time{Sec: st.Ctimespec.Sec, Nsec: uint32(st.Ctimespec.Nsec)}
	e.Ino, e.Dev, e.Nlink = st.Ino, uint64(st.Dev), uint32(st.Nlink)
	if e.Type == catalog.Char || e.Type == catalog.Block {
		e.Rdev = uint64(st.Rdev)
	}
}

func (w *Walk) name(e *catalog.Entry) {
	e.Owner, e.Group = w.owners.user(e.UID), w.owners.group(e.GID)
}
