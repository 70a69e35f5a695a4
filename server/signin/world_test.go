package signin_test

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/accounts/accountstest"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/signin"
	"github.com/pquerna/otp/totp"
)

var system = accountstest.System

const password = accountstest.Password

// world is one with a default profile, and the gate to it.
type world struct {
	*accountstest.World
	g *signin.Gate
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: accountstest.New(t)}
	url := func() string { return accountstest.Address }
	w.g = &signin.Gate{DB: w.DB, Hasher: w.Hasher, Keys: w.Ring, URL: url, PadTo: -1,
		Factors: &factors.Factors{DB: w.DB, Keys: w.Ring, Name: "Test", URL: url}}
	w.Write(func(tx *db.Tx) error {
		_, err := profiles.Create(t.Context(), tx, system, w.Org.ID, "Default", "", profile.Defaults())
		return err
	})
	return w
}

// stop makes the clock stand still until it is moved.
func (w *world) stop() { w.Stop(w.DB.Now()) }

// come logs a user in to the portal with the usual password, and begins a
// session.
func (w *world) come(username string) signin.Started {
	w.Helper()
	return w.comeBy(accounts.ToPortal, username, password)
}

func (w *world) comeBy(portal accounts.Portal, username, password string) signin.Started {
	w.Helper()
	from := access.Caller{IP: "198.51.100.99", RequestID: "r"}
	u, err := w.g.Login(w.Context(), from, signin.Attempt{Portal: portal, Identifier: username, Password: password})
	if err != nil {
		w.Fatal(err)
	}
	s, err := w.g.Start(w.Context(), from, u, portal, "Browser/1", "", "", "")
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// app gives an account an authenticator app, and returns its secret.
func (w *world) app(u accounts.User) (secret string) {
	w.Helper()
	by := u.Caller(from)
	w.Write(func(tx *db.Tx) error {
		app, err := w.g.Factors.BeginTOTP(w.Context(), tx, by)
		secret = app.Secret
		return err
	})
	w.Write(func(tx *db.Tx) error { return w.g.Factors.ConfirmTOTP(w.Context(), tx, by, w.code(secret)) })
	w.Move(time.Minute) // a code is good once
	return secret
}

// code is what the app shows now.
func (w *world) code(secret string) string {
	w.Helper()
	code, err := totp.GenerateCode(strings.ReplaceAll(secret, " ", ""), w.DB.Now())
	if err != nil {
		w.Fatal(err)
	}
	return code
}
