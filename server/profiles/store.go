package profiles

import (
	"context"
	"fmt"
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
)

const columns = "p.id, p.org, p.name, p.description, p.is_default, p.revision, p.settings, p.created_at, p.updated_at"

func scan(row db.Row, more ...any) (p Profile, err error) {
	var settings string
	var created, updated int64
	err = row.Scan(append([]any{&p.ID, &p.Org, &p.Name, &p.Description, &p.Default, &p.Revision, &settings, &created, &updated}, more...)...)
	if err != nil {
		return Profile{}, err
	}
	p.CreatedAt, p.UpdatedAt = db.Time(created), db.Time(updated)
	p.Settings, err = decode(settings)
	return p, err
}

// decode reads settings that were valid when they were stored: what is wrong
// with them now is ours, and no answer to anybody.
func decode(settings string) (profile.Settings, error) {
	s, err := profile.Decode([]byte(settings))
	if err != nil {
		return s, fmt.Errorf("reading stored settings: %v", err)
	}
	return s, nil
}

func findWhere(ctx context.Context, tx *db.Tx, where string, args ...any) (Profile, error) {
	return scan(tx.QueryRow(ctx, "SELECT "+columns+" FROM profiles p WHERE "+where, args...))
}

func insert(ctx context.Context, tx *db.Tx, p Profile) error {
	_, err := tx.Exec(ctx, `INSERT INTO profiles (id, org, name, name_key, description, is_default, revision, settings, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		p.ID, p.Org, p.Name, orgs.Fold(p.Name), p.Description, p.Default, p.Revision, string(p.Settings.Encode()),
		db.Micros(p.CreatedAt), db.Micros(p.UpdatedAt))
	return err
}

func update(ctx context.Context, tx *db.Tx, p Profile) error {
	_, err := tx.Exec(ctx, `UPDATE profiles SET name = $2, name_key = $3, description = $4, revision = $5, settings = $6, updated_at = $7 WHERE id = $1`,
		p.ID, p.Name, orgs.Fold(p.Name), p.Description, p.Revision, string(p.Settings.Encode()), db.Micros(p.UpdatedAt))
	return err
}

func insertRevision(ctx context.Context, tx *db.Tx, by access.Caller, p Profile, reason string) error {
	_, err := tx.Exec(ctx, `INSERT INTO profile_revisions (profile, revision, name, description, settings, author, author_name, reason, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		p.ID, p.Revision, p.Name, p.Description, string(p.Settings.Encode()), by.ID(), by.Name, reason, db.Micros(p.UpdatedAt))
	if err != nil {
		return fmt.Errorf("keeping revision %d of profile %s: %w", p.Revision, p.ID, err)
	}
	return nil
}

func lastAuthor(ctx context.Context, tx *db.Tx, id ID) (name string, err error) {
	err = tx.QueryRow(ctx, "SELECT author_name FROM profile_revisions WHERE profile = $1 ORDER BY revision DESC LIMIT 1", id).Scan(&name)
	if err != nil {
		return "", fmt.Errorf("reading the revisions of profile %s: %w", id, err)
	}
	return name, nil
}

// lastAssigned is when a user of the organisation was last given a profile.
func lastAssigned(ctx context.Context, tx *db.Tx, org orgs.ID) (time.Time, error) {
	var at int64
	if err := tx.QueryRow(ctx, "SELECT COALESCE(max(profile_at), 0) FROM users WHERE org = $1", org).Scan(&at); err != nil {
		return time.Time{}, fmt.Errorf("looking for the last assignment of a profile: %w", err)
	}
	return db.Time(at), nil
}

// Listed is a profile with how many users have it, the default one's with those
// who have none of their own. Deleted accounts do not count.
type Listed struct {
	Profile
	Users int64
}

// List returns the profiles of an organisation by name.
func List(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID) ([]Listed, error) {
	if err := audit.See(by, access.ViewProfiles, org, "", "profiles"); err != nil {
		return nil, err
	}
	list, err := db.All(ctx, tx, func(row db.Row) (l Listed, err error) {
		l.Profile, err = scan(row, &l.Users)
		return l, err
	}, "SELECT "+columns+`, (SELECT count(*) FROM users u WHERE u.org = p.org AND u.kind = $2
			AND u.state NOT IN ($3, $4) AND (u.profile = p.id OR p.is_default AND u.profile IS NULL))
		FROM profiles p WHERE p.org = $1 ORDER BY p.name_key`, org, access.UserKind, accounts.Deleted, accounts.Purged)
	if err != nil {
		return nil, fmt.Errorf("listing profiles: %w", err)
	}
	return list, nil
}

// Revision is a profile as it was saved once.
type Revision struct {
	Revision    int64
	Name        string
	Description string
	Settings    profile.Settings
	Author      string // an account's id, empty for the system
	AuthorName  string
	Reason      string
	At          time.Time
}

// Revisions returns what a profile was, the latest first.
func Revisions(ctx context.Context, tx *db.Tx, by access.Caller, id ID) ([]Revision, error) {
	if _, err := View(ctx, tx, by, id); err != nil {
		return nil, err
	}
	list, err := db.All(ctx, tx, func(row db.Row) (r Revision, err error) {
		var settings string
		var at int64
		if err := row.Scan(&r.Revision, &r.Name, &r.Description, &settings, &r.Author, &r.AuthorName, &r.Reason, &at); err != nil {
			return r, err
		}
		r.At = db.Time(at)
		r.Settings, err = decode(settings)
		return r, err
	}, `SELECT revision, name, description, settings, author, author_name, reason, created_at
		FROM profile_revisions WHERE profile = $1 ORDER BY revision DESC`, id)
	if err != nil {
		return nil, fmt.Errorf("listing the revisions of profile %s: %w", id, err)
	}
	return list, nil
}
