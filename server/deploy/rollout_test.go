package deploy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/deploy"
)

// A page shows how far a fleet is that one token let in: each use finds its device
// without a look at all others.
func TestRolloutOfThousands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token, secret := w.create(deploy.Rules{CreateUsers: true, Domains: []string{"example.org"}})
	d, err := w.enrol(w.computer("c0", secret, "email:c0@example.org"))
	if err != nil {
		t.Fatal(err)
	}
	const n = 2_000
	w.Write(func(tx *db.Tx) error {
		device := dbtest.Copier(t, tx, "devices", string(d.ID))
		for i := 1; i < n; i++ {
			request := fmt.Sprintf("r%d", i)
			device(map[string]any{"id": fmt.Sprintf("d%d", i), "name_key": request, "request_id": request})
			_, err := tx.Exec(t.Context(), `INSERT INTO deploy_uses (token, request_id, ip, hostname, os, how, used_at)
				SELECT token, $1, ip, hostname, os, how, used_at FROM deploy_uses WHERE number = 1`, request)
			if err != nil {
				return err
			}
		}
		return nil
	})
	var list []deploy.Enrolment
	began := time.Now()
	w.Read(func(tx *db.Tx) (err error) {
		list, err = deploy.Rollout(t.Context(), tx, w.admin, w.Org.ID, token.ID, time.Time{})
		return err
	})
	t.Logf("%d computers in %s", len(list), time.Since(began))
	seen := map[string]bool{}
	for _, e := range list {
		seen[e.Device] = e.Stage == deploy.StageEnrolled
	}
	if len(list) != n || len(seen) != n || seen[""] {
		t.Errorf("%d uses of %d devices, want %d of each", len(list), len(seen), n)
	}
}
