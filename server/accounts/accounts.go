// Package accounts knows the people of a server: users, who own data, and
// administrators, who own none. Both are accounts in one table, told apart by
// their kind, with usernames that are unique on the whole server without regard
// to case; e-mail addresses may be shared. It keeps their passwords, their login
// sessions in the portal and the console, and the short-lived tokens by which a
// user opens their own data from a device.
package accounts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/orgs"
)

// ID identifies an account: a UUID as text.
type ID = access.UserID

// User is an account, of whichever kind.
type User struct {
	ID        ID
	Org       orgs.ID
	Kind      access.Kind // UserKind or AdminKind
	Role      access.Role // of an administrator
	Username  string
	Email     string
	FirstName string
	LastName  string
	Language  string // "en", "fr", or "" for the browser's

	State       State
	StateAt     time.Time
	StateReason string
	StateBefore State            // of a deleted account: what Undelete returns to
	PurgeAt     time.Time        // of a deleted account: when its window ends
	Profile     access.ProfileID // "" for the organisation's default
	ProfileAt   time.Time        // when it was assigned
	Quota       *int64           // in bytes, 0 for no limit; nil: the profile's
	Licence     string           // "" for none: then seats are not counted
	Seat        Seat
	SeatBefore  Seat // of a preserved or deleted account: what it had

	LegalHold bool      // neither deleted nor purged
	PrivacyOn bool      // nobody but the user opens the data: MayOpen
	NotedAt   time.Time // last warning that a preserved account will be deleted

	MustChangePassword bool
	PasswordAt         time.Time // never set: zero
	TemporaryUntil     time.Time // the password is a temporary secret until then; zero: it is not
	LockedUntil        time.Time
	SecondFactorFrom   time.Time // from when one is demanded; zero: by the settings

	Keys keys.UserKeys // an administrator has none

	LastLoginAt time.Time
	CreatedAt   time.Time
	UpdatedAt   time.Time

	password string // PHC string, "" for none
}

// Name is what people call the account: the full name, or the username.
func (u User) Name() string {
	if name := strings.TrimSpace(u.FirstName + " " + u.LastName); name != "" {
		return name
	}
	return u.Username
}

// LogValue logs which account it is, and nothing else.
func (u User) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", string(u.ID)), slog.String("username", u.Username))
}

// Caller is the account as one who asks, from where from came.
func (u User) Caller(from access.Caller) access.Caller {
	c := access.Caller{Kind: u.Kind, User: u.ID, Org: u.Org, Name: u.Username,
		IP: from.IP, RequestID: from.RequestID, Session: from.Session, Device: from.Device}
	if u.Kind == access.AdminKind {
		c.Role = u.Role
	}
	return c
}

// New is what Create needs to know.
type New struct {
	ID        ID // a new one when empty
	Org       orgs.ID
	Kind      access.Kind
	Role      access.Role // of an administrator
	Username  string
	Email     string
	FirstName string
	LastName  string
	Language  string
	Profile   access.ProfileID // "" for the organisation's default
	Licence   string           // whose seats the user takes, "" for none
	Quota     *int64           // of a user, see User

	// PasswordHash is from Hasher.Hash. Without one the account is invited; so
	// it is when Temporary is set: then it is the hash of a temporary secret,
	// good for that long and to be replaced at the first login.
	PasswordHash       string
	Temporary          time.Duration
	MustChangePassword bool

	// State is Pending for somebody who registers and whose address is not
	// confirmed yet, otherwise empty.
	State State
}

// Create makes an account, active when it has a password. A user gets keys.
// An administrator makes no administrator above themselves.
func Create(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, n New) (User, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return User{}, fmt.Errorf("creating an account: %w", err)
	}
	if n.ID == "" {
		n.ID = ID(id.String())
	}
	u := User{ID: n.ID, Org: n.Org, Kind: n.Kind, Role: n.Role,
		Username: n.Username, Email: n.Email, FirstName: n.FirstName, LastName: n.LastName, Language: n.Language,
		State: Invited, StateAt: tx.Now(), Profile: n.Profile, ProfileAt: tx.Now(), Quota: n.Quota, Licence: n.Licence,
		CreatedAt: tx.Now(), UpdatedAt: tx.Now(), password: n.PasswordHash, MustChangePassword: n.MustChangePassword}
	switch {
	case n.State == Pending:
		u.State = Pending
	case n.State != "":
		return User{}, fmt.Errorf("creating an account: nobody begins as %s", n.State)
	case n.PasswordHash != "" && n.Temporary > 0:
		u.TemporaryUntil = tx.Now().Add(n.Temporary)
	case n.PasswordHash != "":
		u.State = Active
	}
	if n.PasswordHash != "" {
		u.PasswordAt = tx.Now()
	}
	if err := u.normalise(); err != nil {
		return User{}, err
	}
	if err := checkQuota(u.Kind, u.Quota); err != nil {
		return User{}, err
	}
	if err := MayManage(by, u); err != nil {
		return User{}, err
	}
	if _, err := orgs.Find(ctx, tx, u.Org); err != nil {
		return User{}, err
	}
	if err := freeUsername(ctx, tx, u); err != nil {
		return User{}, err
	}
	if err := freeEmail(ctx, tx, u); err != nil {
		return User{}, err
	}
	if err := checkLicence(ctx, tx, ring, u, u.Licence); err != nil {
		return User{}, err
	}
	if err := reserveSeat(ctx, tx, ring, &u); err != nil {
		return User{}, err
	}
	if u.Kind == access.UserKind {
		if u.Keys, err = ring.NewUser(u.Org, u.ID); err != nil {
			return User{}, err
		}
	}
	if err := insert(ctx, tx, u); err != nil {
		return User{}, fmt.Errorf("creating account %q: %w", u.Username, err)
	}
	details := []audit.Detail{audit.Change("username", nil, u.Username), audit.Change("email", nil, u.Email), audit.Change("kind", nil, u.Kind),
		audit.Change("state", nil, u.State)}
	if u.Kind == access.AdminKind {
		details = append(details, audit.Change("role", nil, u.Role))
	}
	if err := manage(ctx, tx, by, u, details...); err != nil {
		return User{}, err
	}
	if u.Seat == NoSeat {
		return u, nil
	}
	return u, recount(ctx, tx, u.Licence)
}

// manage allows and records a change to an account by somebody else. Server
// administrators are changed by server administrators only, or somebody below
// them could become one.
func manage(ctx context.Context, tx *db.Tx, by access.Caller, u User, details ...audit.Detail) error {
	if err := MayManage(by, u); err != nil {
		return err
	}
	return audit.Check(ctx, tx, by, access.ManageUsers, u.Org, u.ID, object(u.ID), details...)
}

func object(id ID) string { return "user/" + string(id) }

// MayManage refuses whoever may not change an account, as the changes do.
func MayManage(by access.Caller, u User) error {
	if err := audit.See(by, access.ManageUsers, u.Org, u.ID, object(u.ID)); err != nil {
		return err
	}
	above := u.Kind == access.AdminKind && u.Role == access.ServerAdmin
	if above && by.Kind != access.SystemKind && by.Role != access.ServerAdmin {
		return errs.New(errs.Forbidden, "access.denied").
			Because(&audit.Denial{Action: access.ManageUsers, Org: u.Org, Owner: u.ID, Object: object(u.ID)})
	}
	return nil
}

// CheckManage allows and records a change to an account that another package
// keeps, as manage does for those here.
func CheckManage(ctx context.Context, tx *db.Tx, by access.Caller, u User, details ...audit.Detail) error {
	return manage(ctx, tx, by, u, details...)
}

// Find returns an account and asks nobody's permission; View does.
func Find(ctx context.Context, tx *db.Tx, id ID) (User, error) {
	u, err := findWhere(ctx, tx, "id = $1", string(id))
	if errors.Is(err, sql.ErrNoRows) {
		return User{}, errs.New(errs.NotFound, "user.unknown")
	}
	if err != nil {
		return User{}, fmt.Errorf("reading account %s: %w", id, err)
	}
	return u, nil
}

// FindByUsername is Find by the username, in whatever case.
func FindByUsername(ctx context.Context, tx *db.Tx, username string) (User, error) {
	u, err := findWhere(ctx, tx, "username_key = $1", orgs.Fold(strings.TrimSpace(username)))
	if errors.Is(err, sql.ErrNoRows) {
		return User{}, errs.New(errs.NotFound, "user.unknown")
	}
	if err != nil {
		return User{}, fmt.Errorf("reading account %q: %w", username, err)
	}
	return u, nil
}

// View returns an account to those who may see it: administrators, and itself.
func View(ctx context.Context, tx *db.Tx, by access.Caller, id ID) (User, error) {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return User{}, err
	}
	if by.User == u.ID && access.Allow(by, access.ChangeAccount, u.Org, u.ID) {
		return u, nil
	}
	if err := audit.See(by, access.ViewUsers, u.Org, u.ID, object(id)); err != nil {
		return User{}, err
	}
	return u, nil
}

// Changes are the fields that Update sets; nil leaves one as it is.
type Changes struct {
	Username  *string
	Email     *string
	FirstName *string
	LastName  *string
	Language  *string
	Role      *access.Role // of an administrator
}

// Update changes an account's fields. A username that it loses stays its
// owner's for 90 days: nobody else can take it. Links that were mailed to an
// address that it loses are void; TellOld tells that one.
func Update(ctx context.Context, tx *db.Tx, by access.Caller, id ID, c Changes) (User, error) {
	old, err := Find(ctx, tx, id)
	if err != nil {
		return User{}, err
	}
	if old.State == Purged {
		return User{}, errs.New(errs.NotFound, "user.unknown")
	}
	u := old
	set(&u.Username, c.Username)
	set(&u.Email, c.Email)
	set(&u.FirstName, c.FirstName)
	set(&u.LastName, c.LastName)
	set(&u.Language, c.Language)
	set(&u.Role, c.Role)
	if err := u.normalise(); err != nil {
		return User{}, err
	}
	var details []audit.Detail
	for _, f := range []struct{ name, before, after string }{
		{"username", old.Username, u.Username}, {"email", old.Email, u.Email},
		{"first_name", old.FirstName, u.FirstName}, {"last_name", old.LastName, u.LastName},
		{"language", old.Language, u.Language}, {"role", string(old.Role), string(u.Role)},
	} {
		if f.before != f.after {
			details = append(details, audit.Change(f.name, f.before, f.after))
		}
	}
	// Both as it was and as it will be must be the caller's to manage.
	if err := manage(ctx, tx, by, old, details...); err != nil {
		return User{}, err
	}
	if u.Role != old.Role {
		if err := manage(ctx, tx, by, u); err != nil {
			return User{}, err
		}
		if err := keepOne(ctx, tx, old); err != nil {
			return User{}, err
		}
	}
	if orgs.Fold(u.Username) != orgs.Fold(old.Username) {
		if err := freeUsername(ctx, tx, u); err != nil {
			return User{}, err
		}
		if err := reserve(ctx, tx, old, tx.Now().Add(reservedFor)); err != nil {
			return User{}, err
		}
	}
	if orgs.Fold(u.Email) != orgs.Fold(old.Email) {
		if err := KeepOut(by, old); err != nil {
			return User{}, err
		}
		if err := freeEmail(ctx, tx, u); err != nil {
			return User{}, err
		}
		if err := EndSecrets(ctx, tx, u.ID, ForReset, ForActivation, ForEmail); err != nil {
			return User{}, err // what was mailed is another's to read now
		}
	}
	u.UpdatedAt = tx.Now()
	if err := update(ctx, tx, u); err != nil {
		return User{}, fmt.Errorf("changing account %s: %w", id, err)
	}
	return u, nil
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// SetLanguage is an account's own choice of language.
func SetLanguage(ctx context.Context, tx *db.Tx, by access.Caller, language string) error {
	u, err := Find(ctx, tx, by.User)
	if err != nil {
		return err
	}
	if u.Language == language {
		return nil
	}
	if err := audit.Check(ctx, tx, by, access.ChangeAccount, u.Org, u.ID, object(u.ID), audit.Change("language", u.Language, language)); err != nil {
		return err
	}
	u.Language, u.UpdatedAt = language, tx.Now()
	if err := u.normalise(); err != nil {
		return err
	}
	if err := update(ctx, tx, u); err != nil {
		return fmt.Errorf("changing the language of account %s: %w", u.ID, err)
	}
	return nil
}

// SetProfile notes a profile, "" for the organisation's default, as assigned at
// the given time. profiles.Assign calls it, and has checked that the profile is
// of the same organisation.
func SetProfile(ctx context.Context, tx *db.Tx, by access.Caller, id ID, profile access.ProfileID, at time.Time) error {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	if u.Profile == profile {
		return nil
	}
	if err := manage(ctx, tx, by, u, audit.Change("profile", u.Profile, profile)); err != nil {
		return err
	}
	u.Profile, u.ProfileAt, u.UpdatedAt = profile, at, tx.Now()
	if err := update(ctx, tx, u); err != nil {
		return fmt.Errorf("assigning profile %s to account %s: %w", profile, id, err)
	}
	return nil
}

// SetQuota gives a user a quota of their own, in bytes, 0 for no limit; nil is the
// profile's again.
func SetQuota(ctx context.Context, tx *db.Tx, by access.Caller, id ID, quota *int64) error {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	if err := checkQuota(u.Kind, quota); err != nil {
		return err
	}
	if (u.Quota == nil) == (quota == nil) && (quota == nil || *u.Quota == *quota) {
		return nil
	}
	if err := manage(ctx, tx, by, u, audit.Change("quota", quotaNote(u.Quota), quotaNote(quota))); err != nil {
		return err
	}
	u.Quota, u.UpdatedAt = quota, tx.Now()
	if err := update(ctx, tx, u); err != nil {
		return fmt.Errorf("setting the quota of account %s: %w", id, err)
	}
	return nil
}

func checkQuota(kind access.Kind, quota *int64) error {
	if quota != nil && (kind != access.UserKind || *quota < 0 || *quota > profile.MaxQuotaBytes) {
		return errs.New(errs.Invalid, "profile.quota.invalid")
	}
	return nil
}

// quotaNote is a quota for the audit.
func quotaNote(quota *int64) any {
	if quota == nil {
		return "profile"
	}
	return *quota
}

// SetHold puts an account under a legal hold, or takes it away: while it lasts
// the account is neither deleted nor purged. Its user does not learn of it.
func SetHold(ctx context.Context, tx *db.Tx, by access.Caller, id ID, on bool) error {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	if err := manage(ctx, tx, by, u, audit.Change("legal_hold", u.LegalHold, on)); err != nil {
		return err
	}
	u.LegalHold, u.UpdatedAt = on, tx.Now()
	if err := update(ctx, tx, u); err != nil {
		return fmt.Errorf("holding account %s: %w", id, err)
	}
	return nil
}
