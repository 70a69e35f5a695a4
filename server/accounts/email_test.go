package accounts_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

func (w *world) code() string {
	w.Helper()
	return w.last().Values["code"]
}

func (w *world) begin(u accounts.User, email string) error {
	w.Helper()
	return w.Try(func(tx *db.Tx) error { return accounts.BeginEmail(w.Context(), tx, u.Caller(from), w.Ring, email) })
}

func (w *world) confirm(u accounts.User, code string) error {
	w.Helper()
	return accounts.ConfirmEmail(w.Context(), w.DB, u.Caller(from), w.Ring, server, code)
}

func (w *world) undo(token string) (u accounts.User, err error) {
	w.Helper()
	err = w.Try(func(tx *db.Tx) error {
		u, err = accounts.UndoEmail(w.Context(), tx, from, token)
		return err
	})
	return u, err
}

func TestChangeEmail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	u := w.User("una")
	session := w.session(u, accounts.ToPortal, "")
	for address, want := range map[string]errs.Kind{"": errs.Invalid, "una": errs.Invalid, "una@example.org": errs.Invalid, "una@EXAMPLE.org": errs.Invalid} {
		if err := w.begin(u, address); errs.KindOf(err) != want {
			t.Errorf("to %q: %v, want kind %d", address, err, want)
		}
	}
	if err := w.begin(u, "new@example.org"); err != nil {
		t.Fatal(err)
	}
	m := w.mail("email_confirm", "new@example.org")
	if len(m.Values["code"]) != 6 || m.Values["username"] != "una" || m.Values["minutes"] != "10" {
		t.Errorf("mailed %v", m.Values)
	}
	if w.Find(u.ID).Email != "una@example.org" {
		t.Error("the address is changed before it is confirmed")
	}
	if err := w.begin(u, "third@example.org"); !errs.Is(err, errs.TooManyAttempts) {
		t.Errorf("another at once: %v, want E1104", err)
	}
	code := w.code()
	wrong := "000000"
	if code == wrong {
		wrong = "000001"
	}
	if err := w.confirm(u, wrong); !errs.Is(err, errs.WrongConfirmation) || errs.Find(err).Args["n"] != 4 {
		t.Errorf("a wrong code: %v, want E1108 with 4 left", err)
	}
	vic := w.User("vic")
	if err := w.confirm(vic, code); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("somebody else with the code: %v, want E1107", err)
	}
	if err := w.confirm(u, code); err != nil {
		t.Fatal(err)
	}
	if got := w.Find(u.ID).Email; got != "new@example.org" {
		t.Errorf("the address is %s", got)
	}
	if err := w.confirm(u, code); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("the code again: %v, want E1107", err)
	}
	m = w.mail("email_changed", "una@example.org")
	undo := w.Token(m.Values["link"], "/email/undo")
	if m.Values["email"] != "new@example.org" || m.Values["hours"] != "72" {
		t.Errorf("mailed %v", m.Values)
	}

	// Whoever has taken the account over changes it once more: the owner's link
	// is still good, and theirs is not after it.
	move(time.Hour)
	if err := w.begin(u, "evil@example.org"); err != nil {
		t.Fatal(err)
	}
	if err := w.confirm(u, w.code()); err != nil {
		t.Fatal(err)
	}
	other := w.Token(w.mail("email_changed", "new@example.org").Values["link"], "/email/undo")
	if !w.loggedIn(accounts.ToPortal, session) {
		t.Fatal("a change by the owner ended the session")
	}
	move(71*time.Hour - time.Microsecond)
	session = w.session(u, accounts.ToPortal, "")
	got, err := w.undo(undo)
	if err != nil || got.ID != u.ID || w.Find(u.ID).Email != "una@example.org" {
		t.Errorf("undone: %v, address %s", err, w.Find(u.ID).Email)
	}
	if w.loggedIn(accounts.ToPortal, session) {
		t.Error("still logged in after it was undone")
	}
	for _, token := range []string{undo, other, "x", ""} {
		if _, err := w.undo(token); !errs.Is(err, errs.LinkExpired) {
			t.Errorf("undoing by %q: %v, want E1107", token, err)
		}
	}
	if rows := w.Audit(audit.Filter{Object: "user/" + string(u.ID), Limit: 1}); rows[0].Details[0].Before != "evil@example.org" || rows[0].IP != from.IP {
		t.Errorf("recorded %+v", rows[0])
	}
}

// Nobody has a mailbox flooded by asking again and again.
func TestCodesForAnAddressAreFew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	u := w.User("una")
	for n := range 10 {
		if err := w.begin(u, "victim@example.org"); err != nil {
			t.Errorf("code %d: %v", n, err)
		}
		if err := w.begin(u, "victim@example.org"); !errs.Is(err, errs.TooManyAttempts) || n < 9 && errs.Find(err).Args["n"] != 60 {
			t.Errorf("after code %d, at once: %v, want E1104", n, err)
		}
		move(time.Minute)
	}
	if err := w.begin(u, "victim@example.org"); !errs.Is(err, errs.TooManyAttempts) {
		t.Errorf("the eleventh in a day: %v, want E1104", err)
	}
	move(day)
	if err := w.begin(u, "victim@example.org"); err != nil {
		t.Errorf("a day later: %v", err)
	}
}

// The later link undoes the later change, and leaves the earlier one to the
// earlier link.
func TestUndoTheLaterChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	u := w.User("una")
	var links []string
	for _, address := range []string{"b@example.org", "c@example.org"} {
		move(time.Hour)
		if err := w.begin(u, address); err != nil {
			t.Fatal(err)
		}
		if err := w.confirm(u, w.code()); err != nil {
			t.Fatal(err)
		}
		links = append(links, w.Token(w.last().Values["link"], "/email/undo"))
	}
	for n, want := range []string{"b@example.org", "una@example.org"} {
		if _, err := w.undo(links[1-n]); err != nil || w.Find(u.ID).Email != want {
			t.Errorf("undone to %s, %v; want %s", w.Find(u.ID).Email, err, want)
		}
	}
	move(time.Hour)
	if err := w.begin(u, "d@example.org"); err != nil {
		t.Fatal(err)
	}
	if err := w.confirm(u, w.code()); err != nil {
		t.Fatal(err)
	}
	late := w.Token(w.last().Values["link"], "/email/undo")
	move(72 * time.Hour)
	if _, err := w.undo(late); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("after 72 hours: %v, want E1107", err)
	}
}

// Who reads the mail of an address of before gets in by none of its links.
func TestUpdatedAddressEndsLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock()
	u := w.User("una")
	purposes := []accounts.Purpose{accounts.ForReset, accounts.ForActivation, accounts.ForEmail}
	for _, change := range []struct {
		c    accounts.Changes
		want bool
	}{{accounts.Changes{FirstName: new("Una")}, true}, {accounts.Changes{Email: new("new@example.org")}, false}} {
		w.Write(func(tx *db.Tx) error {
			for _, p := range purposes {
				if _, err := accounts.NewLink(t.Context(), tx, p, u.ID, time.Hour, nil); err != nil {
					return err
				}
			}
			if _, err := accounts.Update(t.Context(), tx, system, u.ID, change.c); err != nil {
				return err
			}
			for _, p := range purposes {
				if got, err := accounts.Waits(t.Context(), tx, p, u.ID); err != nil || got != change.want {
					t.Errorf("a link for %s waits: %v, %v; want %v", p, got, err, change.want)
				}
			}
			return nil
		})
	}
}
