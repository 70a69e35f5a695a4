package api

import (
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors/factorstest"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/wire"
)

// enrolTOTP gives a user an authenticator app.
func (h *host) enrolTOTP(u accounts.User) (secret string) {
	h.t.Helper()
	by := u.Caller(access.Caller{})
	err := h.DB.Write(h.t.Context(), func(tx *db.Tx) error {
		app, err := h.Gate.Factors.BeginTOTP(h.t.Context(), tx, by)
		if err != nil {
			return err
		}
		secret = app.Secret
		return h.Gate.Factors.ConfirmTOTP(h.t.Context(), tx, by, factorstest.Code(h.t, secret, tx.Now()))
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.later(31 * time.Second) // that code is used
	return secret
}

func TestSecondFactor(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.mails()
	alice := h.newUser("alice")
	d := h.activate("alice")
	secret := h.enrolTOTP(alice)
	code := func() string { return factorstest.Code(t, secret, h.DB.Now()) }
	c := h.client("", nil)

	in := request(t, "alice")
	_, err := c.Activate(t.Context(), in)
	if methods := wire.FactorMethods(err); !wire.NeedsCode(err) || len(methods) != 1 || methods[0] != wire.FactorTOTP {
		t.Errorf("activating without a code = %v", err)
	}
	in.Password = "wrong"
	if _, err := c.Activate(t.Context(), in); !errs.Is(err, errs.AuthFailed) || wire.NeedsCode(err) {
		t.Errorf("activating with a wrong password = %v, want E1101", err)
	}
	in.Password, in.SecondFactor = password, "000000"
	if _, err := c.Activate(t.Context(), in); !wire.NeedsCode(err) {
		t.Errorf("activating with a wrong code = %v", err)
	}
	in.SecondFactor = code()
	if _, err := c.Activate(t.Context(), in); err != nil {
		t.Errorf("activating with the code = %v", err)
	}
	other := request(t, "alice")
	other.SecondFactor = in.SecondFactor
	if _, err := c.Activate(t.Context(), other); !wire.NeedsCode(err) {
		t.Errorf("activating with a used code = %v", err)
	}

	// Opening data asks for it once; a token that is still good stands for it.
	h.later(31 * time.Second)
	if _, err := d.Login(t.Context(), password, nil); !wire.NeedsCode(err) {
		t.Errorf("a user token without a code = %v", err)
	}
	first, err := d.UserToken(t.Context(), wire.UserTokenRequest{Password: password, SecondFactor: code()}, "")
	if err != nil {
		t.Fatal(err)
	}
	h.later(14 * time.Minute)
	second, err := d.UserToken(t.Context(), wire.UserTokenRequest{Password: password}, first.Token)
	if err != nil {
		t.Fatalf("renewing the token: %v", err)
	}
	if _, err := d.UserToken(t.Context(), wire.UserTokenRequest{Password: "wrong"}, second.Token); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("renewing with a wrong password = %v, want E1101", err)
	}
	bob := h.newUser("bob")
	b := h.activate("bob")
	if _, err := b.UserToken(t.Context(), wire.UserTokenRequest{Password: password}, second.Token); err != nil {
		t.Errorf("another's token hinders: %v", err)
	}
	h.enrolTOTP(bob)
	if _, err := b.UserToken(t.Context(), wire.UserTokenRequest{Password: password}, second.Token); !wire.NeedsCode(err) {
		t.Errorf("another's token stands for the second factor: %v", err)
	}
	h.later(15 * time.Minute)
	if _, err := d.UserToken(t.Context(), wire.UserTokenRequest{Password: password}, second.Token); !wire.NeedsCode(err) {
		t.Errorf("a token that ended stands for the second factor: %v", err)
	}

	// Changing the password asks for it as well.
	change := wire.ChangePassword{Password: password, NewPassword: "Alices-Other-8"}
	if err := d.ChangePassword(t.Context(), change); !wire.NeedsCode(err) {
		t.Errorf("changing the password without a code = %v", err)
	}
	change.SecondFactor = code()
	if err := d.ChangePassword(t.Context(), change); err != nil {
		t.Error(err)
	}
}

// A chain of renewed tokens ends some time after the second factor was given.
func TestSecondFactorIsAskedForAgain(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.mails()
	h.set(func(s *settings.Settings) { s.SignIn.UserIdleMinutes, s.SignIn.UserAbsoluteMinutes = 30, 60 })
	alice := h.newUser("alice")
	d := h.activate("alice")
	secret := h.enrolTOTP(alice)
	token, err := d.UserToken(t.Context(), wire.UserTokenRequest{Password: password, SecondFactor: factorstest.Code(t, secret, h.DB.Now())}, "")
	for minutes := 0; minutes < 60 && err == nil; minutes += 14 {
		h.later(14 * time.Minute)
		token, err = d.UserToken(t.Context(), wire.UserTokenRequest{Password: password}, token.Token)
	}
	if !wire.NeedsCode(err) {
		t.Errorf("after an hour of renewals: %v, want to be asked for a code", err)
	}
}

// Where the profile demands a second factor, who has none is told to set one up.
func TestSecondFactorIsDemanded(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("alice")
	d := h.activate("alice")
	h.demandFactor()
	in := request(t, "alice")
	_, err := h.client("", nil).Activate(t.Context(), in)
	if e := errs.Find(err); e == nil || e.Key != "login.second_factor.missing" || e.Kind != errs.Forbidden {
		t.Errorf("activating = %v", err)
	}
	if _, err := d.UserToken(t.Context(), wire.UserTokenRequest{Password: password}, ""); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("a user token = %v", err)
	}
	if _, err := d.Snapshots(t.Context()); err != nil {
		t.Errorf("the device itself: %v", err)
	}
	in.Password = "wrong"
	if _, err := h.client("", nil).Activate(t.Context(), in); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("with a wrong password: %v, want E1101", err)
	}
}

// demandFactor has the organisation's profile demand a second factor.
func (h *host) demandFactor() {
	h.t.Helper()
	err := h.DB.Write(h.t.Context(), func(tx *db.Tx) error {
		by := access.System("test")
		p, err := profiles.Default(h.t.Context(), tx, h.org.ID)
		if err != nil {
			return err
		}
		p.Settings.SecondFactor = profile.Required
		_, err = profiles.Save(h.t.Context(), tx, by, p.ID, p.Revision, profiles.Changes{Settings: &p.Settings})
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
}
