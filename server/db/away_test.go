package db_test

import (
	"context"
	"errors"
	"net/url"
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
)

// A database that does not answer passes: who asks is to come back.
func TestAway(t *testing.T) {
	t.Parallel()
	closed := dbtest.New(t)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	stopped, err := db.Open(t.Context(), "postgres://nobody@/none?host="+url.QueryEscape(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer stopped.Close()
	nothing := func(*db.Tx) error { return nil }
	for name, d := range map[string]*db.DB{"closed": closed, "stopped": stopped} {
		for _, err := range []error{d.Read(t.Context(), nothing), d.Peek(t.Context(), nothing), d.Write(t.Context(), nothing)} {
			if errs.KindOf(err) != errs.Unavailable || errs.RetryAfter(err) == 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := stopped.Read(ctx, nothing); !errors.Is(err, context.Canceled) || errs.Find(err) != nil {
		t.Errorf("when nobody waits: %v", err)
	}
}
