// Package accountstest gives tests the ground that everything with accounts
// stands on: a database with one organisation, whose accounts and settings are
// made in one line each, whose clock the test moves, and whose waiting mail it
// can read.
package accountstest

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/settings"
)

// System is who makes what a test needs to be there.
var System = access.System("test")

// Password is that of the accounts of User and Admin.
const Password = "Correct horse 1"

// Address is the server's, to which the links lead.
const Address = "https://backup.example.org"

// World is a database with one organisation. What is there to be done to it
// fails the test where it does not succeed, except for what returns an error.
type World struct {
	*testing.T
	DB     *db.DB
	DSN    string // of DB, for a second server
	Ring   *keys.Ring
	KeyDir string // of Ring
	Hasher *passwords.Hasher
	Org    orgs.Org

	past time.Duration // that the clock was moved
}

// New makes a world that ends with the test.
func New(t *testing.T) *World {
	t.Helper()
	w := &World{T: t, DSN: dbtest.DSN(t), KeyDir: t.TempDir(), Hasher: &passwords.Hasher{Time: 1, Memory: 8}}
	w.DB = dbtest.Open(t, w.DSN)
	w.DB.Now = func() time.Time { return time.Now().Add(w.past) }
	var err error
	if w.Ring, err = keys.Open(w.KeyDir); err != nil {
		t.Fatal(err)
	}
	w.Write(func(tx *db.Tx) (err error) {
		w.Org, err = orgs.Create(t.Context(), tx, System, w.Ring, "Example")
		return err
	})
	return w
}

// Stop makes the clock stand still at a time until it is moved.
func (w *World) Stop(at time.Time) {
	at = at.Add(-w.past)
	w.DB.Now = func() time.Time { return at.Add(w.past) }
}

// Move moves the clock.
func (w *World) Move(d time.Duration) { w.past += d }

// Past is how far the clock was moved in all.
func (w *World) Past() time.Duration { return w.past }

// Write does f in a transaction.
func (w *World) Write(f func(*db.Tx) error) {
	w.Helper()
	if err := w.Try(f); err != nil {
		w.Fatal(err)
	}
}

// Try does f in a transaction, and returns what came of it.
func (w *World) Try(f func(*db.Tx) error) error { return w.DB.Write(w.Context(), f) }

// Read does f in a transaction that writes nothing.
func (w *World) Read(f func(*db.Tx) error) {
	w.Helper()
	if err := w.DB.Read(w.Context(), f); err != nil {
		w.Fatal(err)
	}
}

// Hash is how a password is kept.
func (w *World) Hash(password string) string {
	w.Helper()
	hash, err := w.Hasher.Hash(w.Context(), password)
	if err != nil {
		w.Fatal(err)
	}
	return hash
}

// Create makes an account: a user of the organisation unless n says otherwise.
func (w *World) Create(by access.Caller, n accounts.New) (u accounts.User, err error) {
	w.Helper()
	if n.Org == "" {
		n.Org = w.Org.ID
	}
	if n.Kind == "" {
		n.Kind = access.UserKind
	}
	err = w.Try(func(tx *db.Tx) (err error) {
		u, err = accounts.Create(w.Context(), tx, by, w.Ring, n)
		return err
	})
	return u, err
}

// Made is Create by System, which must succeed.
func (w *World) Made(n accounts.New) accounts.User {
	w.Helper()
	u, err := w.Create(System, n)
	if err != nil {
		w.Fatal(err)
	}
	return u
}

// Boss makes an administrator of the organisation whom mail reaches.
func (w *World) Boss() accounts.User {
	w.Helper()
	return w.Made(accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "boss", Email: "boss@example.org", PasswordHash: "x"})
}

// User makes an active user with an address made of the name.
func (w *World) User(username string) accounts.User {
	w.Helper()
	return w.Made(accounts.New{Username: username, Email: username + "@example.org", PasswordHash: w.Hash(Password)})
}

// Admin makes an active administrator.
func (w *World) Admin(username string, role access.Role) accounts.User {
	w.Helper()
	return w.Made(accounts.New{Kind: access.AdminKind, Role: role, Username: username, PasswordHash: w.Hash(Password)})
}

// Find is the account as it is now.
func (w *World) Find(id accounts.ID) (u accounts.User) {
	w.Helper()
	w.Read(func(tx *db.Tx) (err error) {
		u, err = accounts.Find(w.Context(), tx, id)
		return err
	})
	return u
}

// Named is the account of that name as it is now.
func (w *World) Named(username string) (u accounts.User) {
	w.Helper()
	w.Read(func(tx *db.Tx) (err error) {
		u, err = accounts.FindByUsername(w.Context(), tx, username)
		return err
	})
	return u
}

// Put puts an account into a state.
func (w *World) Put(id accounts.ID, state accounts.State) {
	w.Helper()
	w.Write(func(tx *db.Tx) error {
		return accounts.SetState(w.Context(), tx, System, id, state, "because it is a test")
	})
}

// Licence makes a licence of the organisation.
func (w *World) Licence(name string, active, preserved int) (l orgs.Licence) {
	w.Helper()
	w.Write(func(tx *db.Tx) (err error) {
		l, err = orgs.CreateLicence(w.Context(), tx, System, w.Ring,
			orgs.NewLicence{Org: w.Org.ID, Name: name, SeatsActive: active, SeatsPreserved: preserved})
		return err
	})
	return l
}

// Set changes the settings.
func (w *World) Set(edit func(*settings.Settings)) {
	w.Helper()
	w.Write(func(tx *db.Tx) error {
		return settings.Change(w.Context(), tx, System, func(s *settings.Settings) error { edit(s); return nil })
	})
}

// Audit is what was recorded, the newest first.
func (w *World) Audit(f audit.Filter) (rows []audit.Row) {
	w.Helper()
	w.Read(func(tx *db.Tx) (err error) {
		rows, err = audit.List(w.Context(), tx, System, f)
		return err
	})
	return rows
}

// Mails are what waits to be sent, the oldest first, with its values.
func (w *World) Mails() (list []mail.Mail) {
	w.Helper()
	w.Read(func(tx *db.Tx) error {
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
			body, err := w.Ring.Unseal("mail", sealed)
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
	return list
}

// Token is that of a link of ours, which must lead to page.
func (w *World) Token(link, page string) string {
	w.Helper()
	u, err := url.Parse(link)
	if err != nil || !strings.HasPrefix(link, Address+page+"?") || u.Query().Get("token") == "" {
		w.Fatalf("the link is %q, want one to %s%s with a token", link, Address, page)
	}
	return u.Query().Get("token")
}
