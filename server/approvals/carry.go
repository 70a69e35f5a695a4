package approvals

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

// person is who carries acts out: nobody alone.
func person(a Approval) access.Caller {
	if a.AskedBy == a.DecidedBy {
		return access.System("approval of " + a.AskedName)
	}
	return access.System("approval of " + a.AskedName + " and " + a.DecidedName)
}

// CarryOut does an approved act whose time has come, and reports what became of
// it. However many servers try, it is done once: the act and its state are one
// transaction. When it is no longer possible it has failed, for a reason that
// it keeps; a database that is away leaves it for the next try.
func (d *Desk) CarryOut(ctx context.Context, store *db.DB, id string) (a Approval, err error) {
	err = store.Write(ctx, func(tx *db.Tx) (err error) {
		var kind Kind
		var due bool
		if a, kind, due, err = d.due(ctx, tx, id); err != nil || !due {
			return err
		}
		if err := d.check(ctx, tx, kind, a); err != nil {
			return err
		}
		by := person(a)
		if err := kind.Do(ctx, tx, by, a); err != nil {
			return err
		}
		a.State, a.EndedAt = Done, tx.Now()
		return d.decide(ctx, tx, by, kind, a, Approved)
	})
	failure := errs.Find(err)
	if failure == nil || failure.Kind == errs.Unavailable || failure.Kind == errs.NoSpace || failure.Kind == errs.Internal {
		return a, err
	}
	return a, store.Write(ctx, func(tx *db.Tx) error {
		b, kind, due, err := d.due(ctx, tx, id)
		if a = b; err != nil || !due {
			return err
		}
		a.State, a.EndedAt, a.Failure = Failed, tx.Now(), failure
		return d.decide(ctx, tx, person(a), kind, a, Approved)
	})
}

// due finds an act, and reports whether it is to be carried out now.
func (d *Desk) due(ctx context.Context, tx *db.Tx, id string) (a Approval, kind Kind, due bool, err error) {
	if a, err = Find(ctx, tx, id); err != nil {
		return a, kind, false, err
	}
	kind, err = d.kind(a.Kind)
	return a, kind, a.State == Approved && !tx.Now().Before(a.NotBefore), err
}

// check asks once more what was asked when it was approved: between the two may
// lie an hour.
func (d *Desk) check(ctx context.Context, tx *db.Tx, kind Kind, a Approval) error {
	if err := d.intact(a); err != nil {
		return err
	}
	if err := stands(ctx, tx, a.AskedBy, a.AskedName, kind, a.Org); err != nil {
		return err
	}
	return stands(ctx, tx, a.DecidedBy, a.DecidedName, kind, a.Org)
}

// Due are the approved acts whose time has come.
func Due(ctx context.Context, tx *db.Tx) ([]string, error) {
	ids, err := db.All(ctx, tx, db.Column[string], "SELECT id FROM approvals WHERE state = $1 AND not_before <= $2 ORDER BY not_before, id LIMIT 100",
		Approved, db.Micros(tx.Now()))
	if err != nil {
		return nil, fmt.Errorf("looking for acts to be carried out: %w", err)
	}
	return ids, nil
}

// Expire ends the acts that nobody decided on in time. It returns how many.
func (d *Desk) Expire(ctx context.Context, tx *db.Tx) (int64, error) {
	late, err := db.All(ctx, tx, scan, "SELECT "+columns+" FROM approvals WHERE state = $1 AND expires_at <= $2 ORDER BY expires_at LIMIT 100",
		Waiting, db.Micros(tx.Now()))
	if err != nil {
		return 0, fmt.Errorf("looking for acts that nobody decided on: %w", err)
	}
	for _, a := range late {
		kind, err := d.kind(a.Kind)
		if err != nil {
			return 0, err
		}
		a.State, a.EndedAt = Expired, tx.Now()
		if err := d.decide(ctx, tx, access.System("approvals"), kind, a, Waiting); err != nil {
			return 0, err
		}
	}
	return int64(len(late)), nil
}
