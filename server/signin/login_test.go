package signin_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/signin"
)

var from = access.Caller{IP: "192.0.2.1", RequestID: "r"}

func (w *world) login(portal accounts.Portal, identifier, password string) (accounts.User, error) {
	w.Helper()
	return w.g.Login(w.Context(), from, signin.Attempt{Portal: portal, Identifier: identifier, Password: password})
}

func TestLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una := w.User("una")
	w.Admin("ada", access.ServerAdmin)
	w.Put(w.User("disabled").ID, accounts.Disabled)
	w.Put(w.User("preserved").ID, accounts.Preserved)
	w.Put(w.User("deleted").ID, accounts.Deleted)
	if _, err := w.Create(system, accounts.New{Username: "invited"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		portal     accounts.Portal
		identifier string
		password   string
		want       errs.Code
		reason     string
	}{
		{"by username", accounts.ToPortal, "una", password, "", ""},
		{"in another case, with spaces around", accounts.ToPortal, " UNA ", password, "", ""},
		{"by address", accounts.ToPortal, "Una@Example.org", password, "", ""},
		{"from the client", accounts.ToClient, "una", password, "", ""},
		{"an administrator", accounts.ToConsole, "ada", password, "", ""},
		{"wrong password", accounts.ToPortal, "una", "wrong", errs.AuthFailed, "wrong_password"},
		{"password in another case", accounts.ToPortal, "una", strings.ToLower(password), errs.AuthFailed, "wrong_password"},
		{"password with a space", accounts.ToPortal, "una", password + " ", errs.AuthFailed, "wrong_password"},
		{"empty password", accounts.ToPortal, "una", "", errs.AuthFailed, "wrong_password"},
		{"endless password", accounts.ToPortal, "una", strings.Repeat("a", 1<<20), errs.AuthFailed, "wrong_password"},
		{"nobody", accounts.ToPortal, "nobody", password, errs.AuthFailed, "unknown_account"},
		{"no name", accounts.ToPortal, "", password, errs.AuthFailed, "unknown_account"},
		{"a name that no database takes", accounts.ToPortal, "a\x00\xff", password, errs.AuthFailed, "unknown_account"},
		{"a user at the console", accounts.ToConsole, "una", password, errs.AuthFailed, "wrong_portal"},
		{"an administrator at the portal", accounts.ToPortal, "ada", password, errs.AuthFailed, "wrong_portal"},
		{"an administrator in the client", accounts.ToClient, "ada", password, errs.AuthFailed, "wrong_portal"},
		{"disabled", accounts.ToPortal, "disabled", password, errs.AccountDisabled, "state_disabled"},
		{"disabled, wrong password", accounts.ToPortal, "disabled", "wrong", errs.AuthFailed, "wrong_password"},
		{"disabled, at the console", accounts.ToConsole, "disabled", password, errs.AuthFailed, "wrong_portal"},
		{"preserved", accounts.ToPortal, "preserved", password, errs.AccountPreserved, "state_preserved"},
		{"deleted", accounts.ToPortal, "deleted", password, errs.AuthFailed, "unknown_account"},
		{"invited", accounts.ToPortal, "invited", password, errs.AuthFailed, "no_password"},
	} {
		w.Move(time.Minute) // nobody has to wait
		u, err := w.login(c.portal, c.identifier, c.password)
		rows := w.Audit(audit.Filter{Action: access.Login, Limit: 1})
		if len(rows) != 1 {
			t.Fatalf("%s: no audit row", c.name)
		}
		row := rows[0]
		reason := ""
		for _, d := range row.Details {
			if d.Name == "reason" {
				reason = d.After.(string)
			}
		}
		if row.IP != from.IP || row.RequestID != "r" || reason != c.reason || row.Code != string(c.want) {
			t.Errorf("%s: recorded %+v, want reason %q", c.name, row, c.reason)
		}
		if strings.Contains(row.ActorName+row.ObjectID, "nobody") {
			t.Errorf("%s: what was typed is in the audit", c.name)
		}
		if c.want == "" {
			if err != nil || u.ID == "" {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if !errs.Is(err, c.want) || u.ID != "" {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	if w.Find(una.ID).LastLoginAt.IsZero() {
		t.Error("the login was not noted")
	}
}

// Several accounts under one address: one password of them, of several, of none.
func TestLoginBySharedAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	passwords := map[string]string{"one": "Password one 1", "two": "Password two 2", "three": "Password two 2", "team@example.org": "Password four 4"}
	for _, name := range []string{"one", "two", "three", "team@example.org"} {
		if _, err := w.Create(system, accounts.New{Username: name, Email: "team@example.org", PasswordHash: w.Hash(passwords[name])}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ password, want string }{
		{"Password one 1", "one"}, {"Password four 4", "team@example.org"},
	} {
		if u, err := w.login(accounts.ToPortal, "team@example.org", c.password); err != nil || u.Username != c.want {
			t.Errorf("with %q: %q, %v; want %q", c.password, u.Username, err, c.want)
		}
	}
	_, err := w.login(accounts.ToPortal, "team@example.org", "Password two 2")
	var choice *signin.Choice
	if !errors.As(err, &choice) || len(choice.Users) != 2 || errs.KindOf(err) != errs.Conflict {
		t.Fatalf("two accounts with one password: %v, want a choice of two", err)
	}
	for _, u := range choice.Users {
		if u.Username != "two" && u.Username != "three" {
			t.Errorf("%s is offered", u.Username)
		}
		if got, err := w.login(accounts.ToPortal, u.Username, "Password two 2"); err != nil || got.ID != u.ID {
			t.Errorf("after choosing %s: %v", u.Username, err)
		}
	}
	if _, err := w.login(accounts.ToPortal, "team@example.org", "Password none"); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("with none: %v", err)
	}
	// A username may look like an address, and be another's or nobody's.
	if _, err := w.Create(system, accounts.New{Username: "six@example.org", Email: "other@example.org", PasswordHash: w.Hash(password)}); err != nil {
		t.Fatal(err)
	}
	if u, err := w.login(accounts.ToPortal, "SIX@example.org", password); err != nil || u.Username != "six@example.org" {
		t.Errorf("by a username with an @: %q, %v", u.Username, err)
	}
	// A disabled one beside an active one does not stand in its way.
	u, err := w.Create(system, accounts.New{Username: "five", Email: "team@example.org", PasswordHash: w.Hash("Password one 1")})
	if err != nil {
		t.Fatal(err)
	}
	w.Put(u.ID, accounts.Disabled)
	if got, err := w.login(accounts.ToPortal, "team@example.org", "Password one 1"); err != nil || got.Username != "one" {
		t.Errorf("beside a disabled one: %q, %v", got.Username, err)
	}
}

// A failed login with an address takes the time that it is padded to, with one
// account or none.
func TestLoginIsPadded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	w.g.PadTo = 150 * time.Millisecond
	for _, identifier := range []string{"una@example.org", "nobody@example.org"} {
		start := time.Now()
		if _, err := w.login(accounts.ToPortal, identifier, "wrong"); !errs.Is(err, errs.AuthFailed) {
			t.Fatal(err)
		}
		if took := time.Since(start); took < w.g.PadTo {
			t.Errorf("%s: failed after %v, want at least %v", identifier, took, w.g.PadTo)
		}
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct {
		set, try string
		ok       bool
	}{
		{"Pässwörd 1", "Pässwörd 1", true},
		{"Pa\u0308sswo\u0308rd 1", "Pässwörd 1", true}, // composed or not, the same
		{"Pässwörd 1", "Password 1", false},
		{"  spaces  ", "  spaces  ", true},
		{"  spaces  ", "spaces", false},
		{strings.Repeat("é", 256), strings.Repeat("é", 256), true},
		{strings.Repeat("a", 72) + "tail", strings.Repeat("a", 72) + "tale", false}, // nothing is cut off
		{"bytes \xff\xfe", "bytes \xff\xfe", true},
	} {
		u := w.User("user" + time.Now().Format("150405.000000000"))
		w.Write(func(tx *db.Tx) error {
			return accounts.SetPassword(t.Context(), tx, system, u.ID, w.Hash(c.set), false)
		})
		if _, err := w.login(accounts.ToPortal, u.Username, c.try); (err == nil) != c.ok {
			t.Errorf("set %q, tried %q: %v, want let in %v", c.set, c.try, err, c.ok)
		}
	}
	for _, bad := range []string{"", "1234567", strings.Repeat("a", 257)} {
		if _, err := w.Hasher.Hash(t.Context(), bad); errs.KindOf(err) != errs.Invalid {
			t.Errorf("Hash(%d characters) = %v, want Invalid", len(bad), err)
		}
	}
	one, two := w.Hash(password), w.Hash(password)
	if one == two {
		t.Error("two hashes of one password are the same")
	}
	if !strings.HasPrefix(one, "$argon2id$v=19$m=8,t=1,p=1$") {
		t.Errorf("the hash is %s", one)
	}
}

func TestConfirmAndChangePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	if _, err := w.g.Confirm(t.Context(), from, accounts.ToClient, u.ID, password, ""); err != nil {
		t.Error(err)
	}
	if _, err := w.g.Confirm(t.Context(), from, accounts.ToClient, u.ID, "wrong", ""); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("a wrong password: %v", err)
	}
	by := u.Caller(from)
	const other = "Another one 2"
	if err := w.g.ChangePassword(t.Context(), by, accounts.Session{Portal: accounts.ToPortal}, "wrong", other); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("without the old one: %v", err)
	}
	if err := w.g.ChangePassword(t.Context(), by, accounts.Session{Portal: accounts.ToPortal}, password, password); errs.KindOf(err) != errs.Invalid {
		t.Errorf("the same again: %v", err)
	}
	if err := w.g.ChangePassword(t.Context(), by, accounts.Session{Portal: accounts.ToPortal}, password, other); err != nil {
		t.Fatal(err)
	}
	if _, err := w.login(accounts.ToPortal, "una", password); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("the old one still works: %v", err)
	}
	if _, err := w.login(accounts.ToPortal, "una", other); err != nil {
		t.Error(err)
	}
	w.Put(u.ID, accounts.Disabled)
	if _, err := w.g.Confirm(t.Context(), from, accounts.ToClient, u.ID, other, ""); !errs.Is(err, errs.AccountDisabled) {
		t.Errorf("disabled: %v, want E1102", err)
	}
}

// A password that breaks the policy of today must be changed, also by who
// chooses among the accounts that have it.
func TestChosenMustChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hash := w.Hash("weakweakweak")
	for _, name := range []string{"one", "two"} {
		if _, err := w.Create(system, accounts.New{Username: name, Email: "team@example.org", PasswordHash: hash}); err != nil {
			t.Fatal(err)
		}
	}
	var choice *signin.Choice
	if _, err := w.login(accounts.ToPortal, "team@example.org", "weakweakweak"); !errors.As(err, &choice) {
		t.Fatalf("two accounts with one password: %v, want a choice", err)
	}
	u, err := w.g.Chosen(t.Context(), from, accounts.ToPortal, choice.Users[1].ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.g.Start(t.Context(), from, u, accounts.ToPortal, "Browser/1", "", "", "")
	if err != nil || s.Session.Stage != accounts.StagePassword {
		t.Errorf("the session is in stage %q (%v), want %q", s.Session.Stage, err, accounts.StagePassword)
	}
}
