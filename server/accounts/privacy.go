package accounts

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// MayOpen allows a caller to look into a user's backups, at names and contents
// of files, or refuses it. It is the one door to them: the vault asks it for
// every opening, also for one that it remembers. Owners may; administrators who
// may restore for others do as long as the owner has no privacy on. Then nobody
// else gets in, not even the server itself.
func MayOpen(ctx context.Context, tx *db.Tx, by access.Caller, owner ID, object string) error {
	u, err := Find(ctx, tx, owner)
	if err != nil {
		return err
	}
	action := Opening(by)
	if err := audit.See(by, action, u.Org, u.ID, object); err != nil {
		return err
	}
	if action != access.ReadOwnData && u.PrivacyOn {
		return private("data.private", action, u, object)
	}
	return nil
}

// Opening is the action that looking into backups is, for a caller.
func Opening(by access.Caller) access.Action {
	if by.Kind == access.UserKind {
		return access.ReadOwnData
	}
	return access.RestoreOthers
}

// private is the refusal of what the owner's privacy forbids.
func private(key string, action access.Action, u User, object string) error {
	return errs.New(errs.Forbidden, key, "username", u.Username).
		Because(&audit.Denial{Action: action, Org: u.Org, Owner: u.ID, Object: object})
}

// SetPrivacy is a user's own switch for whether administrators may look into
// their backups. profiles.SetPrivacy calls it, and has asked the profile.
func SetPrivacy(ctx context.Context, tx *db.Tx, by access.Caller, on bool) error {
	u, err := Find(ctx, tx, by.User)
	if err != nil {
		return err
	}
	if u.PrivacyOn == on {
		return nil
	}
	if err := audit.Check(ctx, tx, by, access.SetPrivacy, u.Org, u.ID, object(u.ID), audit.Change("privacy_on", u.PrivacyOn, on)); err != nil {
		return err
	}
	u.PrivacyOn, u.UpdatedAt = on, tx.Now()
	if err := update(ctx, tx, u); err != nil {
		return fmt.Errorf("switching the privacy of account %s: %w", u.ID, err)
	}
	return nil
}

// KeepOut refuses an administrator what would make them the user whose privacy
// is on: who has the password, or the address that a link for one is mailed to,
// has the backups.
func KeepOut(by access.Caller, u User) error {
	if u.PrivacyOn && by.User != u.ID && by.Kind != access.SystemKind {
		return private("user.private", access.ManageUsers, u, object(u.ID))
	}
	return nil
}
