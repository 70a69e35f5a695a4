//go:build unix

package osservice

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/errs"
)

// account is a user as the system knows them now.
type account struct {
	id       string
	uid, gid uint32
	groups   []uint32
	name     string
	home     string
}

// checkFolder refuses a state folder that is not the account's own and closed,
// or that does not lie in its home; root's may lie in own, the service's folder.
// It walks from an open home by open folders and follows no link, and looks at
// the folder that it has opened: what a name means cannot change under it.
func checkFolder(a account, dir, own string) error {
	roots := []string{a.home}
	if real, err := filepath.EvalSymlinks(a.home); err == nil && real != a.home {
		roots = append(roots, real)
	}
	if a.uid == 0 {
		roots = append(roots, own)
	}
	for _, root := range roots {
		rel, err := filepath.Rel(root, dir)
		if err != nil || !filepath.IsLocal(rel) || rel == "." && root != own {
			continue
		}
		if err := walk(a.uid, root, rel); err != nil {
			return errs.New(errs.Forbidden, "service.folder.foreign", "path", dir).Because(err)
		}
		return nil
	}
	return errs.New(errs.Forbidden, "service.folder.outside", "path", dir, "home", a.home)
}

func walk(uid uint32, root, rel string) error {
	const flags = onTheWay | unix.O_DIRECTORY | unix.O_CLOEXEC
	fd, err := unix.Open(root, flags, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", root, err)
	}
	defer func() { unix.Close(fd) }()
	if err := owned(fd, uid, 0o002); err != nil {
		return fmt.Errorf("%s: %w", root, err)
	}
	for part := range strings.SplitSeq(rel, "/") {
		next, err := unix.Openat(fd, part, flags|unix.O_NOFOLLOW, 0)
		if err != nil {
			return fmt.Errorf("opening %s on the way: %w", part, err)
		}
		unix.Close(fd)
		fd = next
	}
	return owned(fd, uid, 0o077)
}

// owned looks at an open folder: whose it is, and that nobody else has any of
// the rights in closed.
func owned(fd int, uid, closed uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Uid != uid {
		return fmt.Errorf("it belongs to user id %d", st.Uid)
	}
	if uint32(st.Mode)&closed != 0 {
		return errors.New("others may use it")
	}
	return nil
}
