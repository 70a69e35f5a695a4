package accounts_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/settings"
)

// hard lets nobody take more seats than there are.
func (w *world) hard() { w.Set(func(s *settings.Settings) { s.Licences.GraceDays = 0 }) }

func (w *world) take(u accounts.User) error {
	w.Helper()
	return w.Try(func(tx *db.Tx) error { return accounts.TakeSeat(w.Context(), tx, w.Ring, u.ID) })
}

// seats fails the test unless so many are taken.
func (w *world) seats(l orgs.Licence, active, preserved int) {
	w.Helper()
	w.Write(func(tx *db.Tx) error {
		a, p, err := orgs.Seats(w.Context(), tx, l.ID)
		if a != active || p != preserved {
			w.Errorf("%d active and %d preserved seats are taken, want %d and %d", a, p, active, preserved)
		}
		return err
	})
}

func (w *world) over(l orgs.Licence) bool {
	w.Helper()
	w.Write(func(tx *db.Tx) (err error) {
		l, err = orgs.FindLicence(w.Context(), tx, w.Ring, l.ID)
		return err
	})
	return !l.OverSince.IsZero()
}

// The life of one seat.
func TestSeatFollowsTheState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hard()
	u := w.User("una")
	l := w.Licence("One", 1, 1)
	w.seats(l, 0, 0)
	for range 2 { // a second device takes no second seat
		if err := w.take(u); err != nil {
			t.Fatal(err)
		}
		w.seats(l, 1, 0)
	}
	step := func(to accounts.State, active, preserved int) {
		t.Helper()
		if err := w.setState(u.ID, to); err != nil {
			t.Errorf("to %s: %v", to, err)
		}
		w.seats(l, active, preserved)
	}
	undelete := func(active, preserved int) {
		t.Helper()
		w.Write(func(tx *db.Tx) error { return accounts.Undelete(t.Context(), tx, system, u.ID, "") })
		w.seats(l, active, preserved)
	}
	step(accounts.Disabled, 1, 0)
	step(accounts.Active, 1, 0)
	step(accounts.Preserved, 0, 1)
	step(accounts.Active, 1, 0)
	step(accounts.Deleted, 0, 0)
	undelete(1, 0)
	step(accounts.Disabled, 1, 0)
	step(accounts.Deleted, 0, 0)
	undelete(1, 0)
	step(accounts.Preserved, 0, 1)
	step(accounts.Deleted, 0, 0)
	undelete(0, 1)
	step(accounts.Active, 1, 0) // it still knows that it had one
	w.Write(func(tx *db.Tx) error { return accounts.FreeSeat(t.Context(), tx, u.ID) })
	w.seats(l, 0, 0)
	if got := w.Find(u.ID); got.State != accounts.Active || orgs.LicenceID(got.Licence) != l.ID {
		t.Errorf("without a device the user is %s, with licence %s", got.State, got.Licence)
	}
	step(accounts.Preserved, 0, 1)
	step(accounts.Active, 0, 0) // there is no device to need one

	// Its last device goes while it is preserved.
	if err := w.take(u); err != nil {
		t.Fatal(err)
	}
	step(accounts.Preserved, 0, 1)
	w.Write(func(tx *db.Tx) error { return accounts.FreeSeat(t.Context(), tx, u.ID) })
	w.seats(l, 0, 1)
	step(accounts.Active, 0, 0)
}

// A licence knows at once when its seats suffice again.
func TestEverySeatThatIsFreedIsCounted(t *testing.T) {
	t.Parallel()
	for name, free := range map[string]func(w *world, u accounts.User, two orgs.Licence) error{
		"preserved": func(w *world, u accounts.User, _ orgs.Licence) error { return w.setState(u.ID, accounts.Preserved) },
		"deleted":   func(w *world, u accounts.User, _ orgs.Licence) error { return w.setState(u.ID, accounts.Deleted) },
		"without a device": func(w *world, u accounts.User, _ orgs.Licence) error {
			return w.Try(func(tx *db.Tx) error { return accounts.FreeSeat(w.Context(), tx, u.ID) })
		},
		"moved": func(w *world, u accounts.User, two orgs.Licence) error {
			return w.Try(func(tx *db.Tx) error {
				return accounts.SetLicence(w.Context(), tx, system, w.Ring, u.ID, string(two.ID))
			})
		},
	} {
		w := newWorld(t)
		una, vic := w.User("una"), w.User("vic")
		one, two := w.Licence("One", 1, 1), w.Licence("Two", 1, 1)
		for _, u := range []accounts.User{una, vic} {
			if err := w.take(u); err != nil {
				t.Fatal(err)
			}
		}
		if !w.over(one) {
			t.Fatalf("%s: two of one seat are not too many", name)
		}
		if err := free(w, vic, two); err != nil || w.over(one) {
			t.Errorf("%s: %v, and the licence still lacks a seat: %v", name, err, w.over(one))
		}
	}
}

// Who gave the seat up comes back only when one is free, and stays as they were
// when not.
func TestComingBackNeedsASeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t) // with days of grace, which do not help here
	una, vic := w.User("una"), w.User("vic")
	l := w.Licence("One", 1, 1)
	if err := w.take(una); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []accounts.State{accounts.Preserved, accounts.Deleted} {
		if err := w.setState(una.ID, gone); err != nil {
			t.Fatal(err)
		}
		if err := w.take(vic); err != nil {
			t.Fatal(err)
		}
		back := func() error {
			return w.Try(func(tx *db.Tx) error {
				if gone == accounts.Deleted {
					return accounts.Undelete(t.Context(), tx, system, una.ID, "")
				}
				return accounts.Activate(t.Context(), tx, system, una.ID, "")
			})
		}
		if err := back(); !errs.Is(err, errs.NoFreeSeat) || w.Find(una.ID).State != gone {
			t.Errorf("%s, all seats taken: %v, is %s; want E1301", gone, err, w.Find(una.ID).State)
		}
		w.Write(func(tx *db.Tx) error { return accounts.FreeSeat(t.Context(), tx, vic.ID) })
		if err := back(); err != nil {
			t.Errorf("%s, with a seat: %v", gone, err)
		}
		w.seats(l, 1, 0)
	}
}

func TestPreservedSeatsAreCapped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una, vic := w.User("una"), w.User("vic")
	l := w.Licence("Ten", 10, 1)
	for _, u := range []accounts.User{una, vic} {
		if err := w.take(u); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.setState(una.ID, accounts.Preserved); err != nil {
		t.Fatal(err)
	}
	if err := w.setState(vic.ID, accounts.Preserved); !errs.Is(err, errs.NoFreeSeat) {
		t.Errorf("preserving one more: %v, want E1301", err)
	}
	if got := w.Find(vic.ID); got.State != accounts.Active || got.Seat != accounts.ActiveSeat {
		t.Errorf("who could not be preserved is %s with seat %q", got.State, got.Seat)
	}
	w.seats(l, 1, 1)
}

// More seats than there are may be taken during the grace; then not, and who
// has one keeps it. More seats heal it.
func TestGrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	var users []accounts.User
	for n := range 4 {
		users = append(users, w.User(fmt.Sprint("u", n)))
	}
	l := w.Licence("One", 1, 1)
	if err := w.take(users[0]); err != nil || w.over(l) {
		t.Fatalf("the only seat: %v, over %v", err, w.over(l))
	}
	if err := w.take(users[1]); err != nil || !w.over(l) {
		t.Fatalf("one more in the grace: %v, over %v", err, w.over(l))
	}
	move(14*day - time.Second)
	if err := w.take(users[2]); err != nil {
		t.Errorf("at the end of the grace: %v", err)
	}
	move(time.Second)
	if err := w.take(users[3]); !errs.Is(err, errs.NoFreeSeat) {
		t.Errorf("after the grace: %v, want E1301", err)
	}
	for _, u := range users[:3] {
		if err := w.take(u); err != nil { // another device
			t.Errorf("who has a seat: %v", err)
		}
	}
	for _, u := range users[1:3] {
		w.Write(func(tx *db.Tx) error { return accounts.FreeSeat(t.Context(), tx, u.ID) })
	}
	if w.over(l) {
		t.Error("still over when the seats suffice")
	}
}

func TestWithoutALicenceNothingIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hard()
	for n := range 3 {
		u := w.User(fmt.Sprint("u", n))
		if err := w.take(u); err != nil {
			t.Error(err)
		}
		if err := w.setState(u.ID, accounts.Preserved); err != nil {
			t.Error(err)
		}
	}
}

func TestSetLicence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hard()
	una, vic := w.User("una"), w.User("vic")
	one, two := w.Licence("One", 1, 0), w.Licence("Two", 1, 0)
	set := func(u accounts.User, l orgs.LicenceID) error {
		return w.Try(func(tx *db.Tx) error { return accounts.SetLicence(t.Context(), tx, system, w.Ring, u.ID, string(l)) })
	}
	if err := w.take(una); err != nil {
		t.Fatal(err)
	}
	// The first is full, and vic is bound to it.
	if err := w.take(vic); !errs.Is(err, errs.NoFreeSeat) {
		t.Fatalf("took a seat of a full licence: %v", err)
	}
	if err := set(vic, two.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.take(vic); err != nil {
		t.Fatal(err)
	}
	w.seats(one, 1, 0)
	w.seats(two, 1, 0)
	if err := set(vic, one.ID); !errs.Is(err, errs.NoFreeSeat) || orgs.LicenceID(w.Find(vic.ID).Licence) != two.ID {
		t.Errorf("moving a seat into a full licence: %v, want E1301", err)
	}
	w.Write(func(tx *db.Tx) error { return accounts.FreeSeat(t.Context(), tx, una.ID) })
	if err := set(vic, one.ID); err != nil {
		t.Errorf("moving a seat: %v", err)
	}
	w.seats(one, 1, 0)
	w.seats(two, 0, 0)
	// Somebody whom nobody gave one gets the one with room.
	wil, err := w.Create(system, accounts.New{Username: "wil", PasswordHash: w.Hash(password)})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.take(wil); err != nil || orgs.LicenceID(w.Find(wil.ID).Licence) != two.ID {
		t.Errorf("chose %s, %v; want %s", w.Find(wil.ID).Licence, err, two.ID)
	}

	var other orgs.Org
	w.Write(func(tx *db.Tx) (err error) {
		other, err = orgs.Create(t.Context(), tx, system, w.Ring, "Other")
		return err
	})
	here := w.Org
	w.Org = other
	foreign := w.Licence("Foreign", 5, 0)
	w.Org = here
	for _, id := range []orgs.LicenceID{foreign.ID, "none"} {
		if err := set(una, id); errs.KindOf(err) != errs.NotFound {
			t.Errorf("licence %s: %v, want NotFound", id, err)
		}
		if _, err := w.Create(system, accounts.New{Username: "xenia", Licence: string(id)}); errs.KindOf(err) != errs.NotFound {
			t.Errorf("a user with licence %s: %v, want NotFound", id, err)
		}
	}
	if err := w.Try(func(tx *db.Tx) error {
		return accounts.SetLicence(t.Context(), tx, una.Caller(from), w.Ring, una.ID, string(two.ID))
	}); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("a user for themselves: %v, want Forbidden", err)
	}
}

// Where an invitation takes a seat, what comes of it gives it back.
func TestReserveOnInvite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	w.hard()
	w.Set(func(s *settings.Settings) { s.Licences.ReserveOnInvite = true })
	l := w.Licence("One", 1, 0)
	w.in(accounts.Pending, "pending")
	w.seats(l, 1, 0)
	if _, err := w.Create(system, accounts.New{Username: "more"}); !errs.Is(err, errs.NoFreeSeat) {
		t.Errorf("inviting one more: %v, want E1301", err)
	}
	if _, err := w.Create(system, accounts.New{Username: "boss", Kind: access.AdminKind, Role: access.Viewer}); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	move(day)
	w.Write(func(tx *db.Tx) error {
		_, err := accounts.Forget(t.Context(), tx)
		return err
	})
	w.seats(l, 0, 0)
	u := w.in(accounts.Invited, "invited")
	w.seats(l, 1, 0)
	if err := w.setState(u.ID, accounts.Deleted); err != nil {
		t.Fatal(err)
	}
	w.seats(l, 0, 0)
}

// Of many at once, exactly one gets the last seat.
func TestTheLastSeatUnderARace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hard()
	var users []accounts.User
	for n := range 8 {
		users = append(users, w.User(fmt.Sprint("u", n)))
	}
	l := w.Licence("One", 1, 0)
	results := make(chan error)
	for _, u := range users {
		go func() { results <- w.take(u) }()
	}
	got := 0
	for range users {
		if err := <-results; err == nil {
			got++
		} else if !errs.Is(err, errs.NoFreeSeat) {
			t.Errorf("got %v, want E1301", err)
		}
	}
	if got != 1 {
		t.Errorf("%d got the last seat", got)
	}
	w.seats(l, 1, 0)
}
