package console

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
)

// elsewhere writes to the database when it is written to.
type elsewhere struct {
	bytes.Buffer
	write func() error
}

func (e *elsewhere) Write(p []byte) (int, error) {
	if err := e.write(); err != nil {
		return 0, err
	}
	return e.Buffer.Write(p)
}

// A list of users that is sent keeps nobody from writing.
func TestExportHoldsNoLock(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	out := &elsewhere{write: func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		return d.Write(ctx, func(tx *db.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE users SET language = 'fr' WHERE id = 'nobody'")
			return err
		})
	}}
	v := &visit{caller: access.System("test")}
	err := export(t.Context(), d, v, out, func(*db.Tx) (accounts.Filter, error) { return accounts.Filter{}, nil })
	if err != nil || out.Len() == 0 {
		t.Errorf("exporting while somebody writes: %v, %d bytes", err, out.Len())
	}
}
