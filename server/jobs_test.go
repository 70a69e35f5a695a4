package server

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/profiles"
)

var system = access.System("test")

// idle is a server with an organisation that serves nobody: the test does its
// jobs, at the time that the test says.
type idle struct {
	*Server
	t   *testing.T
	org orgs.Org
	now time.Time
}

func newIdle(t *testing.T, log io.Writer) *idle {
	t.Helper()
	s := &idle{t: t, now: time.Now()}
	var err error
	s.Server, err = New(t.Context(), Config{
		Data: t.TempDir(), DB: dbtest.DSN(t), Hasher: &passwords.Hasher{Time: 1, Memory: 64},
		Now: func() time.Time { return s.now }, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if s.org, _, err = s.EnsureOrg(t.Context(), system, "Test"); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *idle) account(n accounts.New) accounts.User {
	s.t.Helper()
	n.Org = s.org.ID
	u, err := s.NewAccount(s.t.Context(), system, n, "Some-Password-1")
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

func (s *idle) write(f func(tx *db.Tx) error) {
	s.t.Helper()
	if err := s.DB.Write(s.t.Context(), f); err != nil {
		s.t.Fatal(err)
	}
}

// cleanUp does that job so much later, and then looks with f.
func (s *idle) cleanUp(later time.Duration, f func(tx *db.Tx) error) {
	s.t.Helper()
	s.now = s.now.Add(later)
	if err := s.expire(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	if err := s.DB.Read(s.t.Context(), f); err != nil {
		s.t.Fatal(err)
	}
}

func TestCleanUp(t *testing.T) {
	t.Parallel()
	s := newIdle(t, io.Discard)
	user := s.account(accounts.New{Kind: access.UserKind, Username: "user"})
	s.write(func(tx *db.Tx) error {
		if _, _, err := accounts.StartSession(t.Context(), tx, system, user, accounts.NewSession{Portal: accounts.ToPortal}); err != nil {
			return err
		}
		_, err := s.Gate.Factors.BeginTOTP(t.Context(), tx, user.Caller(system))
		return err
	})
	for _, c := range []struct {
		later time.Duration
		want  int
	}{{0, 1}, {366 * 24 * time.Hour, 0}} {
		s.cleanUp(c.later, func(tx *db.Tx) error {
			var n int
			err := tx.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM login_sessions) + (SELECT count(*) FROM totp)`).Scan(&n)
			if n != 2*c.want {
				t.Errorf("%v later %d sessions and unfinished factors are there, want %d of each", c.later, n, c.want)
			}
			return err
		})
	}
}

// The server itself brings the lives of accounts to their end.
func TestCleanUpEndsLives(t *testing.T) {
	t.Parallel()
	s := newIdle(t, io.Discard)
	user := s.account(accounts.New{Kind: access.UserKind, Username: "user"})
	s.write(func(tx *db.Tx) error {
		p, err := profiles.Default(t.Context(), tx, s.org.ID)
		if err != nil {
			return err
		}
		p.Settings.AutoDeletePreservedDays = 30
		if _, err = profiles.Save(t.Context(), tx, system, p.ID, p.Revision, profiles.Changes{Settings: &p.Settings}); err != nil {
			return err
		}
		if _, err = accounts.Create(t.Context(), tx, system, s.Keys, accounts.New{Org: s.org.ID, Kind: access.UserKind, Username: "pending", State: accounts.Pending}); err != nil {
			return err
		}
		return accounts.Preserve(t.Context(), tx, system, user.ID, "")
	})
	for _, c := range []struct {
		later time.Duration
		state accounts.State
		users int
	}{{0, accounts.Preserved, 2}, {24 * time.Hour, accounts.Preserved, 1},
		// Nobody looked for a month: the last warning comes first.
		{30 * 24 * time.Hour, accounts.Preserved, 1}, {24 * time.Hour, accounts.Deleted, 1}, {7 * 24 * time.Hour, accounts.Purged, 1}} {
		s.cleanUp(c.later, func(tx *db.Tx) error {
			u, err := accounts.Find(t.Context(), tx, user.ID)
			if err != nil {
				return err
			}
			var users int
			err = tx.QueryRow(t.Context(), `SELECT count(*) FROM users`).Scan(&users)
			if u.State != c.state || users != c.users {
				t.Errorf("%v later the user is %s and %d are there, want %s and %d", c.later, u.State, users, c.state, c.users)
			}
			return err
		})
	}
}

func TestEnsureOrgIsRepeatable(t *testing.T) {
	t.Parallel()
	s, err := New(t.Context(), Config{Data: t.TempDir(), DB: dbtest.DSN(t), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	first, made, err := s.EnsureOrg(t.Context(), system, "Test")
	if err != nil || !made {
		t.Fatalf("EnsureOrg = %v, made %v", err, made)
	}
	second, made, err := s.EnsureOrg(t.Context(), system, "TEST")
	if err != nil || made || second.ID != first.ID {
		t.Errorf("again: %v, made %v, %s, want %s", err, made, second.ID, first.ID)
	}
}

// The job queues the mail, and the log says which licence was changed by hand.
func TestReminds(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	s := newIdle(t, &logged)
	s.account(accounts.New{Kind: access.AdminKind, Role: access.ServerAdmin, Username: "anna", Email: "anna@example.org"})
	s.write(func(tx *db.Tx) error {
		_, err := orgs.CreateLicence(t.Context(), tx, system, s.Keys, orgs.NewLicence{Org: s.org.ID, Name: "Bureau", SeatsActive: 1, ValidTo: tx.Now().Add(time.Hour)})
		return err
	})
	if err := s.remindOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.write(func(tx *db.Tx) error {
		list, err := mail.List(t.Context(), tx, system, mail.Filter{})
		if len(list) != 1 || list[0].To != "anna@example.org" || list[0].Template != mail.LicenceExpiring {
			t.Errorf("queued %+v, want one about the licence's end", list)
		}
		_, err2 := tx.Exec(t.Context(), "UPDATE licences SET seats_active = 100")
		return errors.Join(err, err2)
	})
	if logged.Len() > 0 {
		t.Errorf("logged %s", logged.String())
	}
	if err := s.remindOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(logged.String(), "changed by hand") {
		t.Errorf("logged %q, want the licence that was changed by hand", logged.String())
	}
}
