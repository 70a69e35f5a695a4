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
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/signin"
)

// guess tries a wrong code, however long there is to wait in between, until it
// is locked.
func (w *world) guess(try func() error) {
	w.Helper()
	for range 40 {
		e := errs.Find(try())
		if e == nil {
			w.Fatal("a wrong code is right")
		}
		if e.Code != errs.TooManyAttempts {
			continue
		}
		wait := e.Args["n"].(int)
		if wait > 600 {
			return
		}
		w.Move(time.Duration(wait) * time.Second)
	}
	w.Fatal("codes can be guessed for ever")
}

// Codes of a second factor are guessed no more often than passwords.
func TestGuessingCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	w.stop()
	secret := w.app(u)
	s := w.come("una")
	if s.Session.Stage != accounts.StageFactor {
		t.Fatalf("the stage is %q", s.Session.Stage)
	}
	by := u.Caller(access.Caller{IP: "192.0.2.1", Session: s.Session.ID})
	w.guess(func() error {
		_, err := w.g.Prove(t.Context(), by, s.Session, "000000", "")
		return err
	})
	if _, err := w.g.Prove(t.Context(), by, s.Session, w.code(secret), ""); !errs.Is(err, errs.TooManyAttempts) {
		t.Errorf("the right code during the lock: %v", err)
	}
	w.Move(16 * time.Minute)
	s = w.come("una")
	started, err := w.g.Prove(t.Context(), by, s.Session, w.code(secret), "")
	if err != nil || started.Session.Factor != factors.ByTOTP {
		t.Errorf("after the lock: %+v, %v", started, err)
	}
}

// The password of a device's user, shown with each guess, begins no new count of
// codes.
func TestGuessingCodesAtADevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	w.stop()
	secret := w.app(u)
	by := access.Caller{Kind: access.DeviceKind, User: u.ID, Org: u.Org, Device: "d1", IP: "198.51.100.1"}
	guess := func(code string) error {
		_, err := w.g.Confirm(t.Context(), by, accounts.ToClient, u.ID, password, code)
		return err
	}
	w.guess(func() error { return guess("000000") })
	if err := guess(w.code(secret)); !errs.Is(err, errs.TooManyAttempts) {
		t.Errorf("the right code during the lock: %v", err)
	}
	w.Move(16 * time.Minute)
	if err := guess(w.code(secret)); err != nil {
		t.Errorf("after the lock: %v", err)
	}
}

// Whoever has only the password locks the owner out of no browser that they came
// in by, and fills no audit.
func TestGuessedCodesLockNoKnownBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	w.stop()
	secret := w.app(u)
	s := w.come("una")
	mine, err := w.g.Prove(t.Context(), w.by(s), s.Session, w.code(secret), "")
	if err != nil {
		t.Fatal(err)
	}
	w.Move(time.Minute)
	thief, known := w.come("una"), w.come("una")
	prove := func(s signin.Started, code, browser string) error {
		_, err := w.g.Prove(t.Context(), w.by(s), s.Session, code, browser)
		return err
	}
	for range 40 {
		e := errs.Find(prove(thief, "000000", ""))
		if e == nil {
			t.Fatal("a guess is right")
		}
		if e.Code == errs.TooManyAttempts {
			wait := e.Args["n"].(int)
			if wait > 600 {
				break
			}
			w.Move(time.Duration(wait) * time.Second)
		}
	}
	for range 30 {
		if err := prove(thief, w.code(secret), "bsk_forged"); !errs.Is(err, errs.TooManyAttempts) {
			t.Fatalf("during the lock: %v", err)
		}
	}
	throttled := 0
	for _, reason := range w.reasons(100) {
		if reason == "throttled" {
			throttled++
		}
	}
	if throttled == 0 || throttled > 20 {
		t.Errorf("the audit has %d rows of one who has to wait", throttled)
	}
	if err := prove(known, w.code(secret), mine.Known); err != nil {
		t.Errorf("the owner's browser during the lock: %v", err)
	}
	w.Move(time.Minute)
	if _, err := w.g.StepUp(t.Context(), w.by(mine), mine.Session, "", w.code(secret)); err != nil {
		t.Errorf("the owner's session during the lock: %v", err)
	}
}

// A browser that answers for a passkey what it likes fills no audit.
func TestRefusedPasskeysAreNoFlood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app(w.User("una"))
	s := w.come("una")
	for range 30 {
		if _, err := w.g.ProvePasskey(t.Context(), w.by(s), s.Session, []byte("{}")); err == nil {
			t.Fatal("nothing is a passkey")
		}
	}
	if n := len(w.reasons(100)); n == 0 || n > 20 {
		t.Errorf("the audit has %d rows of refused passkeys", n)
	}
}

// Codes at once are no more codes, as passwords are.
func TestCodesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	w.app(u)
	w.stop()
	s := w.come("una")
	by := w.by(s)
	var tried atomic.Int64
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			_, err := w.g.Prove(t.Context(), by, s.Session, fmt.Sprintf("%06d", i), "")
			switch {
			case errs.Is(err, errs.TooManyAttempts) || errs.Is(err, errs.ServerBusy):
			case errs.KindOf(err) == errs.Unauthenticated:
				tried.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := tried.Load(); n != 4 {
		t.Errorf("%d of 20 codes at once were tried, want 4", n)
	}
}
