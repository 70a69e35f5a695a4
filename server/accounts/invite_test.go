package accounts_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/settings"
)

// last is the newest mail.
func (w *world) last() mail.Mail {
	w.Helper()
	all := w.Mails()
	if len(all) == 0 {
		w.Fatal("no mail waits")
	}
	return all[len(all)-1]
}

// mail is the newest one, of this template to this address.
func (w *world) mail(template mail.Template, to string) mail.Mail {
	w.Helper()
	m := w.last()
	if m.Template != template || m.To != to {
		w.Fatalf("no mail %s to %s: the last is %+v", template, to, m)
	}
	return m
}

func (w *world) invite(by access.Caller, id accounts.ID, opts accounts.InviteOptions) (link string, err error) {
	w.Helper()
	err = w.Try(func(tx *db.Tx) (err error) {
		link, err = accounts.Invite(w.Context(), tx, by, w.Ring, server, id, opts)
		return err
	})
	return link, err
}

func (w *world) goodLink(p accounts.Purpose, token string) bool {
	w.Helper()
	err := w.Try(func(tx *db.Tx) error {
		_, _, err := accounts.PeekLink(w.Context(), tx, p, token)
		return err
	})
	if err != nil && !errs.Is(err, errs.LinkExpired) {
		w.Fatal(err)
	}
	return err == nil
}

func TestInvite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	w.Set(func(s *settings.Settings) { s.SignIn.ActivationDays = 3 })
	u, err := w.Create(system, accounts.New{Username: "una", Email: "una@example.org", Language: "fr"})
	if err != nil {
		t.Fatal(err)
	}
	secret := passwords.Readable()
	link, err := w.invite(system, u.ID, accounts.InviteOptions{Secret: secret, Hash: w.Hasher.HashRandom(secret), Command: "backstay activate"})
	if err != nil || link != "" {
		t.Fatalf("Invite = %q, %v; the link belongs into the mail", link, err)
	}
	m := w.mail("activation", "una@example.org")
	if m.Values["username"] != "una" || m.Values["secret"] != secret || m.Values["days"] != "3" || m.Values["portal"] != server || m.Values["command"] != "backstay activate" {
		t.Errorf("mailed %v", m.Values)
	}
	first := w.Token(m.Values["link"], "/password")
	got := w.Find(u.ID)
	if ok, err := got.Knows(t.Context(), w.Hasher, secret); !ok || err != nil || got.State != accounts.Invited || !got.TemporaryUntil.Equal(w.DB.Now().Add(3*day)) {
		t.Errorf("the secret is good %v, %v; %s until %v", ok, err, got.State, got.TemporaryUntil)
	}
	if !w.goodLink(accounts.ForActivation, first) {
		t.Error("the link is not good")
	}

	// Another one: the first is void, and so is its secret.
	again := passwords.Readable()
	link, err = w.invite(system, u.ID, accounts.InviteOptions{Secret: again, Hash: w.Hasher.HashRandom(again), NoMail: true})
	if err != nil || len(w.Mails()) != 1 {
		t.Errorf("without a mail: %v, %d mails", err, len(w.Mails()))
	}
	second := w.Token(link, "/password")
	if w.goodLink(accounts.ForActivation, first) || !w.goodLink(accounts.ForActivation, second) {
		t.Error("the older link is good, or the newer is not")
	}
	if ok, _ := w.Find(u.ID).Knows(t.Context(), w.Hasher, secret); ok {
		t.Error("the older secret is still good")
	}
	rows := w.Audit(audit.Filter{Object: "user/" + string(u.ID), Limit: 2})
	if rows[0].Details[0].After != "link_copied" || rows[1].Details[0].After != "mailed" {
		t.Errorf("recorded %+v", rows)
	}
	for _, r := range w.Audit(audit.Filter{Limit: 500}) {
		text := fmt.Sprint(r.Details)
		for _, s := range []string{secret, again, first, second} {
			if strings.Contains(text, s) {
				t.Errorf("a secret is in the record %s", text)
			}
		}
	}
	move(3 * day)
	if w.goodLink(accounts.ForActivation, second) {
		t.Error("the link is good after its days")
	}

	// It is for accounts without a password.
	active, silent := w.User("active"), accounts.User{}
	if silent, err = w.Create(system, accounts.New{Username: "silent"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		by   access.Caller
		id   accounts.ID
		want errs.Kind
	}{
		{"somebody with a password", system, active.ID, errs.Conflict},
		{"without an address", system, silent.ID, errs.Invalid},
		{"by a colleague", active.Caller(from), u.ID, errs.NotFound},
		{"nobody", system, "none", errs.NotFound},
	} {
		if _, err := w.invite(c.by, c.id, accounts.InviteOptions{}); errs.KindOf(err) != c.want {
			t.Errorf("%s: %v, want kind %d", c.name, err, c.want)
		}
	}
	if link, err := w.invite(system, silent.ID, accounts.InviteOptions{NoMail: true}); err != nil || link == "" {
		t.Errorf("a link to hand over: %q, %v", link, err)
	}
	if len(w.Mails()) != 1 {
		t.Errorf("%d mails", len(w.Mails()))
	}
	boss, err := w.Create(system, accounts.New{Username: "boss", Kind: access.AdminKind, Role: access.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	link, err = w.invite(system, boss.ID, accounts.InviteOptions{NoMail: true})
	if err != nil {
		t.Fatal(err)
	}
	w.Token(link, "/admin/password")
}

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

func TestSharedAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock()
	una, vic := w.User("una"), w.User("vic")
	if _, err := w.Create(system, accounts.New{Username: "una-2", Email: "UNA@example.org"}); err != nil {
		t.Errorf("an address for two: %v", err)
	}
	w.Set(func(s *settings.Settings) { s.Registration.SharedEmails = false })
	if _, err := w.Create(system, accounts.New{Username: "una-3", Email: "Una@EXAMPLE.org"}); errs.KindOf(err) != errs.Conflict {
		t.Errorf("an address for two where that is forbidden: %v, want Conflict", err)
	}
	address := "una@example.org"
	err := w.Try(func(tx *db.Tx) error {
		_, err := accounts.Update(t.Context(), tx, system, vic.ID, accounts.Changes{Email: &address})
		return err
	})
	if errs.KindOf(err) != errs.Conflict {
		t.Errorf("changing to it: %v, want Conflict", err)
	}
	// The code is sent all the same: nobody learns who has the address, but who
	// reads its mail.
	if err := w.begin(vic, address); err != nil {
		t.Fatal(err)
	}
	if err := w.confirm(vic, w.code()); errs.KindOf(err) != errs.Conflict || w.Find(vic.ID).Email != "vic@example.org" {
		t.Errorf("confirming it: %v, want Conflict", err)
	}
	// Those who share one already keep it, and change something else.
	name := "New"
	if err := w.Try(func(tx *db.Tx) error {
		_, err := accounts.Update(t.Context(), tx, system, una.ID, accounts.Changes{FirstName: &name})
		return err
	}); err != nil {
		t.Errorf("changing a name: %v", err)
	}
}

func TestUsernames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	for _, name := range []string{"admin", "Root", "SYSTEM", "administrator"} {
		if _, err := w.Create(system, accounts.New{Username: name, State: accounts.Pending}); errs.KindOf(err) != errs.Invalid {
			t.Errorf("registering as %q: %v, want Invalid", name, err)
		}
	}
	if _, err := w.Create(system, accounts.New{Username: "admin"}); err != nil {
		t.Errorf("an administrator gives it: %v", err)
	}
	u, vic := w.User("una"), w.User("vic")
	rename := func(id accounts.ID, name string) error {
		return w.Try(func(tx *db.Tx) error {
			_, err := accounts.Update(t.Context(), tx, system, id, accounts.Changes{Username: &name})
			return err
		})
	}
	if err := rename(u.ID, "una.nemo"); err != nil {
		t.Fatal(err)
	}
	move(90*day - time.Microsecond)
	if err := rename(vic.ID, "UNA"); errs.KindOf(err) != errs.Conflict {
		t.Errorf("somebody else takes the old name: %v, want Conflict", err)
	}
	if _, err := w.Create(system, accounts.New{Username: "una"}); errs.KindOf(err) != errs.Conflict {
		t.Errorf("a new account with the old name: %v, want Conflict", err)
	}
	if err := rename(u.ID, "una"); err != nil {
		t.Errorf("back to one's own: %v", err)
	}
	if err := rename(u.ID, "u"); err != nil { // which starts the 90 days again
		t.Fatal(err)
	}
	move(90 * day)
	if err := rename(vic.ID, "una"); err != nil {
		t.Errorf("after 90 days: %v", err)
	}
}

func TestRequestDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock()
	una, vic := w.User("una"), w.User("vic")
	for name, role := range map[string]access.Role{"boss": access.ServerAdmin, "org": access.OrgAdmin, "viewer": access.Viewer} {
		_, err := w.Create(system, accounts.New{Kind: access.AdminKind, Role: role, Username: name, Email: name + "@example.org", PasswordHash: w.Hash(password)})
		if err != nil {
			t.Fatal(err)
		}
	}
	ask := func(u accounts.User) error {
		return w.Try(func(tx *db.Tx) error { return accounts.RequestDeletion(t.Context(), tx, u.Caller(from), w.Ring) })
	}
	open := func() (names string) {
		t.Helper()
		w.Write(func(tx *db.Tx) error {
			list, err := accounts.Requests(t.Context(), tx, system, w.Org.ID)
			for names = ""; len(list) > 0; list = list[1:] {
				names += list[0].Username + " "
			}
			return err
		})
		return names
	}
	w.Write(func(tx *db.Tx) error { return accounts.SetHold(t.Context(), tx, system, vic.ID, true) })
	// Twice is once, and a hold is not to be noticed.
	for _, u := range []accounts.User{una, una, vic} {
		if err := ask(u); err != nil {
			t.Errorf("%s asks: %v", u.Username, err)
		}
	}
	var to []string
	for _, m := range w.Mails() {
		to = append(to, string(m.Template)+" "+m.To+" "+m.Values["username"])
	}
	want := []string{"deletion_requested boss@example.org una", "deletion_requested org@example.org una",
		"deletion_requested boss@example.org vic", "deletion_requested org@example.org vic"}
	if fmt.Sprint(to) != fmt.Sprint(want) {
		t.Errorf("mailed %v, want %v", to, want)
	}
	if got := open(); got != "una vic " {
		t.Errorf("open are %q", got)
	}
	if err := w.setState(una.ID, accounts.Deleted); err != nil {
		t.Fatal(err)
	}
	if got := open(); got != "vic " {
		t.Errorf("after the deletion open are %q", got)
	}
	var id string
	w.Write(func(tx *db.Tx) error {
		list, err := accounts.Requests(t.Context(), tx, system, "")
		id = list[0].ID
		return err
	})
	refuse := func(by access.Caller) error {
		return w.Try(func(tx *db.Tx) error { return accounts.RefuseRequest(t.Context(), tx, by, id) })
	}
	if err := refuse(vic.Caller(from)); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("a user refuses: %v", err)
	}
	if err := refuse(system); err != nil {
		t.Error(err)
	}
	if err := refuse(system); errs.KindOf(err) != errs.NotFound {
		t.Errorf("twice: %v, want NotFound", err)
	}
	err := w.Try(func(tx *db.Tx) error {
		_, err := accounts.Requests(t.Context(), tx, vic.Caller(from), w.Org.ID)
		return err
	})
	if errs.KindOf(err) != errs.NotFound && errs.KindOf(err) != errs.Forbidden {
		t.Errorf("a user lists the requests: %v", err)
	}
}
