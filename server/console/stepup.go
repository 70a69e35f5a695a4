package console

import (
	"context"
	"net/http"

	"github.com/backstay/backstay/server/db"
)

// fresh sends a visitor who has not just proved who they are to do so, and
// reports whether they have. They come back to the page they asked for.
func (c *console) fresh(w http.ResponseWriter, r *http.Request, v *visit) bool {
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error { return c.checkFresh(r.Context(), tx, v) })
	if err != nil {
		c.fail(w, r, v.caller, err)
		return false
	}
	return true
}

func (c *console) checkFresh(ctx context.Context, tx *db.Tx, v *visit) error {
	return c.Gate.Fresh(ctx, tx, v.session)
}
