package accounts_test

import (
	"fmt"
	"strings"
	"testing"

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
