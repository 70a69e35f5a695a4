package accounts_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
)

func (w *world) link(u accounts.User, p accounts.Purpose, life time.Duration) (token string) {
	w.Helper()
	w.Write(func(tx *db.Tx) (err error) {
		token, err = accounts.NewLink(w.Context(), tx, p, u.ID, life, map[string]string{"a": "b"})
		return err
	})
	return token
}

func (w *world) use(p accounts.Purpose, token string) (u accounts.User, data json.RawMessage, err error) {
	err = w.DB.Write(w.Context(), func(tx *db.Tx) (err error) {
		u, data, err = accounts.UseLink(w.Context(), tx, p, token)
		return err
	})
	return u, data, err
}

func (w *world) peek(p accounts.Purpose, token string) error {
	return w.DB.Read(w.Context(), func(tx *db.Tx) error {
		_, _, err := accounts.PeekLink(w.Context(), tx, p, token)
		return err
	})
}

func TestLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	una, vic := w.User("una"), w.User("vic")
	token := w.link(una, accounts.ForReset, time.Hour)
	foreign := w.link(vic, accounts.ForReset, time.Hour)
	session := w.session(una, accounts.ToPortal, "")
	for name, bad := range map[string]string{"cut": token[1:], "longer": token + "A", "in upper case": strings.ToUpper(token), "a session's": session, "empty": ""} {
		if err := w.peek(accounts.ForReset, bad); !errs.Is(err, errs.LinkExpired) {
			t.Errorf("a token %s: %v", name, err)
		}
		if _, _, err := w.use(accounts.ForReset, bad); !errs.Is(err, errs.LinkExpired) {
			t.Errorf("using a token %s: %v", name, err)
		}
	}
	if _, _, err := w.use(accounts.ForActivation, token); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("for another purpose: %v", err)
	}
	if w.loggedIn(accounts.ToPortal, token) {
		t.Error("a link's token is a session's")
	}
	if err := w.peek(accounts.ForReset, token); err != nil {
		t.Fatal(err)
	}
	// A transaction that fails uses nothing.
	failure := errors.New("no")
	err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
		if _, _, err := accounts.UseLink(t.Context(), tx, accounts.ForReset, token); err != nil {
			return err
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Fatal(err)
	}
	u, data, err := w.use(accounts.ForReset, token)
	if err != nil || u.ID != una.ID || string(data) != `{"a":"b"}` {
		t.Errorf("UseLink = %s, %s, %v", u.ID, data, err)
	}
	if _, _, err := w.use(accounts.ForReset, token); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("again: %v", err)
	}
	if err := w.peek(accounts.ForReset, token); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("its page afterwards: %v", err)
	}
	if err := w.peek(accounts.ForReset, foreign); err != nil {
		t.Errorf("somebody else's: %v", err)
	}
	older := w.link(una, accounts.ForReset, time.Hour)
	other := w.link(una, accounts.ForEmailUndo, 72*time.Hour)
	newer := w.link(una, accounts.ForReset, time.Hour)
	if err := w.peek(accounts.ForReset, older); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("an older one: %v", err)
	}
	if err := w.peek(accounts.ForEmailUndo, other); err != nil {
		t.Errorf("one for something else: %v", err)
	}
	move(time.Hour)
	if err := w.peek(accounts.ForReset, newer); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("after its life: %v", err)
	}
	w.Put(una.ID, accounts.Disabled)
	w.Write(func(tx *db.Tx) error { return accounts.Delete(t.Context(), tx, system, una.ID, "not needed any more") })
	if err := w.peek(accounts.ForEmailUndo, other); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("of a deleted account: %v", err)
	}
}

func (w *world) newCode(u accounts.User) (code string) {
	w.Helper()
	w.Write(func(tx *db.Tx) (err error) {
		code, err = accounts.NewCode(w.Context(), tx, w.Ring, accounts.ForEmail, u.ID, 10*time.Minute, "data")
		return err
	})
	return code
}

func (w *world) useCode(u accounts.User, code string, effect func(*db.Tx, json.RawMessage) error) error {
	if effect == nil {
		effect = func(*db.Tx, json.RawMessage) error { return nil }
	}
	return accounts.UseCode(w.Context(), w.DB, w.Ring, accounts.ForEmail, u.ID, code, effect)
}

func wrong(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

func TestCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	una, vic := w.User("una"), w.User("vic")
	code := w.newCode(una)
	if len(code) != 6 || strings.Trim(code, "0123456789") != "" {
		t.Fatalf("the code is %q", code)
	}
	if err := w.useCode(vic, code, nil); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("somebody else's code: %v", err)
	}
	// Wrong ones count down, whatever the caller does; then there is no code.
	for left := 4; left >= 0; left-- {
		err := w.useCode(una, wrong(code), func(*db.Tx, json.RawMessage) error { return errors.New("done for a wrong code") })
		if e := errs.Find(err); e == nil || e.Code != errs.WrongConfirmation || e.Args["n"] != left {
			t.Errorf("with %d left: %v", left, err)
		}
	}
	for _, c := range []string{wrong(code), code} {
		if err := w.useCode(una, c, nil); !errs.Is(err, errs.LinkExpired) {
			t.Errorf("after five wrong ones: %v", err)
		}
	}
	older := w.newCode(una)
	code = w.newCode(una)
	if older != code {
		if err := w.useCode(una, older, nil); !errs.Is(err, errs.WrongConfirmation) {
			t.Errorf("an older code: %v", err)
		}
	}
	failure := errors.New("no")
	if err := w.useCode(una, code, func(*db.Tx, json.RawMessage) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("when what it is for fails: %v", err)
	}
	var got string
	err := w.useCode(una, " "+code[:3]+" "+code[3:], func(_ *db.Tx, data json.RawMessage) error { return json.Unmarshal(data, &got) })
	if err != nil || got != "data" {
		t.Errorf("the code: %q, %v", got, err)
	}
	if err := w.useCode(una, code, nil); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("again: %v", err)
	}
	code = w.newCode(una)
	move(10 * time.Minute)
	if err := w.useCode(una, code, nil); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("after ten minutes: %v", err)
	}
}

// Many guesses at once are five, and many uses of the right code are one.
func TestCodeAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una := w.User("una")
	code := w.newCode(una)
	var mu sync.Mutex
	count := map[errs.Code]int{}
	done := 0
	each := func(n int, code func(i int) string) {
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				err := w.useCode(una, code(i), nil)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					done++
				} else if e := errs.Find(err); e != nil {
					count[e.Code]++
				} else {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	each(40, func(i int) string {
		if guess := fmt.Sprintf("%06d", i); guess != code {
			return guess
		}
		return "999999"
	})
	if count[errs.WrongConfirmation] != 5 || done != 0 {
		t.Errorf("%d guesses were looked at, %d succeeded", count[errs.WrongConfirmation], done)
	}
	code = w.newCode(una)
	each(40, func(int) string { return code })
	if done != 1 {
		t.Errorf("the code worked %d times", done)
	}
}

// What must not be done twice is done once, however many ask at the same time.
func TestOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una := w.User("una")
	once := func(id string) (at time.Time, first bool, err error) {
		err = w.DB.Write(w.Context(), func(tx *db.Tx) (err error) {
			at, first, err = accounts.Once(w.Context(), tx, una.Caller(from), id)
			return err
		})
		return at, first, err
	}
	var done atomic.Int64
	var all sync.WaitGroup
	id := accounts.NewOnce()
	for range 20 {
		all.Go(func() {
			_, first, err := once(id)
			if err != nil && !errs.Is(err, errs.ServerBusy) {
				t.Error(err)
			}
			if first {
				done.Add(1)
			}
		})
	}
	all.Wait()
	if done.Load() != 1 {
		t.Errorf("done %d times", done.Load())
	}
	at, _, _ := once(id)
	if later, first, err := once(id); first || err != nil || !later.Equal(at) {
		t.Errorf("once more: %s, %t, %v, want %s", later, first, err, at)
	}
	if _, first, err := once(accounts.NewOnce()); !first || err != nil {
		t.Errorf("another id: %t, %v", first, err)
	}
	if _, _, err := once(w.link(una, accounts.ForReset, time.Hour)); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a link's token: %v", err)
	}
}
