package signin_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/server/signin"
	"github.com/pquerna/otp/totp"
)

var system = access.System("test")

const password = "Correct horse 1"

// world is a database with one organisation.
type world struct {
	*testing.T
	d    *db.DB
	ring *keys.Ring
	h    *passwords.Hasher
	g    *signin.Gate
	org  orgs.Org
	past time.Duration // that the clock was moved
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ring, err := keys.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, d: dbtest.New(t), ring: ring, h: &passwords.Hasher{Time: 1, Memory: 8}}
	w.d.Now = func() time.Time { return time.Now().Add(w.past) }
	url := func() string { return "https://backup.example.org" }
	w.g = &signin.Gate{DB: w.d, Hasher: w.h, Keys: ring, URL: url, PadTo: -1,
		Factors: &factors.Factors{DB: w.d, Keys: ring, Name: "Test", URL: url}}
	w.write(func(tx *db.Tx) error {
		if w.org, err = orgs.Create(t.Context(), tx, system, ring, "Example"); err != nil {
			return err
		}
		_, err = profiles.Create(t.Context(), tx, system, w.org.ID, "Default", "", profile.Defaults())
		return err
	})
	return w
}

// move moves the clock.
func (w *world) move(d time.Duration) { w.past += d }

// write fails the test when f does.
func (w *world) write(f func(*db.Tx) error) {
	w.Helper()
	if err := w.d.Write(w.Context(), f); err != nil {
		w.Fatal(err)
	}
}

func (w *world) hash(password string) string {
	w.Helper()
	hash, err := w.h.Hash(w.Context(), password)
	if err != nil {
		w.Fatal(err)
	}
	return hash
}

func (w *world) create(by access.Caller, n accounts.New) (u accounts.User, err error) {
	w.Helper()
	if n.Org == "" {
		n.Org = w.org.ID
	}
	if n.Kind == "" {
		n.Kind = access.UserKind
	}
	err = w.d.Write(w.Context(), func(tx *db.Tx) (err error) {
		u, err = accounts.Create(w.Context(), tx, by, w.ring, n)
		return err
	})
	return u, err
}

// user makes an active user, address and password as given.
func (w *world) user(username string) accounts.User {
	w.Helper()
	u, err := w.create(system, accounts.New{Username: username, Email: username + "@example.org", PasswordHash: w.hash(password)})
	if err != nil {
		w.Fatal(err)
	}
	return u
}

func (w *world) admin(username string, role access.Role) accounts.User {
	w.Helper()
	u, err := w.create(system, accounts.New{Kind: access.AdminKind, Role: role, Username: username, PasswordHash: w.hash(password)})
	if err != nil {
		w.Fatal(err)
	}
	return u
}

func (w *world) find(id accounts.ID) (u accounts.User) {
	w.Helper()
	err := w.d.Read(w.Context(), func(tx *db.Tx) (err error) {
		u, err = accounts.Find(w.Context(), tx, id)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return u
}

func (w *world) audit(f audit.Filter) (rows []audit.Row) {
	w.Helper()
	err := w.d.Read(w.Context(), func(tx *db.Tx) (err error) {
		rows, err = audit.List(w.Context(), tx, system, f)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return rows
}

// stop makes the clock stand still until it is moved.
func (w *world) stop() {
	now := time.Now()
	w.d.Now = func() time.Time { return now.Add(w.past) }
}

func (w *world) named(username string) (u accounts.User) {
	w.Helper()
	err := w.d.Read(w.Context(), func(tx *db.Tx) (err error) {
		u, err = accounts.FindByUsername(w.Context(), tx, username)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return u
}

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
	w.write(func(tx *db.Tx) error {
		app, err := w.g.Factors.BeginTOTP(w.Context(), tx, by)
		secret = app.Secret
		return err
	})
	w.write(func(tx *db.Tx) error { return w.g.Factors.ConfirmTOTP(w.Context(), tx, by, w.code(secret)) })
	w.move(time.Minute) // a code is good once
	return secret
}

// code is what the app shows now.
func (w *world) code(secret string) string {
	w.Helper()
	code, err := totp.GenerateCode(strings.ReplaceAll(secret, " ", ""), w.d.Now())
	if err != nil {
		w.Fatal(err)
	}
	return code
}

// set changes the settings.
func (w *world) set(edit func(*settings.Settings)) {
	w.Helper()
	w.write(func(tx *db.Tx) error {
		return settings.Change(w.Context(), tx, system, func(s *settings.Settings) error {
			edit(s)
			return nil
		})
	})
}

// readMails opens what waits to be sent.
func readMails(w *world) (list []mail.Mail, err error) {
	w.g.Wait()
	err = w.d.Read(w.Context(), func(tx *db.Tx) error {
		rows, err := tx.Query(w.Context(), "SELECT template, recipient, user_id, body FROM outbox ORDER BY number")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var m mail.Mail
			var sealed []byte
			if err := rows.Scan(&m.Template, &m.To, &m.User, &sealed); err != nil {
				return err
			}
			body, err := w.ring.Unseal("mail", sealed)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(body, &m.Values); err != nil {
				return err
			}
			list = append(list, m)
		}
		return rows.Err()
	})
	return list, err
}

func tokenOf(t *testing.T, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil || u.Query().Get("token") == "" || !strings.HasPrefix(link, "https://backup.example.org/") {
		t.Fatalf("the link is %q", link)
	}
	return u.Query().Get("token")
}
