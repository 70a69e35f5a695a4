package signin_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/signin"
)

func (w *world) explain(by access.Caller, id accounts.ID) (x signin.Explanation, err error) {
	w.Helper()
	err = w.DB.Read(w.Context(), func(tx *db.Tx) (err error) {
		x, err = w.g.Explain(w.Context(), tx, by, id)
		return err
	})
	return x, err
}

func TestExplain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	u := w.User("una")
	by := w.Admin("ada", access.OrgAdmin).Caller(from)
	check := func(name string, ok bool, key string, fix signin.Fix) {
		t.Helper()
		x, err := w.explain(by, u.ID)
		if err != nil {
			t.Fatal(err)
		}
		if !ok && x.OK() {
			t.Errorf("%s: nothing stands in the way", name)
		}
		for _, l := range x.Lines {
			if l.Name == name {
				if l.OK != ok || l.Key != key || l.Fix != fix {
					t.Errorf("%s: %+v, want %v %s %q", name, l, ok, key, fix)
				}
				return
			}
		}
		t.Errorf("no line %s in %+v", name, x.Lines)
	}
	x, err := w.explain(by, u.ID)
	if err != nil || !x.OK() || x.URL != "https://backup.example.org/" || len(x.Lines) != 6 {
		t.Fatalf("of a user who can sign in: %+v, %v", x, err)
	}
	check("state", true, "signin.state.active", signin.NoFix)
	check("lock", true, "signin.lock.none", signin.NoFix)
	check("password", true, "signin.password.set", signin.NoFix)
	check("factor", true, "signin.factor.none", signin.NoFix)
	check("web", true, "signin.web.on", signin.NoFix)
	check("seat", true, "signin.seat.unlicensed", signin.NoFix)

	w.profile(func(s *profile.Settings) { s.WebRestore, s.Sharing, s.SecondFactor = false, true, profile.Required })
	check("web", true, "signin.web.sharing", signin.FixWebRestore)
	check("factor", true, "signin.factor.demanded", signin.NoFix)
	w.profile(func(s *profile.Settings) { s.Sharing = false })
	check("web", false, "signin.web.off", signin.FixWebRestore)
	w.app(u)
	check("factor", true, "signin.factor.has", signin.FixSecondFactor)

	w.fail("192.0.2.1", "una", 10)
	check("lock", false, "signin.lock.locked", signin.FixUnlock)
	// Pages that are refused to who is in are no attempts.
	for range 3 {
		inside := u.Caller(from)
		inside.Session = "s"
		if err := audit.Denied(t.Context(), w.DB, inside, access.Login, "user/"+string(u.ID), errs.Of(errs.WebAccessOff)); err != nil {
			t.Fatal(err)
		}
	}
	x, _ = w.explain(by, u.ID)
	if len(x.Attempts) != 10 || x.Attempts[0].Details[1].After != "wrong_password" {
		t.Errorf("the attempts are %+v", x.Attempts)
	}
	w.Move(15 * time.Minute)
	check("lock", true, "signin.lock.none", signin.NoFix)

	w.Put(u.ID, accounts.Disabled)
	check("state", false, "signin.state.disabled", signin.FixActivate)
	w.Put(u.ID, accounts.Preserved)
	check("state", false, "signin.state.preserved", signin.FixActivate)

	u = w.invite("ivo", "Bofad-Likum-Zarev-42", time.Hour)
	check("state", false, "signin.state.invited", signin.FixInvite)
	check("password", true, "signin.password.temporary", signin.NoFix)
	w.Move(time.Hour)
	check("password", false, "signin.password.temporary_over", signin.FixInvite)

	w.Licence("Test", 1, 1)
	u = w.User("vic")
	check("seat", true, "signin.seat.free", signin.NoFix)
	w.Write(func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE licences SET over_since = 1")
		return err
	})
	w.Write(func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE users SET seat = 'active', licence = (SELECT id FROM licences) WHERE username = 'una'")
		return err
	})
	check("seat", false, "signin.seat.none", signin.FixLicence)
}

func TestWhoIsExplainedToWhom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	x, err := w.explain(w.Admin("vera", access.Viewer).Caller(from), u.ID)
	if err != nil || len(x.Lines) == 0 || x.Attempts != nil {
		t.Errorf("a viewer: %+v, %v", x, err)
	}
	if _, err := w.explain(w.User("vic").Caller(from), u.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a colleague: %v", err)
	}
	if x, err := w.explain(system, w.Admin("ada", access.OrgAdmin).ID); err != nil || len(x.Lines) != 4 || x.URL != "https://backup.example.org/admin/" {
		t.Errorf("of an administrator: %+v, %v", x, err)
	}
}
