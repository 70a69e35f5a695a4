package deploy_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
)

// Whoever has a token that leaked makes up computers: the latest are kept, the
// others are counted for a week, and the record does not fill with them.
func TestMadeUpKnocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token, secret := w.create(deploy.Rules{Systems: []string{"windows"}})
	rows := func(table, where string, args ...any) (n int) {
		t.Helper()
		w.Read(func(tx *db.Tx) error {
			return tx.QueryRow(t.Context(), "SELECT count(*) FROM "+table+" WHERE "+where, args...).Scan(&n)
		})
		return n
	}
	w.Write(func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO deploy_knocks (token, machine, hostname, os, os_user, ip, code, times, first_at, last_at)
			WITH RECURSIVE made(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM made WHERE n < 5000)
			SELECT $1, 'made-' || n, '', 'linux', '', '', 'system', 1, CAST($2 AS BIGINT), CAST($2 AS BIGINT) + n FROM made`, token.ID, db.Micros(tx.Now().Add(-time.Hour)))
		return err
	})
	recorded := rows("audit", "object_kind = 'deploy-token' AND object_id = $1 AND code <> ''", token.ID)
	for _, name := range []string{"pc-1", "pc-2", "pc-3", "pc-1"} {
		_, err := w.begin(w.computer(name, secret, "email:new@example.org"))
		wantCode(t, name, err, errs.BadDeployToken)
	}
	if n := rows("deploy_knocks", "token = $1", token.ID); n != 5000 {
		t.Errorf("%d computers are kept, want 5000", n)
	}
	if n := rows("deploy_knocks", "machine IN ('made-1', 'made-2', 'made-3')"); n != 0 {
		t.Errorf("%d of the three that came first are kept", n)
	}
	if n := rows("audit", "object_kind = 'deploy-token' AND object_id = $1 AND code <> ''", token.ID) - recorded; n != 1 {
		t.Errorf("%d records within a minute, want 1", n)
	}
	more := func() (n int64) {
		w.Read(func(tx *db.Tx) (err error) { _, n, err = deploy.Knocks(t.Context(), tx, w.admin, w.Org.ID); return err })
		return n
	}
	if n := more(); n != 4503 {
		t.Errorf("%d more are not listed, want 4503", n)
	}
	w.Move(8 * 24 * time.Hour)
	if n := more(); n != 0 {
		t.Errorf("a week later %d more are not listed", n)
	}
	w.Write(func(tx *db.Tx) error { _, err := deploy.Expire(t.Context(), tx); return err })
	if _, err := w.begin(w.computer("late", secret, "email:new@example.org")); err == nil || more() != 0 {
		t.Errorf("a week later one knocks: %v, and %d more are not listed", err, more())
	}
}
