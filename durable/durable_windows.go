package durable

import (
	"os"

	"golang.org/x/sys/windows"
)

// rename returns when the move is on the disk, which os.Rename does not
// promise on Windows.
func rename(from, to string) error {
	f, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	t, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return err
	}
	err = windows.MoveFileEx(f, t, windows.MOVEFILE_REPLACE_EXISTING|windows.MOVEFILE_WRITE_THROUGH)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// syncDir has nothing to do: Windows offers no sync of a folder to programs
// without administrator's rights, NTFS journals its names in order, and rename
// has waited for its own.
func syncDir(path string) error {
	_, err := os.Stat(path)
	return err
}
