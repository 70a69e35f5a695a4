package signin_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/server/signin"
)

// try logs in to the portal from an address and a browser, and says how long
// there is to wait.
func (w *world) try(ip, known, identifier, password string) (wait int, err error) {
	w.Helper()
	_, err = w.g.Login(w.Context(), access.Caller{IP: ip}, signin.Attempt{Portal: accounts.ToPortal, Identifier: identifier, Password: password, Known: known})
	if e := errs.Find(err); e != nil && e.Code == errs.TooManyAttempts {
		wait = e.Args["n"].(int)
	}
	return wait, err
}

// fail fails n times, however long there is to wait in between.
func (w *world) fail(ip, identifier string, n int) {
	w.Helper()
	for range n {
		for {
			wait, err := w.try(ip, "", identifier, "wrong")
			if errs.Is(err, errs.AuthFailed) {
				break
			}
			if wait == 0 || wait > 600 {
				w.Fatalf("%s from %s: %v", identifier, ip, err)
			}
			w.Move(time.Duration(wait) * time.Second)
		}
	}
}

// mails are what waits to be sent, oldest first, with its values.
func (w *world) mails() (list []mail.Mail) {
	w.Helper()
	w.g.Wait()
	return w.Mails()
}

func (w *world) reasons(n int) (reasons []string) {
	w.Helper()
	for _, row := range w.Audit(audit.Filter{Action: access.Login, Limit: n}) {
		for _, d := range row.Details {
			if d.Name == "reason" {
				reasons = append(reasons, d.After.(string))
			}
		}
	}
	return reasons
}

// Delays of 0, 0, 0, 1, 2, 4, 8 seconds after the failures, and the lock: for
// somebody and for nobody alike.
func TestDelaysAndLock(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"una", "nobody"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.User("una")
			w.stop()
			for i, want := range []int{0, 0, 0, 0, 1, 2, 4, 8, 16, 32} {
				wait, err := w.try("192.0.2.1", "", name, "wrong")
				if want > 0 {
					if wait != want {
						t.Fatalf("attempt %d has to wait %d s (%v), want %d", i+1, wait, err, want)
					}
					w.Move(time.Duration(want)*time.Second - time.Microsecond)
					if wait, _ := w.try("192.0.2.1", "", name, "wrong"); wait != 1 {
						t.Fatalf("attempt %d is let in too early", i+1)
					}
					w.Move(time.Microsecond)
					_, err = w.try("192.0.2.1", "", name, "wrong")
				}
				if !errs.Is(err, errs.AuthFailed) {
					t.Fatalf("attempt %d: %v", i+1, err)
				}
			}
			// Locked, for everybody and with the right password as well.
			for _, ip := range []string{"192.0.2.1", "198.51.100.7", "2001:db8::1"} {
				if wait, err := w.try(ip, "", name, password); wait != 900 {
					t.Errorf("from %s after ten failures: %v, want E1104 for 900 s", ip, err)
				}
			}
			w.Move(15*time.Minute - time.Second)
			if wait, err := w.try("192.0.2.1", "", name, "wrong"); wait != 1 {
				t.Errorf("just before the end of the lock: %v", err)
			}
			w.Move(time.Second)
			// Then the count begins anew.
			for i := range 4 {
				if _, err := w.try("192.0.2.1", "", name, "wrong"); !errs.Is(err, errs.AuthFailed) {
					t.Errorf("attempt %d after the lock: %v", i+1, err)
				}
			}
			if wait, _ := w.try("192.0.2.1", "", name, "wrong"); wait != 1 {
				t.Error("the delays do not begin anew after a lock")
			}
		})
	}
}

// However an account is called, it is one; so is what would be one.
func TestVariantsShareACount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	w.stop()
	variants := []string{"una", "UNA", " Una ", "una@example.org", "UNA@Example.org", "una", "uNa", "Una@example.org", "una", "una"}
	for i, name := range variants {
		w.fail(fmt.Sprintf("203.0.113.%d", i), name, 1)
	}
	if wait, err := w.try("198.51.100.7", "", "una@example.org", password); wait != 900 {
		t.Errorf("after ten failures under different names: %v", err)
	}
	for _, name := range []string{"nobody", " Nobody", "NOBODY ", "nobody"} {
		if _, err := w.try("192.0.2.1", "", name, "wrong"); !errs.Is(err, errs.AuthFailed) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if wait, err := w.try("192.0.2.1", "", "nobody ", "wrong"); wait != 1 {
		t.Errorf("nobody's fifth attempt: %v", err)
	}
	got := w.Find(w.Named("una").ID)
	if !got.LockedUntil.After(w.DB.Now()) {
		t.Error("the lock does not show on the account")
	}
}

// Networks wait by themselves: an attacker elsewhere does not slow the owner.
func TestDelayIsOfTheNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	w.stop()
	w.fail("192.0.2.1", "una", 5)
	for ip, want := range map[string]int{"192.0.2.200": 2, "192.0.3.1": 0, "2001:db8:0:100::1": 0} {
		if wait, err := w.try(ip, "", "una", "wrong"); wait != want {
			t.Errorf("from %s: %v, want to wait %d s", ip, err, want)
		}
	}
	if _, err := w.try("198.51.100.1", "", "una", password); err != nil {
		t.Errorf("the owner from elsewhere: %v", err)
	}
	// A success ends the count.
	for range 3 {
		if _, err := w.try("198.51.100.1", "", "una", "wrong"); !errs.Is(err, errs.AuthFailed) {
			t.Error(err)
		}
	}
}

// IPv6 customers have a /56.
func TestNetworksOfIPv6(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	w.stop()
	w.fail("2001:db8:1:1::1", "una", 5)
	if wait, _ := w.try("2001:db8:1:ff::1", "", "una", "wrong"); wait != 2 {
		t.Errorf("in the same /56: to wait %d s, want 2", wait)
	}
	if wait, _ := w.try("2001:db8:1:100::1", "", "una", "wrong"); wait != 0 {
		t.Errorf("in another /56: to wait %d s", wait)
	}
}

// A network that fails at many accounts is stopped at all of them.
func TestNetworkIsStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	w.stop()
	known := w.come("una").Known
	for i := range 100 {
		w.fail(fmt.Sprintf("192.0.2.%d", i), fmt.Sprintf("guess%d", i), 1)
	}
	if wait, err := w.try("192.0.2.250", "", "una", password); wait == 0 || wait > 3600 {
		t.Errorf("after 100 failures of the network: %v", err)
	}
	if _, err := w.try("192.0.2.250", known, "una", password); err != nil {
		t.Errorf("a known browser in it: %v", err)
	}
	if _, err := w.try("198.51.100.1", "", "una", password); err != nil {
		t.Errorf("another network: %v", err)
	}
	w.Move(time.Hour)
	if _, err := w.try("192.0.2.250", "", "una", password); err != nil {
		t.Errorf("an hour later: %v", err)
	}
}

// Many guesses at once are no more guesses.
func TestGuessesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	var mu sync.Mutex
	tried := 0
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			_, err := w.try(fmt.Sprintf("192.0.%d.1", i), "", "una", "wrong")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errs.Is(err, errs.AuthFailed):
				tried++
			case !errs.Is(err, errs.TooManyAttempts) && !errs.Is(err, errs.ServerBusy):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if tried > 10 || tried == 0 {
		t.Errorf("%d of 60 guesses at once were tried, want at most 10", tried)
	}
	if wait, err := w.try("198.51.100.1", "", "una", password); tried == 10 && wait == 0 {
		t.Errorf("then: %v", err)
	}
}

// Nor are they from one network, however many servers are asked: a wait begins
// when an attempt does. Nobody else is locked out by it.
func TestGuessesAtOnceFromOnePlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	w.stop()
	gates := []*signin.Gate{w.g, {DB: w.DB, Hasher: w.Hasher, Keys: w.Ring, URL: w.g.URL, PadTo: -1, Factors: w.g.Factors}}
	var tried atomic.Int64
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			_, err := gates[i%2].Login(t.Context(), access.Caller{IP: fmt.Sprintf("192.0.2.%d", i)},
				signin.Attempt{Portal: accounts.ToPortal, Identifier: "una", Password: "wrong"})
			switch {
			case errs.Is(err, errs.AuthFailed):
				tried.Add(1)
			case !errs.Is(err, errs.TooManyAttempts) && !errs.Is(err, errs.ServerBusy):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := tried.Load(); n != 4 {
		t.Errorf("%d of 20 guesses at once were tried, want 4 as one after the other", n)
	}
	if wait, _ := w.try("192.0.2.1", "", "una", "wrong"); wait != 1 {
		t.Errorf("then: to wait %d s, want 1", wait)
	}
	if _, err := w.try("198.51.100.1", "", "una", password); err != nil {
		t.Errorf("the owner from elsewhere: %v", err)
	}
}

// What succeeds is not counted for its network, at once or later.
func TestNetworkCountsFailures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	w.stop()
	w.Write(func(tx *db.Tx) error {
		return settings.Change(t.Context(), tx, system, func(s *settings.Settings) error {
			s.SignIn.NetworkPerHour = 10
			return nil
		})
	})
	for range 11 {
		if _, err := w.try("192.0.2.1", "", "una", password); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		if _, err := w.try("192.0.2.1", "", fmt.Sprint("guess", i), "wrong"); !errs.Is(err, errs.AuthFailed) {
			t.Fatalf("guess %d: %v", i+1, err)
		}
	}
	if wait, err := w.try("192.0.2.1", "", "una", password); wait == 0 {
		t.Errorf("after ten failures: %v", err)
	}
}

// Servers on one database agree, and a restart forgets nothing.
func TestServersAgree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	w.stop()
	w.fail("192.0.2.1", "una", 10)
	other := *w
	other.g = &signin.Gate{DB: w.DB, Hasher: w.Hasher, Keys: w.Ring, URL: w.g.URL, PadTo: -1, Factors: w.g.Factors}
	if wait, err := other.try("198.51.100.1", "", "una", password); wait != 900 {
		t.Errorf("another server: %v", err)
	}
}

// The owner hears of what others tried, when they come in, and of a lock, with a
// way in.
func TestOwnerIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	w.stop()
	w.fail("192.0.2.1", "una", 4)
	w.come("una")
	if got := w.mails(); len(got) != 0 {
		t.Fatalf("after four failures: %v", got)
	}
	w.fail("192.0.2.1", "una", 5)
	w.come("una")
	got := w.mails()
	if len(got) != 1 || got[0].Template != mail.FailedLogins || got[0].To != "una@example.org" || got[0].Values["count"] != "5" {
		t.Fatalf("after five failures and a success: %+v", got)
	}
	w.fail("192.0.2.1", "una", 10)
	got = w.mails()
	if len(got) != 2 || got[1].Template != mail.Locked || got[1].Values["minutes"] != "15" {
		t.Fatalf("after a lock: %+v", got)
	}
	token := w.Token(got[1].Values["link"], "/password")
	if err := w.g.SetPasswordByLink(t.Context(), from, token, "Another one 2"); err != nil {
		t.Fatalf("the link in it: %v", err)
	}
	if _, err := w.try("192.0.2.1", "", "una", "Another one 2"); err != nil {
		t.Errorf("after the link: %v", err)
	}
	if !w.Named("una").LockedUntil.IsZero() {
		t.Error("the account still shows the lock")
	}
}

func TestAuditOfThrottling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	w.stop()
	w.fail("192.0.2.1", "una", 10)
	if got := w.reasons(1); len(got) != 1 || got[0] != "wrong_password" {
		t.Errorf("the tenth failure: %v", got)
	}
	if wait, _ := w.try("192.0.2.1", "", "una", password); wait == 0 {
		t.Fatal("not locked")
	}
	rows := w.Audit(audit.Filter{Action: access.Login, Limit: 1})
	if got := w.reasons(1); len(got) != 1 || got[0] != "throttled" || rows[0].Code != string(errs.TooManyAttempts) {
		t.Errorf("during the lock: %v %+v", got, rows[0])
	}
	before := len(w.Audit(audit.Filter{Action: access.Login, Limit: 500}))
	for range 60 {
		w.try("192.0.2.1", "", "una", password)
	}
	if after := len(w.Audit(audit.Filter{Action: access.Login, Limit: 500})); after > before+20 {
		t.Errorf("60 attempts during a lock made %d rows", after-before)
	}
}

func TestUnlock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, vic := w.User("una"), w.User("vic")
	w.stop()
	w.fail("203.0.113.1", "una", 10)
	unlock := func(by access.Caller) error {
		return w.DB.Write(t.Context(), func(tx *db.Tx) error { return w.g.Unlock(t.Context(), tx, by, u.ID) })
	}
	if err := unlock(vic.Caller(from)); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a colleague: %v", err)
	}
	if err := unlock(w.Admin("ada", access.OrgAdmin).Caller(from)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.try("203.0.113.1", "", "una", password); err != nil {
		t.Errorf("after unlocking: %v", err)
	}
}

// Whoever tries wrong passwords takes no link away that the owner asked for.
func TestLockKeepsALink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	w.stop()
	var token string
	w.Write(func(tx *db.Tx) (err error) {
		token, err = accounts.NewLink(t.Context(), tx, accounts.ForReset, u.ID, 30*time.Minute, nil)
		return err
	})
	w.fail("192.0.2.1", "una", 10)
	mails := w.mails()
	if len(mails) != 1 || mails[0].Template != mail.Locked || mails[0].Values["link"] != "" {
		t.Errorf("mailed %+v, want the news of the lock alone", mails)
	}
	if _, err := w.g.Link(t.Context(), token); err != nil {
		t.Errorf("the owner's link after a lock: %v", err)
	}
}
