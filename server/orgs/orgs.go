// Package orgs knows the organisations of a server. Users, devices, profiles
// and data belong to exactly one. A licence is a pool of seats for its users; an
// organisation without any has no limits, and no licence ever stops a backup or a
// restore.
package orgs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
)

// ID identifies an organisation: a UUID as text.
type ID = access.OrgID

// State says whether an organisation works.
type State string

// Active is the only state so far.
const Active State = "active"

// Org is an organisation.
type Org struct {
	ID        ID
	Name      string
	State     State
	KeyGen    uint64
	Record    []byte // org record, docs/format.md 8
	Quota     int64  // in bytes, of all users together; 0: none
	CreatedAt time.Time
	UpdatedAt time.Time
}

const maxName = 100

// Create makes an organisation and its keys. Names are unique without regard
// to case.
func Create(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, name string) (Org, error) {
	name = cleanName(name)
	if err := checkName(name); err != nil {
		return Org{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Org{}, fmt.Errorf("creating an organisation: %w", err)
	}
	o := Org{ID: ID(id.String()), Name: name, State: Active, CreatedAt: tx.Now(), UpdatedAt: tx.Now()}
	if err := audit.Check(ctx, tx, by, access.ManageOrgs, o.ID, "", "org/"+string(o.ID), audit.Change("name", nil, name)); err != nil {
		return Org{}, err
	}
	if err := free(ctx, tx, name, o.ID); err != nil {
		return Org{}, err
	}
	// The keys are on the disk before the row is: undone, they are of nobody.
	k, err := ring.NewOrg(o.ID)
	if err != nil {
		return Org{}, err
	}
	o.KeyGen, o.Record = k.Gen, k.Record
	_, err = tx.Exec(ctx, `INSERT INTO orgs (id, name, name_key, state, key_gen, record, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		o.ID, o.Name, Fold(o.Name), o.State, int64(o.KeyGen), o.Record, db.Micros(o.CreatedAt), db.Micros(o.UpdatedAt))
	if err != nil {
		return Org{}, fmt.Errorf("creating organisation %q: %w", name, err)
	}
	return o, nil
}

// Rename gives an organisation another name. Its keys, users and data stay what
// they are; scripts that call it by its name have to learn the new one.
func Rename(ctx context.Context, tx *db.Tx, by access.Caller, id ID, name string) error {
	name = cleanName(name)
	if err := checkName(name); err != nil {
		return err
	}
	o, err := Find(ctx, tx, id)
	if err != nil || o.Name == name {
		return err
	}
	if err := audit.Check(ctx, tx, by, access.ManageOrgs, id, "", "org/"+string(id), audit.Change("name", o.Name, name)); err != nil {
		return err
	}
	if err := free(ctx, tx, name, id); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE orgs SET name = $2, name_key = $3, updated_at = $4 WHERE id = $1", id, name, Fold(name), db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("renaming organisation %s: %w", id, err)
	}
	return nil
}

// SetQuota bounds what all users of an organisation together may have backed up,
// in bytes; 0 is no limit.
func SetQuota(ctx context.Context, tx *db.Tx, by access.Caller, id ID, quota int64) error {
	if quota < 0 || quota > profile.MaxQuotaBytes {
		return errs.New(errs.Invalid, "profile.quota.invalid")
	}
	o, err := Find(ctx, tx, id)
	if err != nil || o.Quota == quota {
		return err
	}
	if err := audit.Check(ctx, tx, by, access.ManageOrgs, id, "", "org/"+string(id), audit.Change("quota", o.Quota, quota)); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE orgs SET quota_bytes = $2, updated_at = $3 WHERE id = $1", id, quota, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("setting the quota of organisation %s: %w", id, err)
	}
	return nil
}

// free refuses a name that another organisation has.
func free(ctx context.Context, tx *db.Tx, name string, but ID) error {
	o, err := findWhere(ctx, tx, "name_key = $1", Fold(name))
	switch {
	case errors.Is(err, sql.ErrNoRows) || err == nil && o.ID == but:
		return nil
	case err != nil:
		return fmt.Errorf("looking for organisation %q: %w", name, err)
	}
	return errs.New(errs.Conflict, "org.name.taken", "name", name)
}

func checkName(name string) error {
	if name == "" {
		return errs.New(errs.Invalid, "org.name.empty")
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return errs.New(errs.Invalid, "org.name.characters")
	}
	if utf8.RuneCountInString(name) > maxName {
		return errs.New(errs.Invalid, "org.name.long", "n", maxName)
	}
	return nil
}

// Find returns an organisation. It asks nobody's permission: what others may
// see of it is for the caller to decide.
func Find(ctx context.Context, tx *db.Tx, id ID) (Org, error) {
	o, err := findWhere(ctx, tx, "id = $1", string(id))
	if errors.Is(err, sql.ErrNoRows) {
		return Org{}, errs.New(errs.NotFound, "org.unknown")
	}
	if err != nil {
		return Org{}, fmt.Errorf("reading organisation %s: %w", id, err)
	}
	return o, nil
}

// FindByName returns the organisation with this name, in whatever case.
func FindByName(ctx context.Context, tx *db.Tx, name string) (Org, error) {
	o, err := findWhere(ctx, tx, "name_key = $1", Fold(strings.TrimSpace(name)))
	if errors.Is(err, sql.ErrNoRows) {
		return Org{}, errs.New(errs.NotFound, "org.unknown")
	}
	if err != nil {
		return Org{}, fmt.Errorf("reading organisation %q: %w", name, err)
	}
	return o, nil
}

const columns = "id, name, state, key_gen, record, created_at, updated_at, quota_bytes"

func findWhere(ctx context.Context, tx *db.Tx, where, arg string) (Org, error) {
	return scan(tx.QueryRow(ctx, "SELECT "+columns+" FROM orgs WHERE "+where, arg))
}

func scan(row db.Row) (o Org, err error) {
	var created, updated int64
	err = row.Scan(&o.ID, &o.Name, &o.State, &o.KeyGen, &o.Record, &created, &updated, &o.Quota)
	o.CreatedAt, o.UpdatedAt = db.Time(created), db.Time(updated)
	return o, err
}

// List returns the organisations that the caller belongs to or administers, by
// name.
func List(ctx context.Context, tx *db.Tx, by access.Caller) ([]Org, error) {
	list, err := db.All(ctx, tx, scan, "SELECT "+columns+" FROM orgs ORDER BY name_key")
	if err != nil {
		return nil, fmt.Errorf("listing organisations: %w", err)
	}
	return slices.DeleteFunc(list, func(o Org) bool { return !access.Sees(by, o.ID, by.User) }), nil
}

// Fold is the form in which names are compared: NFC, without case.
func Fold(s string) string {
	return norm.NFC.String(cases.Fold().String(norm.NFC.String(s)))
}
