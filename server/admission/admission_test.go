package admission

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
)

// office is a database that several servers use.
type office struct {
	t   *testing.T
	dsn string
	db  *db.DB

	shift atomic.Int64 // of the clock, in nanoseconds
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, dsn: dbtest.DSN(t)}
	o.db = o.open()
	// Only ids are looked at here, and they are of nobody.
	err := o.db.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), `DROP TABLE turns`)
		if err == nil {
			_, err = tx.Exec(t.Context(), `CREATE TABLE turns (device TEXT PRIMARY KEY, user_id TEXT, state TEXT, since BIGINT, due_at BIGINT, expires_at BIGINT)`)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *office) open() *db.DB {
	o.t.Helper()
	d := dbtest.Open(o.t, o.dsn)
	began := time.Now()
	d.Now = func() time.Time { return began.Add(time.Duration(o.shift.Load())) }
	return d
}

func (o *office) pass(d time.Duration) { o.shift.Add(int64(d)) }

// people are so many devices of a user.
func people(user string, n int) (devices []access.Caller) {
	for i := range n {
		devices = append(devices, access.Caller{Kind: access.DeviceKind, User: access.UserID(user), Device: access.DeviceID(fmt.Sprint(user, i+1))})
	}
	return devices
}

// told is how long a device was told to wait, 0 when it got a place.
func told(t *testing.T, l *Line, d access.Caller) time.Duration {
	t.Helper()
	err := l.Enter(t.Context(), d)
	if err != nil && !errs.Is(err, errs.ServerBusy) {
		t.Fatal(err)
	}
	return time.Duration(errs.RetryAfter(err)) * time.Second
}

func (o *office) wants(l *Line, d access.Caller, want time.Duration, why string) {
	o.t.Helper()
	if got := told(o.t, l, d); got != want {
		o.t.Errorf("%s: %s is told to wait %v, want %v", why, d.Device, got, want)
	}
}

func (o *office) leaves(l *Line, d access.Caller) {
	o.t.Helper()
	if err := l.Leave(o.t.Context(), d.Device); err != nil {
		o.t.Fatal(err)
	}
}

// Fifty devices that ask two servers in the same moment get the places that
// there are, and not one more.
func TestAllAtOnce(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	lines := []*Line{New(o.db, 5), New(o.open(), 5)}
	devices := people("ann", 50)
	var admitted atomic.Int64
	var all sync.WaitGroup
	for i, d := range devices {
		all.Go(func() {
			// A database in which too many do this at once says busy by itself.
			if err := lines[i%2].Enter(t.Context(), d); err == nil {
				admitted.Add(1)
			} else if !errs.Is(err, errs.ServerBusy) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, d := range devices { // those that the database had no time for ask again
		told(t, lines[0], d)
	}
	var counts map[string]int
	err := o.db.Read(t.Context(), func(tx *db.Tx) (err error) { counts, err = Counts(t.Context(), tx); return err })
	if n := admitted.Load(); err != nil || n > 5 || counts[Sending] != 5 || counts[Waiting] != 45 {
		t.Errorf("%d of 50 got one of 5 places, and then there are %v (%v)", n, counts, err)
	}
}

// Who comes back in time has kept its turn, also on a server that was started
// since; who does not begins anew.
func TestTurnIsKept(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	l := New(o.db, 1)
	ann, bob, cid := people("ann", 1)[0], people("bob", 1)[0], people("cid", 1)[0]
	o.wants(l, ann, 0, "an empty server")
	o.wants(l, bob, 20*time.Second, "the first in line")
	o.pass(5 * time.Second)
	o.wants(l, cid, 40*time.Second, "the second")
	o.wants(l, bob, 15*time.Second, "too early, told the rest of the time")
	o.leaves(l, ann)
	o.wants(l, bob, 0, "too early, but the first when a place is free")
	o.leaves(l, bob)
	o.pass(35 * time.Second)
	l = New(o.open(), 1)
	o.wants(l, ann, 0, "nobody is expected yet")
	o.pass(5 * time.Second)
	o.wants(l, bob, 40*time.Second, "behind one who waits longer")
	o.leaves(l, ann)
	o.pass(grace - time.Second)
	o.wants(l, ann, time.Minute, "a place is kept for one who is expected")
	o.wants(l, cid, 0, "in time at last")
	o.leaves(l, cid)
	o.pass(time.Minute + grace)
	o.wants(l, cid, 0, "those who did not come have lost their turns")
}

// A place costs a write when it is taken, and one a minute. It is lost when
// nothing comes for long, and nobody else's is lost for that.
func TestPlaceIsKept(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	l := New(o.db, 1)
	ann, bob := people("ann", 1)[0], people("bob", 1)[0]
	has := func(d access.Caller) (yes bool) {
		t.Helper()
		err := o.db.Read(t.Context(), func(tx *db.Tx) (err error) { yes, err = Has(t.Context(), tx, d.Device); return err })
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	o.wants(l, ann, 0, "an empty server")
	if !has(ann) || has(bob) {
		t.Error("the place is not ann's")
	}
	o.pass(59 * time.Second)
	if !has(ann) {
		t.Error("a place is to be renewed within a minute")
	}
	o.pass(2 * time.Second)
	if has(ann) {
		t.Error("a place is not renewed after a minute")
	}
	for range 4 { // it sends for nine minutes
		o.wants(l, ann, 0, "it keeps its place")
		o.pass(2 * time.Minute)
	}
	o.wants(l, bob, 20*time.Second, "ann's turn is not over")
	o.pass(time.Minute)
	o.wants(l, bob, 0, "ann's turn is over")
	if has(ann) {
		t.Error("ann and bob have the one place")
	}
	o.pass(idle)
	o.wants(l, ann, 0, "bob has not been heard of")
	if err := o.db.Write(t.Context(), func(tx *db.Tx) error {
		n, err := Expire(t.Context(), tx)
		if n != 1 {
			t.Errorf("%d turns were deleted that were lost, want 1", n)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// While files are read back fewer backups begin, but never none.
func TestRestoresFirst(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	l := New(o.db, 3)
	d := people("ann", 4)
	var ends []func()
	for range 5 {
		ends = append(ends, l.Restoring())
	}
	o.wants(l, d[0], 0, "one is always left")
	o.wants(l, d[1], 20*time.Second, "all others are for the restores")
	for _, end := range ends[1:] {
		end()
	}
	o.pass(20 * time.Second)
	o.wants(l, d[1], 0, "one restore, two backups")
	o.wants(l, d[2], 20*time.Second, "one restore, two backups")
	ends[0]()
	o.pass(20 * time.Second)
	o.wants(l, d[2], 0, "three backups")
}

// Asking more often, or with more devices, gains nothing.
func TestInsisting(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	l := New(o.db, 2)
	mallory, bob := people("mallory", 10), people("bob", 1)[0]
	o.wants(l, mallory[0], 0, "an empty server")
	o.wants(l, mallory[1], 0, "an empty server")
	for _, d := range mallory[2:] {
		told(t, l, d)
	}
	o.wants(l, bob, 20*time.Second, "before all that wait")
	for range 20 {
		o.pass(time.Second)
		for _, d := range mallory[2:] {
			told(t, l, d)
		}
	}
	o.leaves(l, mallory[0])
	for _, d := range mallory[2:] {
		if told(t, l, d) == 0 {
			t.Errorf("%s got the place that was bob's by insisting", d.Device)
		}
	}
	o.wants(l, bob, 0, "its turn")
	// Nor by never ending: with more devices than others the turn is short.
	o.pass(20 * time.Second)
	told(t, l, mallory[0])
	o.leaves(l, bob)
	o.pass(20 * time.Second)
	var n int
	for _, d := range mallory {
		if told(t, l, d) == 0 {
			n++
		}
	}
	if n < 2 {
		t.Errorf("with nobody else there mallory has %d places of 2", n)
	}
	o.pass(least)
	o.wants(l, bob, 0, "mallory has had two places for long enough")
}
