package accounts_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
)

var from = access.Caller{IP: "192.0.2.1", RequestID: "r"}

// clock makes the database's time stand still until it is moved.
func (w *world) clock() (move func(time.Duration)) {
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	w.DB.Now = func() time.Time { return now }
	return func(d time.Duration) { now = now.Add(d) }
}

func (w *world) session(u accounts.User, portal accounts.Portal, old string) (token string) {
	w.Helper()
	w.Write(func(tx *db.Tx) (err error) {
		token, _, err = accounts.StartSession(w.Context(), tx, from, u, accounts.NewSession{Portal: portal, UserAgent: "Browser/1", Old: old})
		return err
	})
	return token
}

func (w *world) loggedIn(portal accounts.Portal, token string) bool {
	w.Helper()
	_, _, err := accounts.FindSession(w.Context(), w.DB, portal, token)
	if err != nil && errs.KindOf(err) != errs.Unauthenticated {
		w.Fatal(err)
	}
	return err == nil
}

func TestSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock()
	u := w.User("una")
	token := w.session(u, accounts.ToPortal, "")
	s, got, err := accounts.FindSession(t.Context(), w.DB, accounts.ToPortal, token)
	if err != nil || got.ID != u.ID || s.User != u.ID || s.IP != from.IP || s.UserAgent != "Browser/1" {
		t.Errorf("FindSession = %+v, %v, %v", s, got.ID, err)
	}
	for name, other := range map[string]string{
		"cut": token[:len(token)-1], "longer": token + "A", "in another case": strings.ToUpper(token),
		"with a space": " " + token, "with a prefix": "bsa_" + token, "empty": "",
		"another": base64.RawURLEncoding.EncodeToString(make([]byte, 32)),
	} {
		if w.loggedIn(accounts.ToPortal, other) {
			t.Errorf("a token %s is good", name)
		}
	}
	if w.loggedIn(accounts.ToConsole, token) {
		t.Error("a token of the portal is good at the console")
	}
	err = w.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, _, err := accounts.StartSession(t.Context(), tx, from, u, accounts.NewSession{Portal: accounts.ToConsole})
		return err
	})
	if err == nil {
		t.Error("a user has a session at the console")
	}
	// What is stored does not log in, however it is written.
	err = w.DB.Read(t.Context(), func(tx *db.Tx) error {
		var stored []byte
		if err := tx.QueryRow(t.Context(), "SELECT token FROM login_sessions").Scan(&stored); err != nil {
			return err
		}
		if bytes.Contains(stored, []byte(token)) || w.loggedIn(accounts.ToPortal, base64.RawURLEncoding.EncodeToString(stored)) {
			t.Error("the stored hash is a token")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSessionRotates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	planted := w.session(u, accounts.ToPortal, "")
	other := w.session(u, accounts.ToPortal, "")
	fresh := w.session(u, accounts.ToPortal, planted)
	if w.loggedIn(accounts.ToPortal, planted) || !w.loggedIn(accounts.ToPortal, fresh) || !w.loggedIn(accounts.ToPortal, other) {
		t.Error("logging in did not end exactly the session of before")
	}
}

func TestSessionLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		portal accounts.Portal
		steps  []time.Duration
		want   bool
	}{
		{"a user idle almost 8 hours", accounts.ToPortal, []time.Duration{8*time.Hour - time.Second}, true},
		{"a user idle 8 hours", accounts.ToPortal, []time.Duration{8 * time.Hour}, false},
		{"a user busy for almost 24 hours", accounts.ToPortal, []time.Duration{7 * time.Hour, 7 * time.Hour, 7 * time.Hour, 3*time.Hour - time.Second}, true},
		{"a user busy for 24 hours", accounts.ToPortal, []time.Duration{7 * time.Hour, 7 * time.Hour, 7 * time.Hour, 3 * time.Hour}, false},
		{"an administrator idle almost an hour", accounts.ToConsole, []time.Duration{time.Hour - time.Second}, true},
		{"an administrator idle an hour", accounts.ToConsole, []time.Duration{time.Hour}, false},
		// Use within the first minute is not written down; the limit counts from then.
		{"an administrator's last use noted late", accounts.ToConsole, []time.Duration{59 * time.Second, time.Hour - 59*time.Second}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			move := w.clock()
			u := w.User("una")
			if c.portal == accounts.ToConsole {
				u = w.Admin("ada", access.ServerAdmin)
			}
			token := w.session(u, c.portal, "")
			for i, step := range c.steps {
				move(step)
				got := w.loggedIn(c.portal, token)
				if want := c.want || i < len(c.steps)-1; got != want {
					t.Errorf("after step %d logged in = %v, want %v", i+1, got, want)
				}
			}
		})
	}
}

func TestSessionsEndWithTheAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	for name, end := range map[string]func(){
		"disabled": func() { w.Put(u.ID, accounts.Disabled) },
		"password set": func() {
			w.Write(func(tx *db.Tx) error {
				return accounts.SetPassword(t.Context(), tx, system, u.ID, w.Hash(password), true)
			})
		},
		"ended by an administrator": func() {
			w.Write(func(tx *db.Tx) error {
				list, err := accounts.Sessions(t.Context(), tx, system, u.ID)
				if err != nil {
					return err
				}
				for _, s := range list {
					if err := accounts.EndSession(t.Context(), tx, system, s.ID); err != nil {
						return err
					}
				}
				return nil
			})
		},
	} {
		token := w.session(u, accounts.ToPortal, "")
		if !w.loggedIn(accounts.ToPortal, token) {
			t.Fatalf("%s: not logged in before", name)
		}
		end()
		if w.loggedIn(accounts.ToPortal, token) {
			t.Errorf("%s: still logged in", name)
		}
		if w.Find(u.ID).State == accounts.Disabled {
			w.Put(u.ID, accounts.Active)
			if w.loggedIn(accounts.ToPortal, token) {
				t.Errorf("%s: logged in again by itself", name)
			}
		}
	}
}

// Each request looks at the account, even if its sessions were not ended.
func TestSessionLooksAtTheAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	token := w.session(u, accounts.ToPortal, "")
	w.Write(func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE users SET state = 'disabled' WHERE id = $1", u.ID)
		return err
	})
	if w.loggedIn(accounts.ToPortal, token) {
		t.Error("a disabled account is logged in")
	}
}

// Who changes their own password stays logged in where they did it.
func TestOwnSessionStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	here, elsewhere := w.session(u, accounts.ToPortal, ""), w.session(u, accounts.ToPortal, "")
	s, _, err := accounts.FindSession(t.Context(), w.DB, accounts.ToPortal, here)
	if err != nil {
		t.Fatal(err)
	}
	by := u.Caller(access.Caller{Session: s.ID})
	hash := w.Hash("Another one 2")
	w.Write(func(tx *db.Tx) error { return accounts.SetPassword(t.Context(), tx, by, u.ID, hash, false) })
	if !w.loggedIn(accounts.ToPortal, here) || w.loggedIn(accounts.ToPortal, elsewhere) {
		t.Error("not exactly the other session ended")
	}
}

func TestEndSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una, vic := w.User("una"), w.User("vic")
	token := w.session(una, accounts.ToPortal, "")
	s, _, err := accounts.FindSession(t.Context(), w.DB, accounts.ToPortal, token)
	if err != nil {
		t.Fatal(err)
	}
	end := func(by access.Caller) error {
		return w.DB.Write(t.Context(), func(tx *db.Tx) error { return accounts.EndSession(t.Context(), tx, by, s.ID) })
	}
	if err := end(vic.Caller(from)); errs.KindOf(err) != errs.NotFound || !w.loggedIn(accounts.ToPortal, token) {
		t.Errorf("a colleague: %v", err)
	}
	if err := end(una.Caller(from)); err != nil || w.loggedIn(accounts.ToPortal, token) {
		t.Errorf("the owner: %v", err)
	}
	if err := end(una.Caller(from)); err != nil {
		t.Errorf("again: %v", err)
	}
}

// device puts a row where a user token needs one.
func (w *world) device(u accounts.User, id string) access.DeviceID {
	w.Helper()
	w.Write(func(tx *db.Tx) error {
		_, err := tx.Exec(w.Context(), `INSERT INTO devices (id, org, user_id, request_id, state, state_at, state_reason, name, name_key, search,
			machine_id, serial, hostname, os, os_version, arch, os_user, is_system, client_version, signing_key, cert_serial, cert, folders,
			last_seen_at, last_ip, status, status_code, progress, next_run_at, last_backup_at, last_snapshot, last_status, stored_bytes,
			stored_files, profile_version, changed_at, created_at, activated_at)
			VALUES ($1, $2, $3, $1, 'active', 0, '', $1, $1, '', '', '', '', '', '', '', '', FALSE, '', $4, 1, $4, '', 0, '', '', '', '', 0, 0, '', '', 0, 0, 0, 0, 0, 0)`,
			id, u.Org, u.ID, []byte{1})
		return err
	})
	return access.DeviceID(id)
}

func TestUserToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	u := w.User("una")
	device, other := w.device(u, "d1"), w.device(u, "d2")
	issue := func() (token string) {
		w.Write(func(tx *db.Tx) (err error) {
			token, _, err = accounts.IssueToken(t.Context(), tx, system, u, device, time.Time{})
			return err
		})
		return token
	}
	find := func(token string, device access.DeviceID) (c access.Caller, err error) {
		err = w.DB.Read(t.Context(), func(tx *db.Tx) error {
			c, err = accounts.FindToken(t.Context(), tx, token, device, from)
			return err
		})
		return c, err
	}
	token := issue()
	c, err := find(token, device)
	if err != nil || c.Kind != access.UserKind || c.User != u.ID || c.Device != device || c.IP != from.IP || c.Session == "" || strings.Contains(token, c.Session) {
		t.Errorf("FindToken = %+v, %v", c, err)
	}
	for name, bad := range map[string]struct {
		token  string
		device access.DeviceID
	}{
		"from another device": {token, other}, "cut": {token[:46], device}, "of another kind": {"bsa_" + token[4:], device},
		"without its prefix": {token[4:], device},
	} {
		if _, err := find(bad.token, bad.device); errs.KindOf(err) != errs.Unauthenticated {
			t.Errorf("a token %s: %v", name, err)
		}
	}
	move(15*time.Minute - time.Microsecond)
	if _, err := find(token, device); err != nil {
		t.Errorf("just before its end: %v", err)
	}
	move(time.Microsecond)
	if _, err := find(token, device); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("after its end: %v", err)
	}
	token = issue()
	w.Put(u.ID, accounts.Disabled)
	w.Put(u.ID, accounts.Active)
	if _, err := find(token, device); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("after the user was disabled: %v", err)
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	u := w.User("una")
	w.session(u, accounts.ToPortal, "")
	move(24 * time.Hour)
	fresh := w.session(u, accounts.ToPortal, "")
	var n int64
	w.Write(func(tx *db.Tx) (err error) {
		n, err = accounts.Expire(t.Context(), tx)
		return err
	})
	if n != 1 || !w.loggedIn(accounts.ToPortal, fresh) {
		t.Errorf("Expire deleted %d", n)
	}
}
