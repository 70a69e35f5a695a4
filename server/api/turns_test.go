package api

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/admission"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// rush is a time in which more devices want to back up than the servers take.
type rush struct {
	t     *testing.T
	hosts []*host // of one database; what is asked goes to each in turn
	now   time.Duration
	asked int
	most  int // devices that had a place at the same time
}

// runner is a device that wants to back up: it opens a session, puts packs half
// a minute apart, and commits.
type runner struct {
	name    string
	at      []*machine // the device, at each host
	next    time.Duration
	session *wire.Session
	sent    []backup.Object
	packs   int
	dies    bool // after its first pack
	yielded int  // times that its turn was over
	ended   time.Duration
}

func (r *rush) runner(user, name string, packs int) *runner {
	r.t.Helper()
	d := r.hosts[0].activate(user)
	x := &runner{name: name, packs: packs}
	for _, h := range r.hosts {
		x.at = append(x.at, d.on(h))
	}
	return x
}

// reach lets time pass on all hosts.
func (r *rush) reach(now time.Duration) {
	r.now = max(r.now, now)
	for _, h := range r.hosts {
		h.shift.Store(int64(r.now))
	}
}

// step is the next thing that a device does.
func (r *rush) step(x *runner) error {
	r.asked++
	d := x.at[r.asked%len(x.at)]
	switch {
	case x.session == nil:
		s, err := d.OpenSession(r.t.Context(), d.SetID)
		if err == nil {
			x.session = &s
		}
		return err
	case len(x.sent) <= x.packs:
		kind := backup.Data
		if len(x.sent) == x.packs {
			kind = backup.Page
		}
		o := d.Seal(kind, fmt.Sprint(x.name, len(x.sent)))
		_, err := d.Put(r.t.Context(), x.session.SessionID, wiretest.PutID(), kind.Class(), 0, wiretest.Body(wiretest.Records(o)), nil)
		if err == nil {
			x.sent = append(x.sent, o)
		}
		return err
	}
	ids := wiretest.IDs(x.sent...)
	refs := &snapshot.Refs{Added: ids}
	root := x.sent[len(x.sent)-1]
	_, err := d.Commit(r.t.Context(), x.session.SessionID, d.Manifest(*x.session, time.Now(), root, ids, refs).Encode(), refs.Encode(), wire.Lacking{})
	x.ended = r.now
	return err
}

// run lets all back up until each has ended, and calls each after every step.
func (r *rush) run(all []*runner, each func()) {
	r.t.Helper()
	for len(all) > 0 {
		x := slices.MinFunc(all, func(a, b *runner) int { return int(a.next - b.next) })
		if r.reach(x.next); r.now > 2*time.Hour {
			r.t.Fatalf("after two hours %d devices have not ended, one is %s", len(all), x.name)
		}
		err := r.step(x)
		var no *wire.Refusal
		switch {
		case errs.Is(err, errs.ServerBusy) && errors.As(err, &no) && no.After > 0:
			if x.session != nil {
				x.yielded++
			}
			x.next = r.now + no.After + no.After/10
		case err != nil:
			r.t.Fatalf("%s after %v: %v", x.name, r.now, err)
		default:
			x.next = r.now + 30*time.Second
		}
		if x.ended > 0 || x.dies && len(x.sent) > 0 {
			all = slices.DeleteFunc(all, func(y *runner) bool { return y == x })
		}
		r.most = max(r.most, r.places()[admission.Sending])
		each()
	}
}

func (r *rush) places() (n map[string]int) {
	r.t.Helper()
	err := r.hosts[0].DB.Read(r.t.Context(), func(tx *db.Tx) (err error) {
		n, err = admission.Counts(r.t.Context(), tx)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// A device that stops before the end lets the next one in at once, and so does
// one that waits no longer. It goes on later with what it sent.
func TestLeavingTheLine(t *testing.T) {
	t.Parallel()
	h := newNarrowHost(t, 1)
	h.newUser("ann")
	first, second, third := h.activate("ann"), h.activate("ann"), h.activate("ann")
	open := func(d *machine) (wire.Session, error) { return d.OpenSession(t.Context(), d.SetID) }
	begun, err := open(first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(second); !errs.Is(err, errs.ServerBusy) {
		t.Errorf("a second device beside the first: %v", err)
	}
	if err := errors.Join(second.Leave(t.Context()), first.Leave(t.Context()), first.Leave(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, err := open(third); err != nil {
		t.Errorf("a third, after the first and who waited had left: %v", err)
	}
	if err := third.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, err := open(first); err != nil || again.SessionID != begun.SessionID {
		t.Errorf("the first goes on with %+v, %v; want session %s", again, err, begun.SessionID)
	}
}

// Two servers of one database take two devices at once. Ann has twenty, of which
// one dies while it has a place; Bob has one. All come in the same minute.
func TestRush(t *testing.T) {
	t.Parallel()
	h := newNarrowHost(t, 2)
	r := &rush{t: t, hosts: []*host{h, h.beside()}}
	h.newUser("ann")
	h.newUser("bob")
	var all []*runner
	for i := range 20 {
		all = append(all, r.runner("ann", fmt.Sprint("ann", i+1), 3))
	}
	anns := slices.Clone(all)
	anns[1].dies = true
	bob := r.runner("bob", "bob", 3)
	_, root, chunk := bob.at[0].backup("what Bob has already")
	token, err := bob.at[0].UserToken(t.Context(), wire.UserTokenRequest{Password: password}, "")
	if err != nil {
		t.Fatal(err)
	}
	bob.next = time.Second
	restores := 0
	r.run(append(all, bob), func() {
		if n := r.places(); restores == 0 && n[admission.Sending] == 2 && n[admission.Waiting] > 10 {
			err := bob.at[1].Read(t.Context(), token.Token, []backup.ID{root.Ref.ID, chunk.Ref.ID}, func(backup.Kind, backup.ID, []byte) error { restores++; return nil })
			if err != nil {
				t.Errorf("restoring while all places are taken: %v", err)
			}
		}
	})

	if restores != 2 {
		t.Errorf("%d objects were restored while all places were taken, want 2", restores)
	}
	if r.most != 2 {
		t.Errorf("%d devices had a place at the same time, want 2", r.most)
	}
	before := 0
	for _, x := range anns {
		if x.ended > 0 && x.ended < bob.ended {
			before++
		}
	}
	if before > 2 || bob.ended > 4*time.Minute {
		t.Errorf("Bob's backup ended after %v, and %d of Ann's before it", bob.ended, before)
	}
	yielded := 0
	for _, x := range anns {
		yielded += x.yielded
	}
	if yielded == 0 {
		t.Error("none of Ann's devices gave up its place, so nothing was tried of what that costs")
	}
	if n := r.places()[admission.Waiting]; n != 0 {
		t.Errorf("%d devices still wait", n)
	}
	t.Logf("all ended after %v, Bob after %v; %d calls, %d turns ended early", r.now, bob.ended, r.asked, yielded)
}
