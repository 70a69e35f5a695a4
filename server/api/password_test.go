package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/mail/mailtest"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/wire"
)

// set changes the settings.
func (h *host) set(edit func(*settings.Settings)) {
	h.t.Helper()
	err := h.DB.Write(h.t.Context(), func(tx *db.Tx) error {
		return settings.Change(h.t.Context(), tx, access.System("test"), func(s *settings.Settings) error {
			edit(s)
			return nil
		})
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// mails has the host's mail sent, by a real mail server.
func (h *host) mails() *mailtest.Server {
	h.t.Helper()
	m := mailtest.New(h.t)
	h.set(func(s *settings.Settings) { s.Mail = m.Settings })
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	done := make(chan struct{})
	go func() {
		(&mail.Sender{DB: h.DB, Keys: h.Keys, Log: h.Log, Name: "Test", URL: address, Every: 50 * time.Millisecond}).Run(ctx)
		close(done)
	}()
	h.t.Cleanup(func() { cancel(); <-done })
	return m
}

// open lets people with an address in example.org register.
func (h *host) open() {
	h.t.Helper()
	h.set(func(s *settings.Settings) {
		s.Registration.Mode, s.Registration.Domains, s.Registration.Org = settings.RegistrationOpen, []string{"example.org"}, h.org.ID
	})
}

// later moves the clock of the host's database.
func (h *host) later(d time.Duration) { h.shift.Add(int64(d)) }

// Forgotten passwords and names: the same answer for whatever is typed, and a
// mail where there is something to say.
func TestForgotten(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	box := h.mails()
	h.newUser("alice")
	c := h.client("", nil)
	for _, name := range []string{"alice", "nobody", "", "alice@example.org", "x\x00y", strings.Repeat("a", 5000)} {
		answer, _ := h.raw("POST", "password/forgot", "application/json", strings.NewReader(mustJSON(wire.ForgotPassword{Username: name})))
		if answer.StatusCode != http.StatusAccepted || answer.Header.Get("Content-Length") != "2" {
			t.Errorf("forgot %q answers %d, %v", name, answer.StatusCode, answer.Header)
		}
	}
	m := box.Wait("alice@example.org", mail.Reset)
	if !strings.HasPrefix(m.Link(), address()+"/") {
		t.Errorf("the link is %s", m.Link())
	}
	if err := c.ForgotUsername(t.Context(), "alice@example.org"); err != nil {
		t.Error(err)
	}
	if err := c.ForgotUsername(t.Context(), "nobody@example.org"); err != nil {
		t.Error(err)
	}
	if m := box.Wait("alice@example.org", mail.Usernames); !strings.Contains(m.Text, "alice") {
		t.Errorf("the mail says %s", m.Text)
	}
	for _, m := range box.All() {
		if m.To != "alice@example.org" {
			t.Errorf("a mail went to %s", m.To)
		}
	}
}

func mustJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// A temporary password activates nothing; replaced, it is worth nothing.
func TestReplaceTemporary(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.mails()
	hash, err := h.Gate.Hasher.Hash(t.Context(), "Bofad-Likum-42")
	if err != nil {
		t.Fatal(err)
	}
	err = h.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := accounts.Create(t.Context(), tx, access.System("test"), h.Keys, accounts.New{Org: h.org.ID, Kind: access.UserKind,
			Username: "cleo", Email: "cleo@example.org", PasswordHash: hash, Temporary: 24 * time.Hour})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c := h.client("", nil)
	in := request(t, "cleo")
	in.Password = "Bofad-Likum-42"
	if _, err := c.Activate(t.Context(), in); !errs.Is(err, errs.PasswordChange) {
		t.Errorf("activating with a temporary password = %v, want E1105", err)
	}
	own := wire.ReplacePassword{Username: "cleo", Password: "Bofad-Likum-42", NewPassword: "Cleos-Own-Secret-7"}
	for name, test := range map[string]struct {
		edit func(*wire.ReplacePassword)
		want func(error) bool
	}{
		"a wrong one":     {func(r *wire.ReplacePassword) { r.Password = "wrong" }, func(err error) bool { return errs.Is(err, errs.AuthFailed) }},
		"nobody's":        {func(r *wire.ReplacePassword) { r.Username = "nobody" }, func(err error) bool { return errs.Is(err, errs.AuthFailed) }},
		"by a weak one":   {func(r *wire.ReplacePassword) { r.NewPassword = "weak" }, func(err error) bool { return len(wire.BrokenRules(err)) > 0 }},
		"by the same":     {func(r *wire.ReplacePassword) { r.NewPassword = r.Password }, func(err error) bool { return errs.KindOf(err) == errs.Invalid }},
		"by none":         {func(r *wire.ReplacePassword) { r.NewPassword = "" }, func(err error) bool { return errs.KindOf(err) == errs.Invalid }},
		"by its own name": {func(r *wire.ReplacePassword) { r.NewPassword = "Cleo-1234567" }, func(err error) bool { return errs.KindOf(err) == errs.Invalid }},
	} {
		r := own
		test.edit(&r)
		if err := c.ReplacePassword(t.Context(), r); !test.want(err) {
			t.Errorf("replacing %s: %v", name, err)
		}
	}
	if err := c.ReplacePassword(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	if err := c.ReplacePassword(t.Context(), own); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("replacing it again = %v, want E1101", err)
	}
	in.Password = own.NewPassword
	if _, err := c.Activate(t.Context(), in); err != nil {
		t.Error(err)
	}
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	box := h.mails()
	h.newUser("alice")
	d := h.activate("alice")
	before, err := d.UserToken(t.Context(), wire.UserTokenRequest{Password: password}, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.ChangePassword(t.Context(), wire.ChangePassword{Password: "wrong", NewPassword: "Alices-Other-8"}); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("with a wrong password: %v, want E1101", err)
	}
	if err := d.ChangePassword(t.Context(), wire.ChangePassword{Password: password, NewPassword: "short"}); len(wire.BrokenRules(err)) == 0 {
		t.Errorf("to a weak password: %v", err)
	}
	if err := d.ChangePassword(t.Context(), wire.ChangePassword{Password: password, NewPassword: "Alices-Other-8"}); err != nil {
		t.Fatal(err)
	}
	box.Wait("alice@example.org", mail.PasswordChanged)
	if err := d.Read(t.Context(), before.Token, nil, nil); err != nil {
		t.Errorf("an empty read = %v", err)
	}
	if _, err := d.OpenSnapshot(t.Context(), before.Token, strings.Repeat("0", 64), make([]byte, 1216)); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("the token of before = %v, want Unauthenticated", err)
	}
	if _, err := d.Snapshots(t.Context()); err != nil {
		t.Errorf("the device itself: %v", err)
	}
	if _, err := d.UserToken(t.Context(), wire.UserTokenRequest{Password: "Alices-Other-8"}, ""); err != nil {
		t.Error(err)
	}
}

// An address with several accounts: who knows the password of several is told
// their names, and who knows none is told nothing.
func TestChoiceAtActivation(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for _, name := range []string{"ann", "bea"} {
		hash, err := h.Gate.Hasher.Hash(t.Context(), password)
		if err != nil {
			t.Fatal(err)
		}
		err = h.DB.Write(t.Context(), func(tx *db.Tx) error {
			_, err := accounts.Create(t.Context(), tx, access.System("test"), h.Keys, accounts.New{Org: h.org.ID, Kind: access.UserKind,
				Username: name, Email: "both@example.org", PasswordHash: hash})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	c := h.client("", nil)
	in := request(t, "both@example.org")
	_, err := c.Activate(t.Context(), in)
	if names := wire.Choice(err); len(names) != 2 || names[0] != "ann" || names[1] != "bea" {
		t.Errorf("the names are %v, of %v", names, err)
	}
	in.Password = "wrong"
	if _, err := c.Activate(t.Context(), in); !errs.Is(err, errs.AuthFailed) || len(errs.Find(err).Args) > 0 {
		t.Errorf("with a wrong password: %v", err)
	}
	in.Username, in.Password = "bea", password
	if got, err := c.Activate(t.Context(), in); err != nil || got.Username != "bea" {
		t.Errorf("the one that was chosen: %q, %v", got.Username, err)
	}
}
