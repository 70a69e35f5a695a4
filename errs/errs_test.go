package errs_test

import (
	"testing"

	"github.com/backstay/backstay/errs"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  *errs.Error
		want int
	}{
		{errs.Of(errs.TooManyAttempts, "n", 30), 30},
		{errs.Of(errs.ServerBusy, "n", 2), 120},
		{errs.Of(errs.ServerBusy, "n", 2, "seconds", 70), 70},
		{errs.Of(errs.ServerBusy, "n", int64(2), "seconds", int64(70)), 70}, // as another process said it
		{errs.New(errs.TooMany, "snapshot.flood", "n", 500), 3600},
		{errs.New(errs.Unavailable, "read.busy"), 10},
		{errs.New(errs.Forbidden, "device.waiting"), 60},
		{errs.New(errs.Forbidden, "device.disabled"), 0},
		{errs.Of(errs.StorageFull), 0},
	} {
		if got := errs.RetryAfter(c.err); got != c.want {
			t.Errorf("RetryAfter(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}
