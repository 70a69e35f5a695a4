package accounts_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/settings"
)

const (
	day    = 24 * time.Hour
	reason = "because it is a test"
)

var states = []accounts.State{accounts.Pending, accounts.Invited, accounts.Active, accounts.Disabled, accounts.Preserved, accounts.Deleted, accounts.Purged}

func (w *world) setState(id accounts.ID, to accounts.State) error {
	w.Helper()
	return w.Try(func(tx *db.Tx) error { return accounts.SetState(w.Context(), tx, system, id, to, reason) })
}

// in makes a user that is in a state, with a password where there can be one.
func (w *world) in(state accounts.State, username string) accounts.User {
	w.Helper()
	n := accounts.New{Username: username, Email: username + "@example.org"}
	switch state {
	case accounts.Pending:
		n.State = accounts.Pending
		n.PasswordHash = w.Hash(password)
	case accounts.Invited:
		n.PasswordHash, n.Temporary = w.Hash(password), day
	default:
		n.PasswordHash = w.Hash(password)
	}
	u, err := w.Create(system, n)
	if err != nil {
		w.Fatal(err)
	}
	switch state {
	case accounts.Disabled, accounts.Preserved, accounts.Deleted:
		err = w.setState(u.ID, state)
	case accounts.Purged:
		if err = w.setState(u.ID, accounts.Deleted); err == nil {
			err = w.purgeNow(u.ID)
		}
	}
	if err != nil {
		w.Fatal(err)
	}
	if got := w.Find(u.ID); got.State != state {
		w.Fatalf("%s is %s, want %s", username, got.State, state)
	}
	return w.Find(u.ID)
}

// purgeNow purges an account as if its window were over.
func (w *world) purgeNow(id accounts.ID) error {
	now := w.DB.Now
	defer func() { w.DB.Now = now }()
	w.DB.Now = func() time.Time { return now().Add(8 * day) }
	return w.Try(func(tx *db.Tx) error {
		_, err := accounts.Purge(w.Context(), tx)
		return err
	})
}

// The whole table: what may follow, and that everything else changes nothing.
func TestSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock()
	allowed := map[accounts.State][]accounts.State{
		accounts.Pending:   {accounts.Invited, accounts.Active, accounts.Deleted},
		accounts.Invited:   {accounts.Active, accounts.Deleted},
		accounts.Active:    {accounts.Disabled, accounts.Preserved, accounts.Deleted},
		accounts.Disabled:  {accounts.Active, accounts.Preserved, accounts.Deleted},
		accounts.Preserved: {accounts.Active, accounts.Deleted},
	}
	for _, from := range states {
		for n, to := range append(states, "none") {
			u := w.in(from, fmt.Sprintf("%s-%d", from, n))
			before := len(w.Audit(audit.Filter{Object: "user/" + string(u.ID)}))
			err := w.setState(u.ID, to)
			got := w.Find(u.ID)
			rows := w.Audit(audit.Filter{Object: "user/" + string(u.ID)})
			if !slices.Contains(allowed[from], to) {
				if errs.KindOf(err) != errs.Conflict || got.State != from || len(rows) != before {
					t.Errorf("%s to %s: %v, is %s, %d new records; want Conflict and nothing", from, to, err, got.State, len(rows)-before)
				}
				continue
			}
			if err != nil || got.State != to || got.StateReason != reason || !got.StateAt.Equal(w.DB.Now()) {
				t.Errorf("%s to %s: %v, is %s for %q at %v", from, to, err, got.State, got.StateReason, got.StateAt)
			}
			if len(rows) != before+1 || !slices.Contains(rows[0].Details, audit.Detail{Name: "state", Before: string(from), After: string(to)}) ||
				!slices.Contains(rows[0].Details, audit.Detail{Name: "reason", After: reason}) {
				t.Errorf("%s to %s: recorded %+v", from, to, rows[0].Details)
			}
			if to == accounts.Deleted && (got.StateBefore != from || !got.PurgeAt.Equal(w.DB.Now().Add(7*day))) {
				t.Errorf("deleted: back to %s until %v", got.StateBefore, got.PurgeAt)
			}
		}
	}
}

func TestNobodyBeginsElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, s := range states {
		if s == accounts.Pending {
			continue
		}
		if _, err := w.Create(system, accounts.New{Username: "u", State: s}); err == nil || errs.Find(err) != nil {
			t.Errorf("created as %s: %v", s, err)
		}
	}
}

// What logs in ends with every step away from active, and does not come back.
func TestStepsEndSessions(t *testing.T) {
	t.Parallel()
	for _, to := range []accounts.State{accounts.Disabled, accounts.Preserved, accounts.Deleted} {
		w := newWorld(t)
		u := w.User("una")
		token := w.session(u, accounts.ToPortal, "")
		var reset string
		w.Write(func(tx *db.Tx) (err error) {
			reset, err = accounts.NewLink(t.Context(), tx, accounts.ForReset, u.ID, time.Hour, nil)
			return err
		})
		if !w.loggedIn(accounts.ToPortal, token) {
			t.Fatal("not logged in")
		}
		if err := w.setState(u.ID, to); err != nil {
			t.Fatal(err)
		}
		if w.loggedIn(accounts.ToPortal, token) {
			t.Errorf("%s: still logged in", to)
		}
		back := func(tx *db.Tx) error { return accounts.Activate(t.Context(), tx, system, u.ID, "") }
		if to == accounts.Deleted {
			back = func(tx *db.Tx) error { return accounts.Undelete(t.Context(), tx, system, u.ID, "") }
		}
		w.Write(back)
		if w.loggedIn(accounts.ToPortal, token) {
			t.Errorf("%s and back: the session of before is good again", to)
		}
		err := w.Try(func(tx *db.Tx) error {
			_, _, err := accounts.UseLink(t.Context(), tx, accounts.ForReset, reset)
			return err
		})
		if !errs.Is(err, errs.LinkExpired) {
			t.Errorf("%s and back: the link of before: %v", to, err)
		}
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	for text, want := range map[string]errs.Kind{
		"": errs.Invalid, "too short": errs.Invalid, "   too short   ": errs.Invalid, "àéîõü": errs.Invalid,
		strings.Repeat("x", 151): errs.Invalid, "ten and\x00 more": errs.Invalid, "ten and \xff more": errs.Invalid,
		"ten of all": 0, "àéîõüàéîõü": 0, strings.Repeat("é", 150): 0,
	} {
		err := w.Try(func(tx *db.Tx) error {
			if err := accounts.Delete(t.Context(), tx, system, u.ID, text); err != nil {
				return err
			}
			return accounts.Undelete(t.Context(), tx, system, u.ID, "")
		})
		if want == 0 && err != nil || want != 0 && errs.KindOf(err) != want {
			t.Errorf("deleting for %q: %v, want kind %d", text, err, want)
		}
	}
	// Where none is needed, one may be given, but not any.
	err := w.Try(func(tx *db.Tx) error {
		return accounts.Disable(t.Context(), tx, system, u.ID, strings.Repeat("x", 151))
	})
	if errs.KindOf(err) != errs.Invalid {
		t.Errorf("disabling for a novel: %v", err)
	}
}

func TestAdministratorsAreNotPreserved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.Admin("viewer", access.Viewer)
	if err := w.setState(a.ID, accounts.Preserved); errs.KindOf(err) != errs.Conflict {
		t.Errorf("got %v, want Conflict", err)
	}
	first := w.Admin("first", access.ServerAdmin)
	if err := w.setState(first.ID, accounts.Deleted); errs.KindOf(err) != errs.Conflict {
		t.Errorf("deleting the last: %v, want Conflict", err)
	}
}

func TestLegalHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	u, vic := w.User("una"), w.User("vic")
	hold := func(id accounts.ID, on bool) {
		t.Helper()
		w.Write(func(tx *db.Tx) error { return accounts.SetHold(t.Context(), tx, system, id, on) })
	}
	hold(u.ID, true)
	err := w.setState(u.ID, accounts.Deleted)
	if denial := new(audit.Denial); !errs.Is(err, errs.LegalHold) || !errors.As(err, &denial) || denial.Owner != u.ID {
		t.Errorf("deleting: %v, want E1404, and one that is recorded", err)
	}
	for _, to := range []accounts.State{accounts.Disabled, accounts.Preserved, accounts.Active} {
		if err := w.setState(u.ID, to); err != nil {
			t.Errorf("to %s under a hold: %v", to, err)
		}
	}
	// A hold that comes after the deletion stops the purge.
	if err := w.setState(vic.ID, accounts.Deleted); err != nil {
		t.Fatal(err)
	}
	hold(vic.ID, true)
	move(30 * day)
	purge := func() (n int64) {
		t.Helper()
		w.Write(func(tx *db.Tx) (err error) {
			n, err = accounts.Purge(t.Context(), tx)
			return err
		})
		return n
	}
	if n := purge(); n != 0 || w.Find(vic.ID).State != accounts.Deleted {
		t.Errorf("%d purged under a hold", n)
	}
	hold(vic.ID, false)
	if n := purge(); n != 1 || w.Find(vic.ID).State != accounts.Purged {
		t.Errorf("%d purged after the hold", n)
	}
	// Its user must not learn of it, and somebody without rights not change it.
	err = w.Try(func(tx *db.Tx) error { return accounts.SetHold(t.Context(), tx, u.Caller(from), u.ID, false) })
	if errs.KindOf(err) != errs.Forbidden {
		t.Errorf("a user about themselves: %v", err)
	}
}

func TestUndelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	undelete := func(id accounts.ID) error {
		return w.Try(func(tx *db.Tx) error { return accounts.Undelete(t.Context(), tx, system, id, "a mistake") })
	}
	for _, from := range []accounts.State{accounts.Invited, accounts.Active, accounts.Disabled, accounts.Preserved} {
		u := w.in(from, string(from))
		if err := undelete(u.ID); errs.KindOf(err) != errs.Conflict {
			t.Errorf("%s, not deleted: %v, want Conflict", from, err)
		}
		if err := w.setState(u.ID, accounts.Deleted); err != nil {
			t.Fatal(err)
		}
		move(6 * day)
		if err := undelete(u.ID); err != nil {
			t.Errorf("%s: %v", from, err)
		}
		if got := w.Find(u.ID); got.State != from || !got.PurgeAt.IsZero() || got.StateBefore != "" || got.StateReason != "a mistake" {
			t.Errorf("%s came back as %+v", from, got)
		}
		// To the instant: after the window there is nothing to bring back.
		if err := w.setState(u.ID, accounts.Deleted); err != nil {
			t.Fatal(err)
		}
		move(7 * day)
		if err := undelete(u.ID); errs.KindOf(err) != errs.Gone {
			t.Errorf("%s, too late: %v, want Gone", from, err)
		}
	}
	u := w.User("una")
	vic := w.User("vic")
	if err := w.setState(u.ID, accounts.Deleted); err != nil {
		t.Fatal(err)
	}
	err := w.Try(func(tx *db.Tx) error { return accounts.Undelete(t.Context(), tx, vic.Caller(from), u.ID, "") })
	if errs.KindOf(err) != errs.NotFound {
		t.Errorf("by a colleague: %v, want NotFound", err)
	}
}

// Who may delete shall not be able to hurry: a shorter window waits out the
// longer one.
func TestAShorterWindowWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	days := func(n int) {
		t.Helper()
		w.Write(func(tx *db.Tx) error {
			return settings.Change(t.Context(), tx, system, func(s *settings.Settings) error { s.Users.RollbackDays = n; return nil })
		})
	}
	window := func(name string) time.Duration {
		t.Helper()
		u := w.User(name)
		if err := w.setState(u.ID, accounts.Deleted); err != nil {
			t.Fatal(err)
		}
		return w.Find(u.ID).PurgeAt.Sub(w.DB.Now())
	}
	days(20)
	if got := window("long"); got != 20*day {
		t.Errorf("a longer window holds at once: %v", got)
	}
	days(1)
	if got := window("at-once"); got != 20*day {
		t.Errorf("right after it was shortened the window is %v, want 20 days", got)
	}
	move(19 * day)
	if got := window("later"); got != 20*day {
		t.Errorf("19 days after it was shortened the window is %v, want 20 days", got)
	}
	move(2 * day)
	if got := window("short"); got != day {
		t.Errorf("21 days after it was shortened the window is %v, want a day", got)
	}
	if got := w.Find(w.Named("later").ID).PurgeAt.Sub(w.DB.Now()); got != 18*day {
		t.Errorf("what was deleted before is purged in %v, want 18 days", got)
	}
}
