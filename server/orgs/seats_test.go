package orgs_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/settings"
)

var rules = settings.Licences{GraceDays: 14, ExpiryDays: 30}

func TestRules(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	sound := orgs.Licence{State: orgs.LicenceActive, SeatsActive: 5, SeatsPreserved: 1}
	with := func(f func(*orgs.Licence)) orgs.Licence {
		l := sound
		f(&l)
		return l
	}
	over := func(ago time.Duration) orgs.Licence {
		return with(func(l *orgs.Licence) { l.OverSince = now.Add(-ago) })
	}
	const yes, full, bad = errs.Code(""), errs.NoFreeSeat, errs.BadSerial
	for name, c := range map[string]struct {
		l        orgs.Licence
		taken    int
		register errs.Code
		activate errs.Code
		come     errs.Code
		join     errs.Code
	}{
		"an empty one":            {sound, 0, yes, yes, yes, yes},
		"one seat left":           {sound, 4, yes, yes, yes, yes},
		"all taken":               {sound, 5, full, yes, full, yes}, // the first too many begins the grace
		"over, the first day":     {over(0), 6, full, yes, full, yes},
		"over, the last moment":   {over(grace - 1), 6, full, yes, full, yes},
		"over, the grace is over": {over(grace), 6, full, full, full, yes},
		"over, and one left":      {over(grace), 5, full, full, full, yes},
		"enough again":            {over(grace), 4, yes, yes, yes, yes},
		"its last moment":         {with(func(l *orgs.Licence) { l.ValidTo = now.Add(1) }), 0, yes, yes, yes, yes},
		"expired":                 {with(func(l *orgs.Licence) { l.ValidTo = now }), 0, full, full, full, full},
		"revoked":                 {with(func(l *orgs.Licence) { l.State = orgs.LicenceRevoked }), 0, bad, full, full, full},
		"changed by hand":         {with(func(l *orgs.Licence) { l.State, l.Fault = orgs.LicenceInvalid, errors.New("x") }), 0, bad, full, full, full},
	} {
		for what, got := range map[string]struct {
			err  error
			want errs.Code
		}{
			"MayRegister": {c.l.MayRegister(c.taken, now), c.register},
			"MayActivate": {c.l.MayActivate(c.taken, now, grace), c.activate},
			"MayReturn":   {c.l.MayReturn(c.taken, now), c.come},
			"MayJoin":     {c.l.MayJoin(now), c.join},
		} {
			if got.want == "" && got.err != nil || got.want != "" && !errs.Is(got.err, got.want) {
				t.Errorf("%s with %d taken: %s = %v, want %q", name, c.taken, what, got.err, got.want)
			}
		}
	}
	for taken, want := range map[int]bool{0: true, 1: false, 2: false} {
		if got := sound.MayPreserve(taken) == nil; got != want {
			t.Errorf("MayPreserve(%d) is allowed: %v", taken, got)
		}
	}
	for in, want := range map[[2]int]int{{0, 10}: 0, {1, 10}: 1, {10, 10}: 1, {11, 10}: 2, {100, 10}: 10, {5, 0}: 0, {3, 100}: 3} {
		if got := orgs.PreservedShare(in[0], in[1]); got != want {
			t.Errorf("PreservedShare(%d, %d) = %d, want %d", in[0], in[1], got, want)
		}
	}
}

// The grace begins when more seats are taken than there are, is not begun anew
// by the next one, and ends with more seats or fewer users.
func TestGrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.create("Bureau", 2, 1, time.Time{})
	ask := func() error {
		return w.try(func(tx *db.Tx) error { return orgs.AskSeat(t.Context(), tx, w.ring, l.ID, grace) })
	}
	take := func() {
		t.Helper()
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		w.user(l.ID, "active")
	}
	take()
	w.user(l.ID, "") // a user without a device takes nothing
	take()
	if got := w.find(l.ID); !got.OverSince.IsZero() {
		t.Errorf("with all taken it is over since %s", got.OverSince)
	}
	take()
	since := w.now
	w.now = w.now.Add(13 * day)
	take()
	if got := w.find(l.ID); !got.OverSince.Equal(since) {
		t.Errorf("it is over since %s, want %s", got.OverSince, since)
	}
	w.now = w.now.Add(day)
	if err := ask(); !errs.Is(err, errs.NoFreeSeat) {
		t.Errorf("after the grace: %v, want E1301", err)
	}

	more := w.find(l.ID)
	more.SeatsActive = 5
	if err := w.change(more); err != nil {
		t.Fatal(err)
	}
	if got := w.find(l.ID); !got.OverSince.IsZero() {
		t.Errorf("with more seats it is still over since %s", got.OverSince)
	}
	take()
	if err := w.try(func(tx *db.Tx) error { return orgs.AskReturn(t.Context(), tx, l.ID) }); !errs.Is(err, errs.NoFreeSeat) {
		t.Errorf("coming back to a full licence: %v, want E1301", err)
	}
	// Fewer seats begin the grace as well.
	fewer := w.find(l.ID)
	fewer.SeatsActive = 1
	if err := w.change(fewer); err != nil {
		t.Fatal(err)
	}
	if got := w.find(l.ID); !got.OverSince.Equal(w.now) {
		t.Errorf("with fewer seats it is over since %s, want %s", got.OverSince, w.now)
	}
	w.exec("UPDATE users SET seat = '' WHERE licence = $1", l.ID)
	w.write(func(tx *db.Tx) error { return orgs.Recount(t.Context(), tx, l.ID) })
	if got := w.find(l.ID); !got.OverSince.IsZero() {
		t.Errorf("with nobody left it is still over since %s", got.OverSince)
	}
	w.user(l.ID, "preserved")
	if err := w.try(func(tx *db.Tx) error { return orgs.AskPreserved(t.Context(), tx, l.ID) }); !errs.Is(err, errs.NoFreeSeat) {
		t.Errorf("a second preserved: %v, want E1301", err)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	choose := func() (id orgs.LicenceID, err error) {
		err = w.try(func(tx *db.Tx) (err error) {
			id, err = orgs.Choose(t.Context(), tx, w.ring, w.org.ID, grace)
			return err
		})
		return id, err
	}
	want := func(what string, id orgs.LicenceID) {
		t.Helper()
		if got, err := choose(); err != nil || got != id {
			t.Errorf("%s: chose %q, %v, want %q", what, got, err, id)
		}
	}
	want("no licence at all", "")
	w.user("", "active")
	first := w.create("First", 2, 0, w.now.Add(day))
	// Who was there before the first licence is bound to it.
	if active, _ := w.seats(first.ID); active != 1 {
		t.Errorf("the first licence has %d users of those who were there, want 1", active)
	}
	want("one free", first.ID)
	w.user(first.ID, "active")
	want("full, in grace", first.ID)
	second := w.create("Second", 1, 0, time.Time{})
	if active, _ := w.seats(second.ID); active != 0 {
		t.Errorf("a second licence took %d users", active)
	}
	want("the second is free", second.ID)
	w.user(second.ID, "active")
	want("both full, in grace", first.ID)
	w.now = w.now.Add(day)
	want("the first expired", second.ID)
	w.write(func(tx *db.Tx) error {
		_, err := orgs.RevokeLicence(t.Context(), tx, operator, w.ring, second.ID)
		return err
	})
	if id, err := choose(); id != "" || !errs.Is(err, errs.NoFreeSeat) {
		t.Errorf("none is left: %q, %v, want E1301", id, err)
	}
}

func (w *world) seats(id orgs.LicenceID) (active, preserved int) {
	w.t.Helper()
	w.write(func(tx *db.Tx) (err error) {
		active, preserved, err = orgs.Seats(w.t.Context(), tx, id)
		return err
	})
	return active, preserved
}

func TestStands(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		l     orgs.Licence
		taken int
		key   string
		bad   bool
	}{
		"free":     {orgs.Licence{State: orgs.LicenceActive, SeatsActive: 5}, 4, "licence.stands.free", false},
		"full":     {orgs.Licence{State: orgs.LicenceActive, SeatsActive: 5}, 5, "licence.stands.full", false},
		"over":     {orgs.Licence{State: orgs.LicenceActive, SeatsActive: 5, OverSince: now.Add(-day)}, 6, "licence.stands.over", true},
		"stopped":  {orgs.Licence{State: orgs.LicenceActive, SeatsActive: 5, OverSince: now.Add(-grace)}, 6, "licence.stands.stopped", true},
		"expiring": {orgs.Licence{State: orgs.LicenceActive, SeatsActive: 5, ValidTo: now.Add(29 * day)}, 1, "licence.stands.expiring", true},
		"not soon": {orgs.Licence{State: orgs.LicenceActive, SeatsActive: 5, ValidTo: now.Add(31 * day)}, 1, "licence.stands.free", false},
		"expired":  {orgs.Licence{State: orgs.LicenceActive, SeatsActive: 5, ValidTo: now}, 1, "licence.stands.expired", true},
		"revoked":  {orgs.Licence{State: orgs.LicenceRevoked, SeatsActive: 5}, 1, "licence.stands.revoked", true},
		"invalid":  {orgs.Licence{State: orgs.LicenceInvalid, SeatsActive: 5}, 1, "licence.stands.invalid", true},
	} {
		got := c.l.Stands(c.taken, 2, now, rules)
		if got.Key != c.key || got.Bad != c.bad || got.Taken != c.taken || got.Preserved != 2 {
			t.Errorf("%s: %+v, want %s", name, got, c.key)
		}
		if (c.key == "licence.stands.over" || c.key == "licence.stands.stopped") != !got.GraceEnd.IsZero() {
			t.Errorf("%s: the grace ends %s", name, got.GraceEnd)
		}
	}
}

func TestOverview(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.create("Bureau", 2, 1, time.Time{})
	w.user(l.ID, "active")
	w.user(l.ID, "preserved")
	w.user(l.ID, "")
	viewer := access.Caller{Kind: access.AdminKind, User: "a", Org: w.org.ID, Role: access.Viewer}
	var list []orgs.Standing
	w.write(func(tx *db.Tx) (err error) {
		list, err = orgs.Overview(t.Context(), tx, viewer, w.ring, w.org.ID, rules)
		return err
	})
	if len(list) != 1 || list[0].Taken != 1 || list[0].Preserved != 1 || list[0].Key != "licence.stands.free" || list[0].Serial != "" {
		t.Errorf("%+v", list)
	}
	err := w.try(func(tx *db.Tx) error {
		_, err := orgs.Overview(t.Context(), tx, access.Caller{Kind: access.UserKind, User: "u", Org: w.org.ID}, w.ring, w.org.ID, rules)
		return err
	})
	if errs.KindOf(err) != errs.NotFound {
		t.Errorf("a user's overview: %v", err)
	}
}

// Of many who come at once for the last seats only so many get one.
func TestSeatsUnderARace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const seats, come = 3, 12
	l := w.create("Bureau", seats, 0, time.Time{})
	ids := make([]string, come)
	for i := range ids {
		ids[i] = w.user(l.ID, "")
	}
	var in atomic.Int64
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			err := w.db.Write(t.Context(), func(tx *db.Tx) error {
				if err := orgs.AskReturn(t.Context(), tx, l.ID); err != nil {
					return err
				}
				if _, err := tx.Exec(t.Context(), "UPDATE users SET seat = 'active' WHERE id = $1", id); err != nil {
					return err
				}
				return orgs.Recount(t.Context(), tx, l.ID)
			})
			switch {
			case err == nil:
				in.Add(1)
			case !errs.Is(err, errs.NoFreeSeat):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if active, _ := w.seats(l.ID); in.Load() != seats || active != seats {
		t.Errorf("%d were let in and %d seats are taken, want %d", in.Load(), active, seats)
	}
}
