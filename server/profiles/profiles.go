// Package profiles keeps the profiles of each organisation and says which one
// a user has. Every save makes a revision with its author and reason, so that a
// profile's history can be read and brought back.
package profiles

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
)

// ID identifies a profile: a UUID as text.
type ID = access.ProfileID

// Profile is a stored profile.
type Profile struct {
	ID          ID
	Org         orgs.ID
	Name        string
	Description string
	Default     bool  // of users who have none of their own
	Revision    int64 // 1 for the first
	Settings    profile.Settings
	CreatedAt   time.Time
	UpdatedAt   time.Time // later with each revision
}

const (
	maxName = 100
	maxText = 1000
)

// Create makes a profile. The first of an organisation is its default.
func Create(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, name, description string, s profile.Settings) (Profile, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Profile{}, fmt.Errorf("creating a profile: %w", err)
	}
	p := Profile{ID: ID(id.String()), Org: org, Name: name, Description: description, Revision: 1, Settings: s,
		CreatedAt: tx.Now(), UpdatedAt: tx.Now()}
	if err := p.normalise(); err != nil {
		return Profile{}, err
	}
	if err := audit.Check(ctx, tx, by, access.ManageProfiles, org, "", "profile/"+string(p.ID), audit.Change("name", nil, p.Name)); err != nil {
		return Profile{}, err
	}
	if err := free(ctx, tx, p); err != nil {
		return Profile{}, err
	}
	if _, err := Default(ctx, tx, org); errs.KindOf(err) == errs.NotFound {
		p.Default = true
	} else if err != nil {
		return Profile{}, err
	}
	if err := insert(ctx, tx, p); err != nil {
		return Profile{}, fmt.Errorf("creating profile %q: %w", p.Name, err)
	}
	if err := insertRevision(ctx, tx, by, p, ""); err != nil {
		return Profile{}, err
	}
	return p, nil
}

func (p *Profile) normalise() error {
	p.Name = strings.TrimSpace(norm.NFC.String(p.Name))
	p.Description = strings.TrimSpace(p.Description)
	if p.Name == "" {
		return errs.New(errs.Invalid, "profile.name.empty")
	}
	if utf8.RuneCountInString(p.Name) > maxName || !utf8.ValidString(p.Name) || strings.ContainsFunc(p.Name, unicode.IsControl) {
		return errs.New(errs.Invalid, "profile.name.invalid", "n", maxName)
	}
	if !plain(p.Description) {
		return errs.New(errs.Invalid, "profile.text.invalid", "n", maxText)
	}
	return p.Settings.Validate()
}

// plain reports whether s is text of several lines.
func plain(s string) bool {
	return len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

// free refuses a name that another profile of the organisation has.
func free(ctx context.Context, tx *db.Tx, p Profile) error {
	other, err := findWhere(ctx, tx, "org = $1 AND name_key = $2", p.Org, orgs.Fold(p.Name))
	if errors.Is(err, sql.ErrNoRows) || err == nil && other.ID == p.ID {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for profile %q: %w", p.Name, err)
	}
	return errs.New(errs.Conflict, "profile.name.taken", "name", p.Name)
}

// Find returns a profile and asks nobody's permission; View does.
func Find(ctx context.Context, tx *db.Tx, id ID) (Profile, error) {
	return known(findWhere(ctx, tx, "id = $1", string(id)))
}

// Default returns an organisation's default profile.
func Default(ctx context.Context, tx *db.Tx, org orgs.ID) (Profile, error) {
	return known(findWhere(ctx, tx, "org = $1 AND is_default", org))
}

func known(p Profile, err error) (Profile, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return Profile{}, errs.New(errs.NotFound, "profile.unknown")
	}
	if err != nil {
		return Profile{}, fmt.Errorf("reading a profile: %w", err)
	}
	return p, nil
}

// View returns a profile to administrators.
func View(ctx context.Context, tx *db.Tx, by access.Caller, id ID) (Profile, error) {
	p, err := Find(ctx, tx, id)
	if err != nil {
		return Profile{}, err
	}
	return p, audit.See(by, access.ViewProfiles, p.Org, "", "profile/"+string(id))
}

// Changes are what Save sets; nil leaves a field as it is.
type Changes struct {
	Name        *string
	Description *string
	Settings    *profile.Settings
	Reason      string
}

// Save makes a new revision. revision is the one that the author has seen: when
// somebody else has saved another since, nothing is changed and the answer is
// Conflict. Saving what is there already makes no revision.
func Save(ctx context.Context, tx *db.Tx, by access.Caller, id ID, revision int64, c Changes) (Profile, error) {
	old, err := Find(ctx, tx, id)
	if err != nil {
		return Profile{}, err
	}
	p := old
	if c.Name != nil {
		p.Name = *c.Name
	}
	if c.Description != nil {
		p.Description = *c.Description
	}
	if c.Settings != nil {
		p.Settings = *c.Settings
	}
	if err := p.normalise(); err != nil {
		return Profile{}, err
	}
	if !plain(c.Reason) {
		return Profile{}, errs.New(errs.Invalid, "profile.text.invalid", "n", maxText)
	}
	details := difference(old, p)
	if c.Reason != "" {
		details = append(details, audit.Note("reason", c.Reason))
	}
	if err := audit.Check(ctx, tx, by, access.ManageProfiles, p.Org, "", "profile/"+string(id), details...); err != nil {
		return Profile{}, err
	}
	if old.Revision != revision {
		author, err := lastAuthor(ctx, tx, id)
		if err != nil {
			return Profile{}, err
		}
		return Profile{}, errs.New(errs.Conflict, "profile.changed", "author", author)
	}
	if len(difference(old, p)) == 0 {
		return old, nil
	}
	if err := free(ctx, tx, p); err != nil {
		return Profile{}, err
	}
	p.Revision++
	newest, err := lastAssigned(ctx, tx, p.Org)
	if err != nil {
		return Profile{}, err
	}
	p.UpdatedAt = later(later(tx.Now(), old.UpdatedAt), newest)
	if err := update(ctx, tx, p); err != nil {
		return Profile{}, fmt.Errorf("saving profile %s: %w", id, err)
	}
	if err := insertRevision(ctx, tx, by, p, c.Reason); err != nil {
		return Profile{}, err
	}
	return p, nil
}

// later is now, or the next instant after before, should the clock have gone
// back: a device takes a profile for newer by its time, and never for older.
func later(now, before time.Time) time.Time {
	if now.After(before) {
		return now
	}
	return before.Add(time.Microsecond)
}

func difference(a, b Profile) (details []audit.Detail) {
	if a.Name != b.Name {
		details = append(details, audit.Change("name", a.Name, b.Name))
	}
	if a.Description != b.Description {
		details = append(details, audit.Change("description", a.Description, b.Description))
	}
	before, after := flat(a.Settings), flat(b.Settings)
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if !reflect.DeepEqual(before[name], after[name]) {
			details = append(details, audit.Change(name, before[name], after[name]))
		}
	}
	return details
}

// flat are the settings by the names of their JSON, those of a group with the
// group's before them.
func flat(s profile.Settings) map[string]any {
	var groups map[string]any
	if err := json.Unmarshal(s.Encode(), &groups); err != nil {
		panic(err) // it is the JSON of an object
	}
	out := map[string]any{}
	for name, value := range groups {
		group, ok := value.(map[string]any)
		if !ok {
			out[name] = value
		}
		for inner, v := range group {
			out[name+"."+inner] = v
		}
	}
	return out
}

// Effective is the profile that a user has, and its version: a number that
// grows whenever another one comes into force for the user.
type Effective struct {
	Profile
	Version int64
}

// Of returns the profile in force for a user: their own, or the organisation's
// default.
func Of(ctx context.Context, tx *db.Tx, u accounts.User) (Effective, error) {
	var p Profile
	var err error
	if u.Profile != "" {
		p, err = Find(ctx, tx, u.Profile)
	} else {
		p, err = Default(ctx, tx, u.Org)
	}
	if err != nil {
		return Effective{}, fmt.Errorf("finding the profile of user %s: %w", u.ID, err)
	}
	return Effective{Profile: p, Version: max(db.Micros(p.UpdatedAt), db.Micros(u.ProfileAt))}, nil
}

// Every returns the profiles of all organisations, for what the server does by
// itself.
func Every(ctx context.Context, tx *db.Tx) ([]Profile, error) {
	list, err := db.All(ctx, tx, func(row db.Row) (Profile, error) { return scan(row) }, "SELECT "+columns+" FROM profiles p ORDER BY p.org, p.id")
	if err != nil {
		return nil, fmt.Errorf("listing profiles: %w", err)
	}
	return list, nil
}

// SetPrivacy is the caller's own switch for whether administrators may look
// into their backups. Their profile must let them switch it on; off is always
// theirs to choose, so that nobody is caught in it.
func SetPrivacy(ctx context.Context, tx *db.Tx, by access.Caller, on bool) error {
	u, err := accounts.Find(ctx, tx, by.User)
	if err != nil {
		return err
	}
	if on && !u.PrivacyOn {
		p, err := Of(ctx, tx, u)
		if err != nil {
			return err
		}
		if !p.Settings.UserCanEditPrivacy {
			return errs.New(errs.Forbidden, "profile.privacy.fixed").
				Because(&audit.Denial{Action: access.SetPrivacy, Org: u.Org, Owner: u.ID, Object: "user/" + string(u.ID)})
		}
	}
	return accounts.SetPrivacy(ctx, tx, by, on)
}

// Assign gives a user another profile of their organisation, "" for the
// default.
func Assign(ctx context.Context, tx *db.Tx, by access.Caller, user accounts.ID, id ID) error {
	u, err := accounts.Find(ctx, tx, user)
	if err != nil {
		return err
	}
	if id != "" {
		p, err := Find(ctx, tx, id)
		if err != nil {
			return err
		}
		if p.Org != u.Org {
			return errs.New(errs.Invalid, "profile.foreign")
		}
	}
	before, err := Of(ctx, tx, u)
	if err != nil {
		return err
	}
	return accounts.SetProfile(ctx, tx, by, user, id, later(tx.Now(), db.Time(before.Version)))
}
