package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
)

const (
	// keepKnocks is for how long it is known who was not let in.
	keepKnocks = 7 * 24 * time.Hour
	// maxKnocks is of how many that is known for each token, the latest: whoever
	// has a token that leaked can make up as many computers as they like.
	maxKnocks = 5000
	// maxShown is how many are listed.
	maxShown = 500
)

// Prompted is the code of a knock whose user has to sign in.
const Prompted = "prompt"

// Knock is a computer that showed a good secret and was not let in.
type Knock struct {
	Token            string // its id
	TokenName        string
	Machine, OSUser  string
	Hostname, OS, IP string
	Code             string // an error code, Prompted, a State of the token, network, system or host
	Times            int64
	FirstAt, LastAt  time.Time
}

// refused notes that a token let nobody in: for its figures, and, where the
// secret was right, which computer it was. What is no refusal is not noted.
func (r *redemption) refused(ctx context.Context, d *db.DB, err error) error {
	expected := errs.Find(err)
	if expected == nil || r.token.ID == "" || expected.Kind == errs.Internal || expected.Kind == errs.Unavailable {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	return d.Write(ctx, func(tx *db.Tx) error {
		known, crowded, err := r.knock(ctx, tx, expected)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE deploy_tokens SET failures = failures + 1, last_failed_at = $2 WHERE id = $1", r.token.ID, db.Micros(tx.Now())); err != nil {
			return fmt.Errorf("noting a failure of deployment token %s: %w", r.token.ID, err)
		}
		// Computers try again for days: the record says it once. Of guesses, and of
		// more computers than anybody has, it says one a minute.
		if known || (crowded || !r.secret) && tx.Now().Sub(r.token.LastFailedAt) < time.Minute {
			return nil
		}
		return audit.Record(ctx, tx, r.system(), audit.Event{Action: access.Activate, Org: r.token.Org, Object: object(r.token.ID), Outcome: audit.Refuse,
			Code: expected.Code, Details: []audit.Detail{audit.Note("token", r.token.Name), audit.Note("reason", r.code(expected)), audit.Note("hostname", tidy(r.in.Hardware.Hostname))}})
	})
}

// code is why the computer was not let in, for administrators.
func (r *redemption) code(err *errs.Error) string {
	switch {
	case !r.secret:
		return "secret"
	case r.reason != "":
		return r.reason
	case err.Key == "deploy.prompt":
		return Prompted
	}
	return cmp.Or(string(err.Code), "request")
}

// knock notes the computer, and reports whether it is known to be kept out for
// this reason already, and whether there are too many to know them all.
func (r *redemption) knock(ctx context.Context, tx *db.Tx, because *errs.Error) (known, crowded bool, err error) {
	if !r.secret {
		return false, false, nil
	}
	h, code := r.in.Hardware, r.code(because)
	n, err := tx.Changed(ctx, `UPDATE deploy_knocks SET times = times + 1, last_at = $5, ip = $6 WHERE token = $1 AND machine = $2 AND os_user = $3 AND code = $4`,
		r.token.ID, r.machine(), tidy(h.OSUser), code, db.Micros(tx.Now()), r.from.IP)
	if err == nil && n == 0 {
		_, err = tx.Exec(ctx, `INSERT INTO deploy_knocks (token, machine, hostname, os, os_user, ip, code, times, first_at, last_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $8)
			ON CONFLICT (token, machine, os_user) DO UPDATE SET code = excluded.code, times = deploy_knocks.times + 1, last_at = excluded.last_at, ip = excluded.ip`,
			r.token.ID, r.machine(), tidy(h.Hostname), tidy(h.OS), tidy(h.OSUser), r.from.IP, code, db.Micros(tx.Now()))
	}
	if err == nil && n == 0 {
		crowded, err = crowd(ctx, tx, r.token.ID)
	}
	if err != nil {
		return false, false, fmt.Errorf("noting who knocked: %w", err)
	}
	return n > 0, crowded, nil
}

// crowd forgets who knocked first with a token when there are too many, and counts
// them. It reports whether there were.
func crowd(ctx context.Context, tx *db.Tx, token string) (bool, error) {
	lost, err := tx.Changed(ctx, `DELETE FROM deploy_knocks WHERE token = $1 AND (last_at, machine, os_user) <=
		(SELECT last_at, machine, os_user FROM deploy_knocks WHERE token = $1 ORDER BY last_at DESC, machine DESC, os_user DESC LIMIT 1 OFFSET $2)`, token, maxKnocks)
	if err != nil || lost == 0 {
		return false, err
	}
	_, err = tx.Exec(ctx, `UPDATE deploy_tokens SET knocks_lost = CASE WHEN knocks_lost_at > $2 THEN knocks_lost ELSE 0 END + $3, knocks_lost_at = $4 WHERE id = $1`,
		token, db.Micros(tx.Now().Add(-keepKnocks)), lost, db.Micros(tx.Now()))
	return true, err
}

// unknock forgets that the computer was not let in.
func (r *redemption) unknock(ctx context.Context, tx *db.Tx) error {
	_, err := tx.Exec(ctx, "DELETE FROM deploy_knocks WHERE token = $1 AND machine = $2 AND os_user = $3", r.token.ID, r.machine(), tidy(r.in.Hardware.OSUser))
	if err != nil {
		return fmt.Errorf("forgetting who knocked: %w", err)
	}
	return nil
}

func (r *redemption) machine() string {
	return cmp.Or(tidy(r.in.Hardware.MachineID), tidy(r.in.Hardware.Hostname), r.from.IP)
}

// tidy makes what a computer says of itself fit to be kept and shown.
func tidy(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return string([]rune(s)[:min(len([]rune(s)), maxPattern)])
}

// Knocks are the computers of the last week that showed a good secret and were
// not let in, the latest first, and how many more there were than are listed.
func Knocks(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID) (list []Knock, more int64, err error) {
	if err := audit.See(by, access.Deploy, org, "", "deploy-knocks"); err != nil {
		return nil, 0, err
	}
	week := db.Micros(tx.Now().Add(-keepKnocks))
	list, err = db.All(ctx, tx, func(row db.Row) (k Knock, err error) {
		var first, last int64
		err = row.Scan(&k.Token, &k.TokenName, &k.Machine, &k.Hostname, &k.OS, &k.OSUser, &k.IP, &k.Code, &k.Times, &first, &last)
		k.FirstAt, k.LastAt = db.Time(first), db.Time(last)
		return k, err
	}, `SELECT k.token, t.name, k.machine, k.hostname, k.os, k.os_user, k.ip, k.code, k.times, k.first_at, k.last_at
		FROM deploy_knocks k JOIN deploy_tokens t ON t.id = k.token WHERE t.org = $1 AND k.last_at > $2 ORDER BY k.last_at DESC, k.machine LIMIT $3`,
		org, week, maxShown)
	if err != nil {
		return nil, 0, fmt.Errorf("listing who knocked: %w", err)
	}
	var kept, lost int64
	err = tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM deploy_knocks k JOIN deploy_tokens t ON t.id = k.token WHERE t.org = $1 AND k.last_at > $2),
		(SELECT CAST(coalesce(sum(t.knocks_lost), 0) AS BIGINT) FROM deploy_tokens t WHERE t.org = $1 AND t.knocks_lost_at > $2)`, org, week).Scan(&kept, &lost)
	if err != nil {
		return nil, 0, fmt.Errorf("counting who knocked: %w", err)
	}
	return list, kept + lost - int64(len(list)), nil
}

// KeptOut is how many computers of the last week the option of one device for
// each user keeps out.
func KeptOut(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID) (n int64, err error) {
	if err := audit.See(by, access.Deploy, org, "", "deploy-knocks"); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, `SELECT count(DISTINCT k.machine) FROM deploy_knocks k JOIN deploy_tokens t ON t.id = k.token
		WHERE t.org = $1 AND k.last_at > $2 AND k.code = $3`, org, db.Micros(tx.Now().Add(-keepKnocks)), string(errs.FirstDeviceOnly)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("counting who knocked: %w", err)
	}
	return n, nil
}

// Expire forgets who knocked more than a week ago, and rows of the device map
// that are over; it returns how many.
func Expire(ctx context.Context, tx *db.Tx) (int64, error) {
	knocks, err := tx.Changed(ctx, "DELETE FROM deploy_knocks WHERE last_at <= $1", db.Micros(tx.Now().Add(-keepKnocks)))
	rows, err2 := tx.Changed(ctx, "DELETE FROM device_map WHERE expires_at > 0 AND expires_at <= $1", db.Micros(tx.Now()))
	if err := errors.Join(err, err2); err != nil {
		return 0, fmt.Errorf("cleaning up after deployment: %w", err)
	}
	return knocks + rows, nil
}
