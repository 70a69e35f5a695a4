package authattack_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/wire"
)

// letters are the values of the mails of one template that were queued, or of
// all, the oldest first.
func (w *world) letters(template mail.Template) (list []map[string]string) {
	w.Helper()
	w.Gate.Wait()
	w.write(func(ctx context.Context, tx *db.Tx) error {
		rows, err := tx.Query(ctx, "SELECT recipient, body FROM outbox WHERE ($1 = '' OR template = $1) AND body IS NOT NULL ORDER BY number", template)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var to string
			var sealed []byte
			if err := rows.Scan(&to, &sealed); err != nil {
				return err
			}
			text, err := w.Keys.Unseal("mail", sealed)
			if err != nil {
				return err
			}
			values := map[string]string{}
			if err := json.Unmarshal(text, &values); err != nil {
				return err
			}
			values["to"] = to
			list = append(list, values)
		}
		return rows.Err()
	})
	return list
}

// letter is the newest of them.
func (w *world) letter(template mail.Template) map[string]string {
	w.Helper()
	list := w.letters(template)
	if len(list) == 0 {
		w.Fatalf("no mail %s was queued", template)
	}
	return list[len(list)-1]
}

// token is what a mailed link holds.
func (w *world) token(template mail.Template) string {
	w.Helper()
	link, err := url.Parse(w.letter(template)["link"])
	if err != nil || link.Query().Get("token") == "" {
		w.Fatalf("the mail %s has no token: %v", template, err)
	}
	return link.Query().Get("token")
}

func (w *world) settings(edit func(*settings.Settings) error) {
	w.Helper()
	w.write(func(ctx context.Context, tx *db.Tx) error { return settings.Change(ctx, tx, system, edit) })
}

// Guessing is slow and ends, whatever name is used for an account and from
// wherever, and the owner gets in nevertheless.
func guessing(t testing.TB) {
	w := newWorld(t)
	home := w.browser().login("user")
	home.post("/logout")

	names := []string{"user", "USER", " User ", "user@example.org", "USER@EXAMPLE.ORG", "User@example.org"}
	tries := 0
	for range 40 {
		// From another address each time, and from clients as well.
		var a answer
		if name := names[tries%len(names)]; tries%3 == 2 {
			a = w.device(http.MethodPost, "activate", "", "", message("username", name, "password", "wrong"))
		} else {
			a = w.browser().try(name, "wrong")
		}
		if a.StatusCode == http.StatusTooManyRequests {
			break
		}
		if a.StatusCode != http.StatusUnauthorized {
			t.Fatalf("a wrong password = %s %s", a.Status, a.problem())
		}
		tries++
		w.wait(5 * time.Minute) // longer than any delay between two tries
	}
	if tries != 10 {
		t.Errorf("%d wrong passwords before the lock, want 10", tries)
	}
	for _, name := range names {
		if a := w.browser().try(name, servertest.UserPassword); a.StatusCode != http.StatusTooManyRequests {
			t.Errorf("the right password of %q, locked = %s", name, a.Status)
		}
	}
	for _, call := range []string{"activate", "activations", "password/replace"} {
		a := w.device(http.MethodPost, call, "", "", message("username", "user", "password", servertest.UserPassword, "new_password", "Another-Password-1"))
		if a.StatusCode != http.StatusTooManyRequests {
			t.Errorf("the right password by %s, locked = %s", call, a.Status)
		}
	}
	if a := w.browser().try("nobody", "wrong"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("another account is locked, too: %s", a.Status)
	}
	if a := home.try("user", servertest.UserPassword); a.StatusCode != http.StatusSeeOther {
		t.Errorf("the owner's own browser is locked out: %s", a.Status)
	}

	// Nor does a restart end a lock.
	w.account(accounts.New{Kind: access.UserKind, Username: "second"})
	for range 10 {
		w.browser().try("second", "wrong")
		w.wait(5 * time.Minute)
	}
	w.restart()
	if a := w.browser().try("second", servertest.UserPassword); a.StatusCode != http.StatusTooManyRequests {
		t.Errorf("after a restart = %s", a.Status)
	}
	// Its time does, and so does a mailed link.
	w.wait(15 * time.Minute)
	w.browser().login("second")

	w.account(accounts.New{Kind: access.UserKind, Username: "third", Email: "third@example.org"})
	for range 10 {
		w.browser().try("third", "wrong")
		w.wait(5 * time.Minute)
	}
	w.browser().post("/forgot", "username", "third")
	if a := w.browser().post("/password", "token", w.token(mail.Reset), "password", "Another-Password-1", "again", "Another-Password-1"); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("the mailed link = %s %s", a.Status, a.problem())
	}
	if a := w.browser().try("third", "Another-Password-1"); a.StatusCode != http.StatusSeeOther {
		t.Errorf("after the mailed link = %s %s", a.Status, a.problem())
	}
}

// One network gets so many guesses an hour, at however many accounts.
func guessingFromOnePlace(t testing.TB) {
	w := newWorld(t)
	w.settings(func(s *settings.Settings) error { s.SignIn.NetworkPerHour = 20; return nil })
	b := w.browser()
	b.get("/login")
	tries := 0
	for ; tries < 60; tries++ {
		b.ip = fmt.Sprintf("203.0.113.%d", tries) // the same network
		if a := b.post("/login", "username", fmt.Sprint("somebody", tries), "password", "wrong"); a.StatusCode == http.StatusTooManyRequests {
			break
		}
	}
	if tries != 20 {
		t.Errorf("%d guesses from one network, want 20", tries)
	}
	b.ip = "203.0.114.1"
	if a := b.post("/login", "username", "user", "password", servertest.UserPassword); a.StatusCode != http.StatusSeeOther {
		t.Errorf("another network is slowed down, too: %s", a.Status)
	}
	six := w.browser()
	six.get("/login")
	tries = 0
	for ; tries < 60; tries++ {
		six.ip = fmt.Sprintf("2001:db8:0:%x::1", tries) // the same /56
		if a := six.post("/login", "username", fmt.Sprint("somebody6", tries), "password", "wrong"); a.StatusCode == http.StatusTooManyRequests {
			break
		}
	}
	if tries != 20 {
		t.Errorf("%d guesses from one network of IPv6, want 20", tries)
	}
}

// Many guesses at once are no more guesses.
func guessingAtOnce(t testing.TB) {
	w := newWorld(t)
	var wrong, later, in atomic.Int64
	together(40, func(int) func() {
		b := w.browser()
		b.get("/login")
		return func() {
			switch a := b.post("/login", "username", "user", "password", "wrong"); a.StatusCode {
			case http.StatusUnauthorized:
				wrong.Add(1)
			case http.StatusTooManyRequests:
				later.Add(1)
			default:
				in.Add(1)
			}
		}
	})
	if wrong.Load() > 10 || in.Load() > 0 || wrong.Load()+later.Load() != 40 {
		t.Errorf("of 40 at once %d were tried and %d refused", wrong.Load(), later.Load())
	}

	// The same for the second factor.
	secret := w.app(w.Admin)
	b := w.console().half("admin")
	tries := 0
	for ; tries < 40; tries++ {
		if a := b.post("/factor", "code", fmt.Sprintf("%06d", tries)); a.StatusCode != http.StatusUnauthorized {
			break
		}
		w.wait(5 * time.Minute)
	}
	if tries > 10 {
		t.Errorf("%d wrong codes", tries)
	}
	if a := b.post("/factor", "code", w.code(secret)); a.StatusCode == http.StatusSeeOther && b.in() {
		t.Error("the right code is good while codes are not to be tried")
	}
}

// together prepares n things one after the other and does them all at once.
func together(n int, prepare func(int) func()) {
	var list []func()
	for i := range n {
		list = append(list, prepare(i))
	}
	start := make(chan struct{})
	var group sync.WaitGroup
	for _, f := range list {
		group.Go(func() {
			<-start
			f()
		})
	}
	close(start)
	group.Wait()
}

// Who has an account is told to nobody: not by what is answered, and not by how
// long it takes.
func enumeration(t testing.TB) {
	w := newWorld(t)
	w.settings(func(s *settings.Settings) error {
		s.Registration.Mode, s.Registration.Org, s.Registration.Domains = settings.RegistrationOpen, w.Org.ID, []string{"example.org"}
		s.SignIn.NetworkPerHour = 10_000
		return nil
	})
	w.app(w.account(accounts.New{Kind: access.UserKind, Username: "zebrafinch", Email: "zebrafinch@example.org"}))
	register := func(b *browser, name, address string) answer {
		return b.post("/register", "email", address, "username", name, "first_name", "Some", "last_name", "Body")
	}
	w.same(map[string]func(b *browser, name string) answer{
		"log-in":           func(b *browser, name string) answer { return b.try(name, "wrong") },
		"forgot password":  func(b *browser, name string) answer { return b.post("/forgot", "username", name) },
		"forgot username":  func(b *browser, name string) answer { return b.post("/forgot/username", "email", name+"@example.org") },
		"register":         func(b *browser, name string) answer { return register(b, name, "new@example.org") },
		"register address": func(b *browser, name string) answer { return register(b, "new"+name, name+"@example.org") },
	})
	// A user at the console, and an administrator at the portal, are nobody.
	for _, test := range []struct {
		b              *browser
		name, password string
	}{{w.console(), "user", servertest.UserPassword}, {w.browser(), "admin", servertest.AdminPassword}} {
		right, none := test.b.try(test.name, test.password), test.b.try("resu", "wrong")
		if right.StatusCode != none.StatusCode || right.problem() != none.problem() {
			t.Errorf("the other portal's account: %s %q, nobody's: %s %q", right.Status, right.problem(), none.Status, none.problem())
		}
	}
	// A passkey is asked for only after the password.
	for _, path := range []string{"/factor/passkey/begin", "/admin/factor/passkey/begin"} {
		if a := w.browser().post(path, "username", "user"); !refused(a) {
			t.Errorf("%s as nobody = %s", path, a.Status)
		}
	}
}

// same asks about an account that there is, zebrafinch, and one that is not.
func (w *world) same(asks map[string]func(b *browser, name string) answer) {
	w.Helper()
	for what, ask := range asks {
		there, none := ask(w.browser(), "zebrafinch"), ask(w.browser(), "goldfinchx")
		a, b := strings.ReplaceAll(plain(there, "/none"), "zebrafinch", "NAME"), strings.ReplaceAll(plain(none, "/none"), "goldfinchx", "NAME")
		if a != b {
			w.Errorf("%s tells who has an account:\n%s\n%s", what, differing(a, b), differing(b, a))
		}
	}
}

// Nor do the devices' calls tell it.
func enumerationByDevices(t testing.TB) {
	w := newWorld(t)
	w.settings(func(s *settings.Settings) error {
		s.Registration.Mode, s.Registration.Org, s.Registration.Domains = settings.RegistrationOpen, w.Org.ID, []string{"example.org"}
		s.SignIn.NetworkPerHour = 10_000
		return nil
	})
	w.app(w.account(accounts.New{Kind: access.UserKind, Username: "zebrafinch", Email: "zebrafinch@example.org"}))
	call := func(path string, fields ...any) answer {
		return w.device(http.MethodPost, path, "", "", message(fields...))
	}
	hidden := func(a answer) answer {
		var r wire.Registering
		if json.Unmarshal([]byte(a.body), &r) == nil && r.Pending != "" {
			a.body = strings.ReplaceAll(a.body, r.Pending, strings.Repeat("x", len(r.Pending)))
		}
		return a
	}
	w.same(map[string]func(b *browser, name string) answer{
		"activation": func(_ *browser, name string) answer {
			return call("activate", "username", name, "password", "wrong", "request_id", "7f6c5a34-3b7c-4f0e-9d52-0d6f1c1c0a55", "name", "x")
		},
		"an activation in steps": func(_ *browser, name string) answer {
			return call("activations", "username", name, "password", "wrong", "request_id", "7f6c5a34-3b7c-4f0e-9d52-0d6f1c1c0a55")
		},
		"activation with a code": func(_ *browser, name string) answer {
			return call("activate", "username", name, "password", "wrong", "second_factor", "123456")
		},
		"a new password": func(_ *browser, name string) answer {
			return call("password/replace", "username", name, "password", "wrong", "new_password", "Another-Password-1")
		},
		"forgotten password":                func(_ *browser, name string) answer { return call("password/forgot", "username", name) },
		"forgotten username":                func(_ *browser, name string) answer { return call("username/forgot", "email", name+"@example.org") },
		"the ways to sign in":               func(_ *browser, name string) answer { return call("discover", "identifier", name) },
		"the ways to sign in of an address": func(_ *browser, name string) answer { return call("discover", "identifier", name+"@example.org") },
		"registration": func(_ *browser, name string) answer {
			return hidden(call("register", "email", "new@example.org", "username", name, "first_name", "a", "last_name", "b", "password", "Some-Password-1"))
		},
		"registration of an address": func(_ *browser, name string) answer {
			return hidden(call("register", "email", name+"@example.org", "username", "new"+name, "first_name", "a", "last_name", "b", "password", "Some-Password-1"))
		},
	})
}

// timing compares how long an answer takes about accounts that there are and
// about others.
func timing(t testing.TB) {
	w := newWorld(t)
	w.settings(func(s *settings.Settings) error { s.SignIn.NetworkPerHour = 100_000; return nil })
	const people = 40
	for i := range people {
		w.account(accounts.New{Kind: access.UserKind, Username: fmt.Sprint("person", i), Email: fmt.Sprintf("person%d@example.org", i)})
	}
	b := w.browser()
	b.get("/login")
	w.alike("log-in", 60, 5*time.Millisecond, func(there bool, i int) {
		b.ip = fmt.Sprintf("10.%d.%d.1", i/200, i%200)
		b.post("/login", "username", name(there, i%people), "password", "wrong")
	})
	w.alike("forgotten password", 60, 5*time.Millisecond, func(there bool, i int) {
		b.ip = fmt.Sprintf("10.%d.%d.2", i/200, i%200)
		b.post("/forgot", "username", name(there, i%people))
	})
	w.Gate.Wait()
	w.alike("the ways to sign in", 60, 5*time.Millisecond, func(there bool, i int) {
		w.device(http.MethodPost, "discover", "", "", message("identifier", name(there, i%people)))
	})
}

// work counts what a log-in costs that fails: the memory of a password's hash,
// which is what takes its time. It is the same for who is there and for nobody,
// however busy the machine is.
func work(t testing.TB) {
	const kib = 16 << 10
	w := newWorld(t, func(cfg *server.Config) { cfg.Hasher = &passwords.Hasher{Time: 1, Memory: kib, AtOnce: 4} })
	cost := func(name string) float64 {
		b := w.browser()
		b.get("/login")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const times = 3
		for range times {
			b.post("/login", "username", name, "password", "wrong")
		}
		runtime.ReadMemStats(&after)
		return float64(after.TotalAlloc-before.TotalAlloc) / times / (kib << 10)
	}
	for _, name := range []string{"user", "nobody"} {
		if hashes := math.Round(cost(name)); hashes != 1 {
			t.Errorf("the work of %v hashes is done for %s", hashes, name)
		}
	}
}

// apart compares how long a page takes that belongs to somebody else, and one
// that nobody has.
func apart(t testing.TB) {
	w := newWorld(t)
	device := w.NewDevice(w.User, "laptop").DeviceID
	w.account(accounts.New{Kind: access.UserKind, Username: "colleague"})
	b := w.browser().login("colleague")
	w.alike("somebody else's device", 12, 50*time.Millisecond, func(there bool, _ int) {
		if there {
			b.get("/devices/" + device)
		} else {
			b.get("/devices/" + uuid.NewString())
		}
	})
}

// alike sees that two ways to ask take the same time, within bounds: each is
// asked n times, in turns, and the one is not the slower one but by chance.
// What the machine does besides makes single measurements worth little, and
// comes in waves: they differ only when they do so in three rounds of three,
// beyond the bound and beyond chance.
func (w *world) alike(what string, n int, bound time.Duration, ask func(there bool, i int)) {
	w.Helper()
	for round := range 3 {
		var there, none []float64
		for i := range n {
			for _, exists := range []bool{i%2 == 0, i%2 != 0} {
				w.wait(time.Hour / 4) // no lock and no delay is in the way
				began := time.Now()
				ask(exists, i+100*round)
				took := time.Since(began).Seconds()
				if exists {
					there = append(there, took)
				} else {
					none = append(none, took)
				}
			}
		}
		delta, p := math.Abs(median(there)-median(none)), mannWhitney(there, none)
		if p > 0.01 || delta < bound.Seconds() {
			return
		}
		if round == 2 {
			w.Errorf("%s: medians %.1f ms for what is there and %.1f ms for what is not, p = %.4f", what, 1000*median(there), 1000*median(none), p)
		}
	}
}

func name(there bool, i int) string {
	if there {
		return fmt.Sprint("person", i)
	}
	return fmt.Sprint("nobody", i)
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// mannWhitney is how likely two samples of one kind differ as much as these, by
// the normal approximation.
func mannWhitney(a, b []float64) float64 {
	u := 0.0
	for _, x := range a {
		for _, y := range b {
			switch {
			case x > y:
				u++
			case x == y:
				u += 0.5
			}
		}
	}
	n, m := float64(len(a)), float64(len(b))
	z := math.Abs(u-n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
	return math.Erfc(z / math.Sqrt2)
}
