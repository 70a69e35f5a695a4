package restore

import (
	"context"
	"errors"
	"syscall"

	"github.com/backstay/backstay/errs"
)

// unsound reports whether err says that an object is missing or damaged, so
// that others may still be had.
func unsound(err error) bool { return errs.Is(err, errs.Mismatch) }

// sourceError marks an error of reading the snapshot, but for what is not
// there and what the caller ended.
func sourceError(err error) error {
	if errs.Is(err, errs.NoSuchSnapshot) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &SourceError{err}
}

// localError gives a failure of this computer its code or key.
func localError(err error) error {
	switch {
	case err == nil || errs.Find(err) != nil || errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, syscall.ENOSPC) || isQuota(err):
		return errs.Of(errs.LocalDiskFull).Because(err)
	}
	return errs.New(errs.Local, "restore.failed", "reason", reason(err)).Because(err)
}

// reason is what the system says, without the paths around it.
func reason(err error) string {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
