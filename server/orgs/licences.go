package orgs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
)

// LicenceID identifies a licence: a UUID as text.
type LicenceID string

// LicenceState says whether a licence counts.
type LicenceState string

// The states of a licence.
const (
	LicenceActive  LicenceState = "active"
	LicenceRevoked LicenceState = "revoked" // for good: nobody new
	LicenceInvalid LicenceState = "invalid" // the row is not what was signed; never stored
)

// Licence is a pool of seats for the users of one organisation. What it says is
// signed by the server: a row that was changed by hand is LicenceInvalid.
type Licence struct {
	ID             LicenceID
	Org            ID
	Serial         string // 25 characters; FormatSerial writes it for people
	Name           string
	State          LicenceState
	SeatsActive    int
	SeatsPreserved int
	ValidTo        time.Time // zero: without end
	Features       []string
	OverSince      time.Time // since when more seats are taken than there are
	NotedAt        time.Time // when its administrators were last told
	CreatedAt      time.Time
	UpdatedAt      time.Time

	// Fault is what is wrong with an invalid one, for the log.
	Fault error
}

// NewLicence is what a licence is to be.
type NewLicence struct {
	Org            ID
	Name           string
	SeatsActive    int
	SeatsPreserved int
	ValidTo        time.Time // zero: without end
}

// maxSeats is more than anybody has, and small enough to be added up.
const maxSeats = 1_000_000

// CreateLicence issues a licence with a new serial number. The first one of an
// organisation takes in the users who are there already.
func CreateLicence(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, n NewLicence) (Licence, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Licence{}, fmt.Errorf("creating a licence: %w", err)
	}
	l := Licence{ID: LicenceID(id.String()), Org: n.Org, Serial: newSerial(), Name: cleanName(n.Name), State: LicenceActive,
		SeatsActive: n.SeatsActive, SeatsPreserved: n.SeatsPreserved, ValidTo: n.ValidTo.UTC().Truncate(time.Second),
		Features: []string{}, CreatedAt: tx.Now(), UpdatedAt: tx.Now()}
	if err := audit.Check(ctx, tx, by, access.ManageLicences, n.Org, "", l.object(), l.changes(Licence{})...); err != nil {
		return Licence{}, err
	}
	if _, err := Find(ctx, tx, n.Org); err != nil {
		return Licence{}, err
	}
	others, err := licences(ctx, tx, ring, "org = $1", string(n.Org))
	if err != nil {
		return Licence{}, err
	}
	if err := l.check(tx.Now(), Licence{}, others); err != nil {
		return Licence{}, err
	}
	if err := insert(ctx, tx, ring, l); err != nil {
		return Licence{}, err
	}
	if len(others) > 0 {
		return l, nil
	}
	if err := takeIn(ctx, tx, l); err != nil {
		return Licence{}, err
	}
	return l, Recount(ctx, tx, l.ID)
}

// takeIn binds the users of an organisation that had no licence to its first.
func takeIn(ctx context.Context, tx *db.Tx, l Licence) error {
	_, err := tx.Exec(ctx, "UPDATE users SET licence = $1 WHERE org = $2 AND kind = $3 AND licence IS NULL", l.ID, l.Org, access.UserKind)
	if err != nil {
		return fmt.Errorf("binding the users of organisation %s to licence %s: %w", l.Org, l.ID, err)
	}
	return nil
}

// ChangeLicence gives a licence the name, the seats and the end that l has, and
// signs what it says now. More seats heal a licence at once. Of an invalid one
// the caller has to know what is true: it is signed anew.
func ChangeLicence(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, l Licence) (Licence, error) {
	old, err := FindLicence(ctx, tx, ring, l.ID)
	if err != nil {
		return Licence{}, err
	}
	changed := old
	changed.Name, changed.SeatsActive, changed.SeatsPreserved = cleanName(l.Name), l.SeatsActive, l.SeatsPreserved
	changed.ValidTo, changed.UpdatedAt = l.ValidTo.UTC().Truncate(time.Second), tx.Now()
	if err := audit.Check(ctx, tx, by, access.ManageLicences, old.Org, "", old.object(), changed.changes(old)...); err != nil {
		return Licence{}, err
	}
	if old.State == LicenceRevoked {
		return Licence{}, errs.New(errs.Conflict, "licence.revoked", "name", old.Name)
	}
	others, err := licences(ctx, tx, ring, "org = $1", string(old.Org))
	if err != nil {
		return Licence{}, err
	}
	if err := changed.check(tx.Now(), old, others); err != nil {
		return Licence{}, err
	}
	changed.State, changed.Fault = LicenceActive, nil
	if err := update(ctx, tx, ring, changed); err != nil {
		return Licence{}, err
	}
	if err := Recount(ctx, tx, changed.ID); err != nil {
		return Licence{}, err
	}
	return FindLicence(ctx, tx, ring, changed.ID)
}

// RevokeLicence ends a licence for good. Who has a seat keeps it, backs up and
// restores; nobody new comes in, by its serial number or otherwise.
func RevokeLicence(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, id LicenceID) (Licence, error) {
	l, err := FindLicence(ctx, tx, ring, id)
	if err != nil {
		return Licence{}, err
	}
	if err := audit.Check(ctx, tx, by, access.ManageLicences, l.Org, "", l.object(), audit.Change("state", l.State, LicenceRevoked)); err != nil {
		return Licence{}, err
	}
	if l.State == LicenceRevoked {
		return Licence{}, errs.New(errs.Conflict, "licence.revoked", "name", l.Name)
	}
	l.State, l.Fault, l.UpdatedAt = LicenceRevoked, nil, tx.Now()
	return l, update(ctx, tx, ring, l)
}

func (l Licence) object() string { return "licence/" + string(l.ID) }

// changes is the record of what a licence says now and said before. Its serial
// number lets people register, and is no part of it.
func (l Licence) changes(old Licence) []audit.Detail {
	var list []audit.Detail
	add := func(name string, before, after any) {
		if old.ID == "" {
			before = nil
		}
		if before != after {
			list = append(list, audit.Change(name, before, after))
		}
	}
	if old.State == LicenceInvalid {
		list = append(list, audit.Note("signed", "anew"))
	}
	add("name", old.Name, l.Name)
	add("seats_active", old.SeatsActive, l.SeatsActive)
	add("seats_preserved", old.SeatsPreserved, l.SeatsPreserved)
	add("valid_to", stamp(old.ValidTo), stamp(l.ValidTo))
	return list
}

// check says what is wrong with a licence that is to be signed. Names are
// unique in an organisation, so that people know which one they choose.
func (l Licence) check(now time.Time, old Licence, others []Licence) error {
	switch {
	case l.Name == "":
		return errs.New(errs.Invalid, "licence.name.empty")
	case !utf8.ValidString(l.Name) || strings.ContainsFunc(l.Name, unicode.IsControl):
		return errs.New(errs.Invalid, "licence.name.characters")
	case utf8.RuneCountInString(l.Name) > maxName:
		return errs.New(errs.Invalid, "licence.name.long", "n", maxName)
	case l.SeatsActive < 1 || l.SeatsActive > maxSeats:
		return errs.New(errs.Invalid, "licence.seats", "max", maxSeats)
	case l.SeatsPreserved < 0 || l.SeatsPreserved > maxSeats:
		return errs.New(errs.Invalid, "licence.preserved", "max", maxSeats)
	case !l.ValidTo.IsZero() && !l.ValidTo.Equal(old.ValidTo) && !l.ValidTo.After(now):
		return errs.New(errs.Invalid, "licence.past", "date", l.ValidTo)
	}
	for _, o := range others {
		if o.ID != l.ID && Fold(o.Name) == Fold(l.Name) {
			return errs.New(errs.Conflict, "licence.name.taken", "name", o.Name)
		}
	}
	return nil
}

func cleanName(name string) string { return strings.TrimSpace(norm.NFC.String(name)) }

// document is what is signed: the licence as JSON with its fields in the order
// of the alphabet, without spaces. The same licence always gives the same bytes.
func (l Licence) document() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(document{Features: l.Features, ID: l.ID, Name: l.Name, Org: l.Org, SeatsActive: l.SeatsActive,
		SeatsPreserved: l.SeatsPreserved, Serial: l.Serial, State: l.State, ValidTo: stamp(l.ValidTo)})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

type document struct {
	Features       []string     `json:"features"`
	ID             LicenceID    `json:"id"`
	Name           string       `json:"name"`
	Org            ID           `json:"org"`
	SeatsActive    int          `json:"seats_active"`
	SeatsPreserved int          `json:"seats_preserved"`
	Serial         string       `json:"serial"`
	State          LicenceState `json:"state"`
	ValidTo        string       `json:"valid_to"` // RFC 3339, empty: without end
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

var (
	errSignature = errors.New("it is not signed by this server's licence key")
	errColumns   = errors.New("its row was changed by hand: it is not what was signed")
)

// verify marks a licence whose document is not signed, or whose row says
// something else than the document. Without a ring it is only the latter.
func (l *Licence) verify(ring *keys.Ring, text string, signature []byte) error {
	signed := ring == nil
	if ring != nil {
		var err error
		if signed, err = ring.VerifyLicence([]byte(text), signature); err != nil {
			return err
		}
	}
	var d document
	if err := json.Unmarshal([]byte(text), &d); err == nil {
		l.Features = d.Features
	}
	now, err := l.document()
	if err != nil {
		return err
	}
	switch {
	case !signed:
		l.State, l.Fault = LicenceInvalid, errSignature
	case string(now) != text:
		l.State, l.Fault = LicenceInvalid, errColumns
	}
	return nil
}

func insert(ctx context.Context, tx *db.Tx, ring *keys.Ring, l Licence) error {
	document, signature, err := l.sign(ring)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO licences (id, org, serial, document, signature, name, state, seats_active, seats_preserved,
			valid_to, over_since, noted_at, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, $11, $12)`,
		l.ID, l.Org, l.Serial, document, signature, l.Name, l.State, l.SeatsActive, l.SeatsPreserved,
		db.Micros(l.ValidTo), db.Micros(l.CreatedAt), db.Micros(l.UpdatedAt))
	if err != nil {
		return fmt.Errorf("creating licence %q: %w", l.Name, err)
	}
	return nil
}

func update(ctx context.Context, tx *db.Tx, ring *keys.Ring, l Licence) error {
	document, signature, err := l.sign(ring)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE licences SET document = $2, signature = $3, name = $4, state = $5, seats_active = $6,
			seats_preserved = $7, valid_to = $8, updated_at = $9 WHERE id = $1`,
		l.ID, document, signature, l.Name, l.State, l.SeatsActive, l.SeatsPreserved, db.Micros(l.ValidTo), db.Micros(l.UpdatedAt))
	if err != nil {
		return fmt.Errorf("changing licence %s: %w", l.ID, err)
	}
	return nil
}

func (l Licence) sign(ring *keys.Ring) (document string, signature []byte, err error) {
	text, err := l.document()
	if err != nil {
		return "", nil, fmt.Errorf("signing licence %s: %w", l.ID, err)
	}
	signature, err = ring.SignLicence(text)
	return string(text), signature, err
}

// FindLicence returns a licence, also one that no longer counts. It asks
// nobody's permission.
func FindLicence(ctx context.Context, tx *db.Tx, ring *keys.Ring, id LicenceID) (Licence, error) {
	list, err := licences(ctx, tx, ring, "id = $1", string(id))
	if err == nil && len(list) == 0 {
		err = errs.New(errs.NotFound, "licence.unknown")
	}
	if err != nil {
		return Licence{}, err
	}
	return list[0], nil
}

// FindSerial returns the licence with a serial number as somebody typed it,
// also one that no longer counts: MayRegister tells. A number that is mistyped
// or nobody's is E1302.
func FindSerial(ctx context.Context, tx *db.Tx, ring *keys.Ring, typed string) (Licence, error) {
	serial, err := ParseSerial(typed)
	if err != nil {
		return Licence{}, err
	}
	list, err := licences(ctx, tx, ring, "serial = $1", serial)
	if err == nil && len(list) == 0 {
		err = errs.Of(errs.BadSerial)
	}
	if err != nil {
		return Licence{}, err
	}
	return list[0], nil
}

// Licences returns the licences of an organisation, oldest first. Their serial
// numbers are for those who may make users.
func Licences(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, org ID) ([]Licence, error) {
	if err := audit.See(by, access.ViewUsers, org, "", "org/"+string(org)); err != nil {
		return nil, err
	}
	list, err := licences(ctx, tx, ring, "org = $1", string(org))
	if err == nil && !access.Allow(by, access.ManageUsers, org, "") {
		for i := range list {
			list[i].Serial = ""
		}
	}
	return list, err
}

func licences(ctx context.Context, tx *db.Tx, ring *keys.Ring, where string, args ...any) ([]Licence, error) {
	list, err := db.All(ctx, tx, func(row db.Row) (l Licence, err error) {
		var text string
		var signature []byte
		var validTo, over, noted, created, updated int64
		err = row.Scan(&l.ID, &l.Org, &l.Serial, &text, &signature, &l.Name, &l.State, &l.SeatsActive, &l.SeatsPreserved, &validTo,
			&over, &noted, &created, &updated)
		if err != nil {
			return l, err
		}
		l.ValidTo, l.OverSince, l.NotedAt = db.Time(validTo), db.Time(over), db.Time(noted)
		l.CreatedAt, l.UpdatedAt = db.Time(created), db.Time(updated)
		err = l.verify(ring, text, signature)
		return l, err
	}, `SELECT id, org, serial, document, signature, name, state, seats_active, seats_preserved, valid_to,
		over_since, noted_at, created_at, updated_at FROM licences WHERE `+where+` ORDER BY id`, args...)
	if err != nil {
		return nil, fmt.Errorf("reading licences: %w", err)
	}
	return slices.Clip(list), nil
}
