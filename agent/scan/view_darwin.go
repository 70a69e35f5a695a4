package scan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const separator = "/"

// freeze has Time Machine make a snapshot of all volumes, and mounts it once for
// each volume with a root. Only root may mount.
func (v *View) freeze(ctx context.Context, roots []string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	out, err := run(ctx, "/usr/bin/tmutil", "localsnapshot")
	if err != nil {
		return err
	}
	date, err := madeSnapshot(out)
	if err != nil {
		return err
	}
	if err := v.noteDown(date); err != nil {
		return err
	}
	mounts, err := mounted()
	if err != nil {
		return err
	}
	views := map[string]string{} // where the snapshot of a volume is mounted
	for _, root := range roots {
		var st, seen unix.Stat_t
		var fs unix.Statfs_t
		if err := errors.Join(unix.Stat(root, &st), unix.Statfs(root, &fs)); err != nil {
			continue // the walk will tell
		}
		volume := unix.ByteSliceToString(fs.Mntonname[:])
		if unix.ByteSliceToString(fs.Fstypename[:]) != "apfs" {
			continue
		}
		if views[volume] == "" {
			if views[volume], err = v.mount(ctx, volume, date); err != nil {
				return err
			}
		}
		to := views[volume] + strings.TrimSuffix(inVolume(volume, root), "/")
		if err := unix.Stat(to, &seen); err != nil {
			return fmt.Errorf("looking into the snapshot of %s: %w", volume, err)
		}
		v.parts = append(v.parts, part{from: root, to: to, device: uint64(seen.Dev), real: uint64(st.Dev)})
		for _, other := range otherMounts(root, mounts) {
			v.parts = append(v.parts, part{from: other, to: other})
		}
	}
	return nil
}

// snapshotName is what the snapshot of a date is called on each volume.
func snapshotName(date string) string { return "com.apple.TimeMachine." + date + ".local" }

func (v *View) mount(ctx context.Context, volume, date string) (string, error) {
	at, err := os.MkdirTemp(filepath.Dir(v.note), "view-")
	if err != nil {
		return "", err
	}
	if err := v.noteDown(at); err != nil {
		return "", err
	}
	_, err = run(ctx, "/sbin/mount_apfs", "-o", "ro,nobrowse", "-s", snapshotName(date), volume, at)
	return at, err
}

// mounted lists where volumes are mounted.
func mounted() ([]string, error) {
	n, err := unix.Getfsstat(nil, unix.MNT_NOWAIT)
	if err != nil {
		return nil, fmt.Errorf("listing volumes: %w", err)
	}
	all := make([]unix.Statfs_t, n)
	if n, err = unix.Getfsstat(all, unix.MNT_NOWAIT); err != nil {
		return nil, fmt.Errorf("listing volumes: %w", err)
	}
	var paths []string
	for _, fs := range all[:min(n, len(all))] {
		paths = append(paths, unix.ByteSliceToString(fs.Mntonname[:]))
	}
	return paths, nil
}

// undo deletes a snapshot by its date, or unmounts one and removes its folder.
func undo(made string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if snapshotDate.MatchString(made) {
		_, err := run(ctx, "/usr/bin/tmutil", "deletelocalsnapshots", made)
		return err
	}
	// It may never have been mounted; a folder that still is cannot be removed.
	run(ctx, "/sbin/umount", made)
	if err := os.Remove(made); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func run(ctx context.Context, program string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, args[0], err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
