package orgs_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/orgs"
)

const (
	day   = 24 * time.Hour
	grace = 14 * day
)

// world is an organisation whose clock a test sets.
type world struct {
	t    *testing.T
	db   *db.DB
	ring *keys.Ring
	org  orgs.Org
	now  time.Time
}

var operator = access.System("test")

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: dbtest.New(t), now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	w.db.Now = func() time.Time { return w.now }
	var err error
	if w.ring, err = keys.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	w.write(func(tx *db.Tx) (err error) {
		w.org, err = orgs.Create(t.Context(), tx, operator, w.ring, "Example")
		return err
	})
	return w
}

func (w *world) write(f func(*db.Tx) error) {
	w.t.Helper()
	if err := w.try(f); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) try(f func(*db.Tx) error) error { return w.db.Write(w.t.Context(), f) }

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	w.write(func(tx *db.Tx) error {
		_, err := tx.Exec(w.t.Context(), query, args...)
		return err
	})
}

func (w *world) create(name string, seats, preserved int, validTo time.Time) (l orgs.Licence) {
	w.t.Helper()
	w.write(func(tx *db.Tx) (err error) {
		l, err = orgs.CreateLicence(w.t.Context(), tx, operator, w.ring,
			orgs.NewLicence{Org: w.org.ID, Name: name, SeatsActive: seats, SeatsPreserved: preserved, ValidTo: validTo})
		return err
	})
	return l
}

func (w *world) find(id orgs.LicenceID) (l orgs.Licence) {
	w.t.Helper()
	w.write(func(tx *db.Tx) (err error) {
		l, err = orgs.FindLicence(w.t.Context(), tx, w.ring, id)
		return err
	})
	return l
}

func (w *world) change(l orgs.Licence) (err error) {
	return w.try(func(tx *db.Tx) error {
		_, err := orgs.ChangeLicence(w.t.Context(), tx, operator, w.ring, l)
		return err
	})
}

// user makes an account that has a seat of the licence, or none.
func (w *world) user(licence orgs.LicenceID, seat string) (id string) {
	w.t.Helper()
	id = uuid.NewString()
	w.exec(`INSERT INTO users (id, org, kind, role, username, username_key, email, email_key, first_name, last_name, search, language, state,
			state_at, profile_at, licence, password, password_at, must_change_password, locked_until, key_gen, last_login_at, created_at, updated_at, seat)
		VALUES ($1, $2, 'user', '', $1, $1, '', '', '', '', '', 'en', 'active', 0, 0, $3, '', 0, $4, 0, 0, 0, 0, 0, $5)`,
		id, w.org.ID, db.Null(licence), false, seat)
	if licence != "" {
		w.write(func(tx *db.Tx) error { return orgs.Recount(w.t.Context(), tx, licence) })
	}
	return id
}

func TestLicence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	end := time.Date(2027, 11, 30, 23, 59, 59, 0, time.UTC)
	made := w.create("  Bureau <1> & Co ", 5, 2, end)
	if made.Name != "Bureau <1> & Co" || made.State != orgs.LicenceActive || len(made.Serial) != 25 {
		t.Errorf("made %+v", made)
	}
	var found orgs.Licence
	w.write(func(tx *db.Tx) (err error) {
		found, err = orgs.FindSerial(t.Context(), tx, w.ring, orgs.FormatSerial(made.Serial))
		return err
	})
	if found.ID != made.ID || found.SeatsActive != 5 || found.SeatsPreserved != 2 || !found.ValidTo.Equal(end) || found.State != orgs.LicenceActive {
		t.Errorf("found %+v, want %+v", found, made)
	}

	found.SeatsActive, found.ValidTo, found.Name = 9, time.Time{}, "Bureau"
	if err := w.change(found); err != nil {
		t.Fatal(err)
	}
	changed := w.find(made.ID)
	if changed.SeatsActive != 9 || !changed.ValidTo.IsZero() || changed.Name != "Bureau" || changed.State != orgs.LicenceActive || changed.Serial != made.Serial {
		t.Errorf("changed to %+v", changed)
	}

	w.write(func(tx *db.Tx) error {
		_, err := orgs.RevokeLicence(t.Context(), tx, operator, w.ring, made.ID)
		return err
	})
	if got := w.find(made.ID); got.State != orgs.LicenceRevoked {
		t.Errorf("after it was revoked: %s", got.State)
	}
	if err := w.change(changed); errs.KindOf(err) != errs.Conflict {
		t.Errorf("changing a revoked one: %v, want Conflict", err)
	}
	w.write(func(tx *db.Tx) error {
		list, err := audit.List(t.Context(), tx, operator, audit.Filter{Action: access.ManageLicences, Object: "licence/" + string(made.ID)})
		if err != nil || len(list) != 3 {
			t.Errorf("%d records, %v, want 3", len(list), err)
		}
		return err
	})
}

// A row that was changed by hand is no licence, whichever column it was.
func TestLicenceChangedByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.create("First", 5, 1, time.Time{})
	w.create("Second", 500, 50, time.Time{})
	if got := w.find(first.ID); got.State != orgs.LicenceActive {
		t.Fatalf("as it was made: %s, %v", got.State, got.Fault)
	}
	for name, set := range map[string]string{
		"seats":     "seats_active = 500",
		"preserved": "seats_preserved = 500",
		"its end":   "valid_to = 4102444800000000",
		"its name":  "name = 'Other'",
		"state":     "state = 'revoked'",
		"document":  `document = replace(document, '"seats_active":5', '"seats_active":500'), seats_active = 500`,
		"spaces":    `document = replace(document, ',', ', ')`,
		"swapped":   "document = (SELECT l.document FROM licences l WHERE l.name = 'Second')",
		"copied": `document = (SELECT l.document FROM licences l WHERE l.name = 'Second'), signature = (SELECT l.signature FROM licences l WHERE l.name = 'Second'),
			seats_active = 500, seats_preserved = 50, name = 'Second'`,
	} {
		var got orgs.Licence
		undo := context.Canceled
		err := w.try(func(tx *db.Tx) (err error) {
			if _, err := tx.Exec(t.Context(), "UPDATE licences SET "+set+" WHERE id = $1", first.ID); err != nil {
				return err
			}
			if got, err = orgs.FindLicence(t.Context(), tx, w.ring, first.ID); err != nil {
				return err
			}
			return undo
		})
		if err != undo {
			t.Fatalf("%s: %v", name, err)
		}
		if got.State != orgs.LicenceInvalid || got.Fault == nil {
			t.Errorf("%s changed by hand: %s", name, got.State)
		}
		for what, err := range map[string]error{
			"registering": got.MayRegister(0, w.now), "activating": got.MayActivate(0, w.now, grace), "coming back": got.MayReturn(0, w.now),
		} {
			if err == nil {
				t.Errorf("%s changed by hand: %s is allowed", name, what)
			}
		}
	}
	// Who knows what is true signs it anew.
	w.exec("UPDATE licences SET seats_active = 500 WHERE id = $1", first.ID)
	bad := w.find(first.ID)
	bad.SeatsActive = 6
	if err := w.change(bad); err != nil {
		t.Fatal(err)
	}
	if got := w.find(first.ID); got.State != orgs.LicenceActive || got.SeatsActive != 6 {
		t.Errorf("signed anew: %s with %d seats, %v", got.State, got.SeatsActive, got.Fault)
	}
}

func TestLicenceRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("Bureau", 5, 1, time.Time{})
	org := w.org.ID
	for name, c := range map[string]struct {
		by   access.Caller
		n    orgs.NewLicence
		want errs.Kind
	}{
		"no name":      {operator, orgs.NewLicence{Org: org, Name: " ", SeatsActive: 1}, errs.Invalid},
		"a bad name":   {operator, orgs.NewLicence{Org: org, Name: "a\nb", SeatsActive: 1}, errs.Invalid},
		"a long name":  {operator, orgs.NewLicence{Org: org, Name: string(make([]byte, 200)), SeatsActive: 1}, errs.Invalid},
		"a taken name": {operator, orgs.NewLicence{Org: org, Name: "BUREAU", SeatsActive: 1}, errs.Conflict},
		"no seat":      {operator, orgs.NewLicence{Org: org, Name: "x"}, errs.Invalid},
		"fewer seats":  {operator, orgs.NewLicence{Org: org, Name: "x", SeatsActive: 1, SeatsPreserved: -1}, errs.Invalid},
		"many seats":   {operator, orgs.NewLicence{Org: org, Name: "x", SeatsActive: 1_000_001}, errs.Invalid},
		"over already": {operator, orgs.NewLicence{Org: org, Name: "x", SeatsActive: 1, ValidTo: w.now}, errs.Invalid},
		"of nobody":    {operator, orgs.NewLicence{Org: "x", Name: "x", SeatsActive: 1}, errs.NotFound},
		"by an administrator of the organisation": {access.Caller{Kind: access.AdminKind, User: "a", Org: org, Role: access.OrgAdmin},
			orgs.NewLicence{Org: org, Name: "x", SeatsActive: 1}, errs.Forbidden},
	} {
		err := w.try(func(tx *db.Tx) error {
			_, err := orgs.CreateLicence(t.Context(), tx, c.by, w.ring, c.n)
			return err
		})
		if errs.KindOf(err) != c.want {
			t.Errorf("%s: %v, want kind %d", name, err, c.want)
		}
	}
	for typed, group := range map[string]any{"AAAAA-00000-00000-00000-00000": 1, "": nil} {
		err := w.try(func(tx *db.Tx) error {
			_, err := orgs.FindSerial(t.Context(), tx, w.ring, typed)
			return err
		})
		if !errs.Is(err, errs.BadSerial) || errs.Find(err).Args["group"] != group {
			t.Errorf("FindSerial(%q) = %v", typed, err)
		}
	}
}

// Serial numbers let people register: a viewer does not see them.
func TestLicencesOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.create("First", 5, 1, time.Time{})
	w.create("Second", 7, 1, time.Time{})
	for name, c := range map[string]struct {
		by     access.Caller
		serial string
		want   errs.Kind
	}{
		"the operator":               {operator, first.Serial, 0},
		"an administrator":           {access.Caller{Kind: access.AdminKind, User: "a", Org: w.org.ID, Role: access.OrgAdmin}, first.Serial, 0},
		"a viewer":                   {access.Caller{Kind: access.AdminKind, User: "a", Org: w.org.ID, Role: access.Viewer}, "", 0},
		"an administrator elsewhere": {access.Caller{Kind: access.AdminKind, User: "a", Org: "x", Role: access.OrgAdmin}, "", errs.NotFound},
		"a user":                     {access.Caller{Kind: access.UserKind, User: "a", Org: w.org.ID}, "", errs.NotFound},
	} {
		var list []orgs.Licence
		err := w.try(func(tx *db.Tx) (err error) {
			list, err = orgs.Licences(t.Context(), tx, c.by, w.ring, w.org.ID)
			return err
		})
		if c.want != 0 {
			if errs.KindOf(err) != c.want || list != nil {
				t.Errorf("%s: %v, want kind %d", name, err, c.want)
			}
			continue
		}
		if err != nil || len(list) != 2 || list[0].Name != "First" || list[0].Serial != c.serial {
			t.Errorf("%s: %v, %+v", name, err, list)
		}
	}
}
