package factors_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/factors/factorstest"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
)

var system = access.System("test")

const origin = "https://backup.example.org:8443"

// world is a server's second factors, with one organisation and one user, and
// a clock that the test moves.
type world struct {
	*testing.T
	*factors.Factors
	dsn  string
	now  atomic.Int64 // Unix seconds
	org  orgs.Org
	user accounts.User
	by   access.Caller // the user, in a session
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ring, err := keys.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, dsn: dbtest.DSN(t)}
	w.now.Store(1_800_000_015) // the middle of a step
	w.Factors = w.server(ring)
	w.write(func(tx *db.Tx) error {
		w.org, err = orgs.Create(t.Context(), tx, system, ring, "Example")
		return err
	})
	w.user = w.create(accounts.New{Kind: access.UserKind, Username: "ann", Email: "ann@example.org"})
	w.by = w.user.Caller(access.Caller{Session: "session-1"})
	return w
}

// server is another server on the same database.
func (w *world) server(ring *keys.Ring) *factors.Factors {
	d := dbtest.Open(w.T, w.dsn)
	d.Now = func() time.Time { return time.Unix(w.now.Load(), 0) }
	return &factors.Factors{DB: d, Keys: ring, Name: "Backstay: example", URL: func() string { return origin }}
}

func (w *world) create(n accounts.New) (u accounts.User) {
	w.Helper()
	n.Org, n.PasswordHash = w.org.ID, "hash"
	w.write(func(tx *db.Tx) (err error) {
		u, err = accounts.Create(w.Context(), tx, system, w.Keys, n)
		return err
	})
	return u
}

// write fails the test when f does.
func (w *world) write(f func(*db.Tx) error) {
	w.Helper()
	if err := w.DB.Write(w.Context(), f); err != nil {
		w.Fatal(err)
	}
}

func (w *world) of(id accounts.ID) (s factors.Summary) {
	w.Helper()
	w.write(func(tx *db.Tx) (err error) {
		s, err = factors.Of(w.Context(), tx, id)
		return err
	})
	return s
}

// use gives a code for an account, and returns what it was and the error's key.
func (w *world) use(id accounts.ID, code string) (factor, key string) {
	w.Helper()
	err := w.DB.Write(w.Context(), func(tx *db.Tx) (err error) {
		factor, err = w.UseCode(w.Context(), tx, id, code)
		return err
	})
	if err != nil {
		factor = ""
	}
	return factor, w.key(err)
}

// key is the message key of an expected failure, "" for none.
func (w *world) key(err error) string {
	w.Helper()
	if err == nil {
		return ""
	}
	e := errs.Find(err)
	if e == nil {
		w.Fatalf("unexpected: %v", err)
	}
	return e.Key
}

func (w *world) confirm(code string) string {
	w.Helper()
	return w.key(w.DB.Write(w.Context(), func(tx *db.Tx) error { return w.ConfirmTOTP(w.Context(), tx, w.by, code) }))
}

func (w *world) begin(by access.Caller) (app factors.App, err error) {
	err = w.DB.Write(w.Context(), func(tx *db.Tx) (err error) {
		app, err = w.BeginTOTP(w.Context(), tx, by)
		return err
	})
	return app, err
}

// app sets an authenticator app up and returns its secret. The code of now is
// used up by that.
func (w *world) app() string {
	w.Helper()
	app, err := w.begin(w.by)
	if err != nil {
		w.Fatal(err)
	}
	if key := w.confirm(w.code(app.Secret, 0)); key != "" {
		w.Fatalf("ConfirmTOTP = %s", key)
	}
	return app.Secret
}

// code is what an app shows so many steps after now.
func (w *world) code(secret string, steps int64) string {
	w.Helper()
	return factorstest.Code(w.T, secret, time.Unix(w.now.Load()+30*steps, 0))
}

func (w *world) codes() (codes []string) {
	w.Helper()
	w.write(func(tx *db.Tx) (err error) {
		codes, err = w.NewRecoveryCodes(w.Context(), tx, w.by)
		return err
	})
	return codes
}

func (w *world) audit(f audit.Filter) (rows []audit.Row) {
	w.Helper()
	w.write(func(tx *db.Tx) (err error) {
		rows, err = audit.List(w.Context(), tx, system, f)
		return err
	})
	return rows
}

// hundred runs f a hundred times at once, and returns how often it was true.
func hundred(f func() bool) int {
	var done atomic.Int64
	var group sync.WaitGroup
	start := make(chan struct{})
	for range 100 {
		group.Go(func() {
			<-start
			if f() {
				done.Add(1)
			}
		})
	}
	close(start)
	group.Wait()
	return int(done.Load())
}

// mails counts the mails about an account's factors.
func (w *world) mails(id accounts.ID) (n int) {
	w.Helper()
	w.write(func(tx *db.Tx) error {
		return tx.QueryRow(w.Context(), "SELECT COUNT(*) FROM outbox WHERE user_id = $1 AND template = $2", id, mail.SecondFactorChanged).Scan(&n)
	})
	return n
}

// Whoever takes over an account begins with its factors: each change is in the
// audit, and its owner gets a mail.
func TestChangesAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app()
	w.codes()
	w.passkey("key")
	id := w.of(w.user.ID).Passkeys[0].ID
	w.write(func(tx *db.Tx) error { return w.RemovePasskey(t.Context(), tx, w.by, id) })
	w.write(func(tx *db.Tx) error { return w.RemoveTOTP(t.Context(), tx, w.by) })
	if n := w.mails(w.user.ID); n != 5 {
		t.Errorf("%d mails after five changes", n)
	}
	rows := w.audit(audit.Filter{Action: access.ChangeAccount, Object: "user/" + string(w.user.ID)})
	if len(rows) != 5 {
		t.Errorf("%d rows in the audit after five changes", len(rows))
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := w.app()
	codes := w.codes()
	w.passkey("key")
	helper := w.create(accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "helper"})
	viewer := w.create(accounts.New{Kind: access.AdminKind, Role: access.Viewer, Username: "viewer"})
	boss := w.create(accounts.New{Kind: access.AdminKind, Role: access.ServerAdmin, Username: "boss"})
	var session accounts.Session
	w.write(func(tx *db.Tx) (err error) {
		_, session, err = accounts.StartSession(t.Context(), tx, w.by, w.user, accounts.NewSession{Portal: accounts.ToPortal})
		return err
	})
	w.write(func(tx *db.Tx) error { return trusted(t, tx, w.user) })
	reset := func(by access.Caller, id accounts.ID) string {
		return w.key(w.DB.Write(t.Context(), func(tx *db.Tx) error { return w.Reset(t.Context(), tx, by, id) }))
	}
	for _, test := range []struct {
		by  access.Caller
		of  accounts.ID
		key string
	}{
		{w.by, w.user.ID, "access.denied"},
		{w.by, boss.ID, "access.not.found"},
		{viewer.Caller(access.Caller{}), w.user.ID, "access.denied"},
		{helper.Caller(access.Caller{}), boss.ID, "access.denied"},
	} {
		if key := reset(test.by, test.of); key != test.key {
			t.Errorf("Reset by %s = %q, want %q", test.by.Name, key, test.key)
		}
	}
	if s := w.of(w.user.ID); !s.TOTP || len(s.Passkeys) != 1 || s.RecoveryLeft != 10 {
		t.Fatalf("after refused resets: %+v", s)
	}

	if key := reset(helper.Caller(access.Caller{}), w.user.ID); key != "" {
		t.Fatalf("Reset by an administrator = %s", key)
	}
	if s := w.of(w.user.ID); s.Any() || s.RecoveryLeft != 0 {
		t.Errorf("after the reset there is %+v", s)
	}
	for _, code := range []string{w.code(secret, 1), codes[0]} {
		if _, key := w.use(w.user.ID, code); key != "factor.code.wrong" {
			t.Errorf("a code after the reset = %q", key)
		}
	}
	w.write(func(tx *db.Tx) error {
		list, err := accounts.Sessions(t.Context(), tx, w.by, w.user.ID)
		for _, s := range list {
			if s.ID == session.ID {
				t.Error("the session outlived the reset")
			}
		}
		return err
	})
	for _, table := range []string{"user_tokens", "known_browsers"} {
		w.write(func(tx *db.Tx) error {
			var left int
			if err := tx.QueryRow(t.Context(), "SELECT count(*) FROM "+table+" WHERE user_id = $1", w.user.ID).Scan(&left); err != nil || left > 0 {
				t.Errorf("%d rows of %s outlived the reset (%v)", left, table, err)
			}
			return nil
		})
	}
	if n := w.mails(w.user.ID); n != 4 { // the last is of the reset
		t.Errorf("%d mails, want 4", n)
	}
	if rows := w.audit(audit.Filter{Action: access.ManageUsers, Object: "user/" + string(w.user.ID)}); len(rows) == 0 || rows[0].ActorName != "helper" {
		t.Errorf("the audit says %+v", rows)
	}
}

// trusted gives u a token at a device, for which the factor was given, and a
// browser that is known.
func trusted(t *testing.T, tx *db.Tx, u accounts.User) error {
	_, err := tx.Exec(t.Context(), `INSERT INTO devices (id, org, user_id, request_id, state, state_at, state_reason, name, name_key, search,
		machine_id, serial, hostname, os, os_version, arch, os_user, is_system, client_version, signing_key, cert_serial, cert, folders,
		last_seen_at, last_ip, status, status_code, progress, next_run_at, last_backup_at, last_snapshot, last_status, stored_bytes,
		stored_files, profile_version, changed_at, created_at, activated_at)
		VALUES ('d', $1, $2, '', 'active', 0, '', 'd', 'd', '', '', '', '', '', '', '', '', FALSE, '', $3, 1, $3, '', 0, '', '', '', '', 0, 0, '', '',
			0, 0, 0, 0, 0, 0)`,
		u.Org, u.ID, []byte{1})
	if err != nil {
		return err
	}
	if _, _, err := accounts.IssueToken(t.Context(), tx, u.Caller(access.Caller{}), u, "d", tx.Now()); err != nil {
		return err
	}
	_, err = tx.Exec(t.Context(), "INSERT INTO known_browsers (token, user_id, created_at, used_at, expires_at) VALUES ($1, $2, 0, 0, $3)",
		[]byte{1}, u.ID, db.Micros(tx.Now().Add(time.Hour)))
	return err
}

func TestExpire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app() // confirmed: stays
	other := w.create(accounts.New{Kind: access.UserKind, Username: "bob"})
	if _, err := w.begin(other.Caller(access.Caller{})); err != nil {
		t.Fatal(err)
	}
	if _, err := w.BeginEnrol(t.Context(), w.by); err != nil {
		t.Fatal(err)
	}
	expire := func() (n int64) {
		w.write(func(tx *db.Tx) (err error) {
			n, err = factors.Expire(t.Context(), tx)
			return err
		})
		return n
	}
	for _, test := range []struct{ after, want int64 }{{0, 0}, {5 * 60, 1}, {60 * 60, 1}, {24 * 60 * 60, 0}} {
		w.now.Add(test.after)
		if n := expire(); n != test.want {
			t.Errorf("Expire %d seconds later = %d, want %d", test.after, n, test.want)
		}
	}
	if !w.of(w.user.ID).TOTP {
		t.Error("the confirmed app is gone")
	}
}
