package osservice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/errs"
)

// account is a user as the system knows them now.
type account struct {
	uid, gid uint32
	groups   []uint32
	name     string
	home     string
}

// lookUp asks the system's own commands: accounts may come from a directory,
// which a program without libc cannot ask by itself. Where they are missing the
// files are read.
func lookUp(uid uint32) (account, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	a, err := passwd(ctx, uid)
	if err != nil {
		return a, err
	}
	out, err := exec.CommandContext(ctx, "/usr/bin/id", "-G", "--", a.name).Output()
	if err != nil {
		return a, fmt.Errorf("asking for the groups of %s: %w", a.name, err)
	}
	for _, word := range strings.Fields(string(out)) {
		gid, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			return a, fmt.Errorf("reading the groups of %s: %w", a.name, err)
		}
		a.groups = append(a.groups, uint32(gid))
	}
	return a, nil
}

func passwd(ctx context.Context, uid uint32) (account, error) {
	id := strconv.FormatUint(uint64(uid), 10)
	name, gid, home := "", "", ""
	if out, err := exec.CommandContext(ctx, "/usr/bin/getent", "passwd", id).Output(); err == nil {
		fields := bytes.Split(bytes.TrimRight(out, "\n"), []byte(":"))
		if len(fields) != 7 || string(fields[2]) != id {
			return account{}, fmt.Errorf("the system answers oddly about user id %s", id)
		}
		name, gid, home = string(fields[0]), string(fields[3]), string(fields[5])
	} else {
		u, err := user.LookupId(id)
		if err != nil {
			return account{}, errs.New(errs.Local, "service.account.unknown", "id", id).Because(err)
		}
		name, gid, home = u.Username, u.Gid, u.HomeDir
	}
	g, err := strconv.ParseUint(gid, 10, 32)
	if err != nil || !filepath.IsAbs(home) {
		return account{}, fmt.Errorf("the account of user id %s has group %q and home %q", id, gid, home)
	}
	return account{uid: uid, gid: uint32(g), name: name, home: filepath.Clean(home)}, nil
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
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
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
	if st.Mode&closed != 0 {
		return errors.New("others may use it")
	}
	return nil
}
