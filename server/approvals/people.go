package approvals

import (
	"context"
	"slices"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
)

// unsettled is until when an account approves nothing, because another
// administrator made or changed it lately; zero when it is settled. What the
// operator of the server does at its command line does not count: they could do
// everything anyway.
func unsettled(ctx context.Context, tx *db.Tx, id accounts.ID) (time.Time, error) {
	at, err := audit.LastByAnother(ctx, tx, access.ManageUsers, "user", string(id))
	if err != nil || at.IsZero() {
		return time.Time{}, err
	}
	if until := at.Add(settled); tx.Now().Before(until) {
		return until, nil
	}
	return time.Time{}, nil
}

// second refuses to ask where nobody could approve, and says what to do.
func (d *Desk) second(ctx context.Context, tx *db.Tx, by access.Caller, kind Kind, org orgs.ID) error {
	var soonest time.Time
	for after := ""; ; {
		users, next, err := accounts.List(ctx, tx, access.System("approvals"), accounts.Filter{Kind: access.AdminKind, State: accounts.Active, After: after, Limit: 500})
		if err != nil {
			return err
		}
		for _, u := range users {
			if u.ID == by.User || !may(u, kind, org) {
				continue
			}
			until, err := unsettled(ctx, tx, u.ID)
			if err != nil {
				return err
			}
			if until.IsZero() {
				return nil
			}
			if soonest.IsZero() || until.Before(soonest) {
				soonest = until
			}
		}
		if after = next; after == "" {
			break
		}
	}
	if soonest.IsZero() {
		return errs.New(errs.Conflict, "approval.alone")
	}
	return errs.New(errs.Conflict, "approval.alone.until", "until", soonest)
}

func may(u accounts.User, kind Kind, org orgs.ID) bool {
	return u.State == accounts.Active && u.Kind == access.AdminKind && access.Allow(u.Caller(access.Caller{}), kind.Action, org, "")
}

// stands refuses an act when somebody whose word it rests on could no longer do
// it.
func stands(ctx context.Context, tx *db.Tx, id accounts.ID, name string, kind Kind, org orgs.ID) error {
	u, err := accounts.Find(ctx, tx, id)
	if errs.KindOf(err) == errs.NotFound || err == nil && !may(u, kind, org) {
		return errs.New(errs.Conflict, "approval.person", "name", name)
	}
	return err
}

// notYet refuses to ask for the same thing twice.
func (d *Desk) notYet(ctx context.Context, tx *db.Tx, a Approval) error {
	open, err := list(ctx, tx, a.Org, true)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(open, func(b Approval) bool { return b.Org == a.Org && b.Kind == a.Kind && string(b.Data) == string(a.Data) }) {
		return errs.New(errs.Conflict, "approval.asked")
	}
	return nil
}
