package vault

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// limit gives a user a quota.
func (p *person) limit(bytes int64) {
	p.w.t.Helper()
	p.w.do(func(tx *db.Tx) error { return accounts.SetQuota(p.w.t.Context(), tx, system, p.ID, &bytes) })
}

// quota is what counts on it.
func (p *person) quota() (q devices.Quotas) {
	p.w.t.Helper()
	err := p.w.db.Read(p.w.t.Context(), func(tx *db.Tx) (err error) {
		u, err := accounts.Find(p.w.t.Context(), tx, p.ID)
		if err == nil {
			q, err = devices.QuotasOf(p.w.t.Context(), tx, u)
		}
		return err
	})
	if err != nil {
		p.w.t.Fatal(err)
	}
	return q
}

// content is an object that nothing makes smaller.
func (d *machine) content(seed uint64, size int) backup.Object {
	return d.Seal(backup.Data, wiretest.Noise(fmt.Sprint(seed), size))
}

// offer is a put of contents for a snapshot of size bytes.
func (d *machine) offer(s wire.Session, size int64, objects ...backup.Object) error {
	body := wiretest.Records(objects...)
	_, err := d.w.Put(d.w.t.Context(), d.caller, s.SessionID, wiretest.PutID(), backup.ClassData, Size{size, int64(len(body))}, bytes.NewReader(body))
	return err
}

// keep commits what was sent as a snapshot whose files have size bytes.
func (d *machine) keep(s wire.Session, size uint64, waiting int64, objects ...backup.Object) wire.Committed {
	d.w.t.Helper()
	root := d.Seal(backup.Page, fmt.Sprint("page ", d.seq, size, waiting))
	d.put(s, backup.ClassMetadata, root)
	status := snapshot.Complete
	if waiting > 0 {
		status = snapshot.Partial
	}
	a := d.prepare(s, status, root, wiretest.IDs(append(objects, root)...))
	a.m.Bytes = size
	a.m.Sign(d.Signing)
	c, err := d.w.Commit(d.w.t.Context(), d.caller, s.SessionID, wire.Lacking{Waiting: waiting}, bytes.NewReader(a.body()))
	if err != nil {
		d.w.t.Fatal(err)
	}
	d.head, d.seq, d.refs, d.depth, d.all = a.m.Hash(), a.m.Seq, a.m.RefsID, a.refs.Depth, a.ids
	return c
}

// New contents are refused once they would go over the quota. Metadata,
// deletions and what is stored already are not.
func TestQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una := w.newUser(w.org)
	una.limit(100_000)
	d := una.newDevice()
	s := d.begin()
	if s.Room == nil || *s.Room != (wire.Room{Bytes: 100_000, Quota: 100_000, Of: "user"}) {
		t.Fatalf("the session's room is %+v", s.Room)
	}
	a, b := d.content(1, 60_000), d.content(2, 60_000)
	if err := d.offer(s, 60_000, a); err != nil {
		t.Fatal(err)
	}
	err := d.offer(s, 120_000, b)
	if e := errs.Find(err); e == nil || e.Code != errs.QuotaUsedUp || e.Args["q"] != int64(100_000) || e.Args["room"] != int64(100_000) {
		t.Errorf("a put over the quota: %v", err)
	}
	if err := d.offer(s, 0, b); !errs.Is(err, errs.QuotaUsedUp) {
		t.Errorf("a put that says it adds nothing: %v", err)
	}
	if got := una.quota().User; got.Used < 60_000 || got.Used > 70_000 {
		t.Errorf("while it sends, %d bytes count", got.Used)
	}
	if got := w.blobCount("packs/"); got != 1 {
		t.Errorf("%d packs are stored", got)
	}
	d.keep(s, 60_000, 1, a)
	if got := una.quota().User; got.Used != 60_000 || got.Percent() != 60 {
		t.Errorf("after the commit: %+v", got)
	}
	if got := w.count(`SELECT waiting_files FROM devices`); got != 1 {
		t.Errorf("%d files wait", got)
	}

	// What waits ended the session: the next one begins with what there is now.
	second := d.begin()
	if second.SessionID == s.SessionID || second.Head.Bytes != 60_000 {
		t.Errorf("the next session is %+v", second)
	}
	// The same content under another name is stored already: more counts than the
	// quota is, and nothing new comes in any more, however small.
	d.keep(second, 120_000, 0, a)
	if got := una.quota().User; got.Used != 120_000 {
		t.Errorf("after a copy: %+v", got)
	}
	third := d.begin()
	if err := d.offer(third, 120_010, d.content(3, 10)); !errs.Is(err, errs.QuotaUsedUp) {
		t.Errorf("a put at more than the quota: %v", err)
	}
	// Deletions go through, and make room.
	d.keep(third, 10_000, 0)
	if err := d.offer(d.begin(), 90_000, b); err != nil {
		t.Errorf("a put after the deletion: %v", err)
	}
	w.checkSound(t)
}

// The files that a device has anew in place of others need no more room than
// they had.
func TestQuotaOfRewrittenFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una := w.newUser(w.org)
	una.limit(100_000)
	d := una.newDevice()
	s := d.begin()
	old := d.content(1, 80_000)
	if err := d.offer(s, 80_000, old); err != nil {
		t.Fatal(err)
	}
	d.keep(s, 80_000, 0, old)
	s = d.begin()
	if err := d.offer(s, 80_000, d.content(2, 80_000)); err != nil {
		t.Errorf("a file in place of another of its size: %v", err)
	}
}

// A device that says less than is so gains little by it.
func TestQuotaBelievesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una := w.newUser(w.org)
	una.limit(100_000)
	liar, honest := una.newDevice(), una.newDevice()
	var all []backup.Object
	stored := 0
	for i := range uint64(20) { // each a whole quota's worth of sessions
		s := liar.begin()
		o := liar.content(i, 90_000)
		if liar.offer(s, 0, o) != nil {
			break
		}
		all, stored = append(all, o), stored+len(o.Sealed)
		liar.keep(s, 0, 0, all...)
	}
	if stored > 5*100_000 {
		t.Errorf("a liar stores %d bytes for one snapshot", stored)
	}
	if err := honest.offer(honest.begin(), 90_000, honest.content(99, 90_000)); !errs.Is(err, errs.QuotaUsedUp) {
		t.Errorf("beside the liar's: %v", err)
	}
	// Numbers without sense do no harm.
	s := liar.begin()
	liar.keep(s, 1<<60, 0)
	if got := una.quota().User; got.Used != devices.MaxCounted {
		t.Errorf("of 2^60 bytes %d count", got.Used)
	}
}

// The organisation's quota bounds all of its users together.
func TestQuotaOfOrg(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(func(tx *db.Tx) error { return orgs.SetQuota(t.Context(), tx, system, w.org, 100_000) })
	una, otto := w.newUser(w.org), w.newUser(w.org)
	d, e := una.newDevice(), otto.newDevice()
	if err := d.offer(d.begin(), 70_000, d.content(1, 70_000)); err != nil {
		t.Fatal(err)
	}
	s := e.begin()
	if s.Room == nil || s.Room.Of != "org" || s.Room.Bytes > 30_000 {
		t.Errorf("the room that is left is %+v", s.Room)
	}
	err := e.offer(s, 50_000, e.content(2, 50_000))
	if f := errs.Find(err); f == nil || f.Key != "error.E1401.org" {
		t.Errorf("a put over the organisation's quota: %v", err)
	}
	// What a session claimed is free again when it ends.
	w.clock = w.clock.Add(SessionLife)
	w.do(func(tx *db.Tx) error { _, err := Expire(t.Context(), tx); return err })
	if err := e.offer(e.begin(), 50_000, e.content(2, 50_000)); err != nil {
		t.Errorf("after the other session ended: %v", err)
	}
}

// Fifty devices of one user that send at once do not pass the limit by a byte:
// what counts is decided in the transaction that makes a pack count.
func TestQuotaOfManyAtOnce(t *testing.T) {
	t.Parallel()
	const limit, size = 1_000_000, 50_000
	w := newWorld(t)
	w.do(func(tx *db.Tx) error {
		p, err := profiles.Default(t.Context(), tx, w.org)
		if err != nil {
			return err
		}
		p.Settings.MaxDevices = 50
		_, err = profiles.Save(t.Context(), tx, system, p.ID, p.Revision, profiles.Changes{Settings: &p.Settings})
		return err
	})
	una := w.newUser(w.org)
	una.limit(limit)
	var all []*machine
	var sessions []wire.Session
	for range 50 {
		d := una.newDevice()
		all, sessions = append(all, d), append(sessions, d.begin())
	}
	var sent, refused atomic.Int64
	var wg sync.WaitGroup
	for i, d := range all {
		wg.Go(func() {
			for n := range uint64(3) {
				o := d.content(uint64(i)<<8|n, size)
				switch err := d.offer(sessions[i], int64(n+1)*size, o); {
				case err == nil:
					sent.Add(int64(len(o.Sealed)))
				case errs.Is(err, errs.QuotaUsedUp):
					refused.Add(1)
				default:
					t.Errorf("a put among many: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if sent.Load() > limit || sent.Load() < limit*9/10 || refused.Load() == 0 {
		t.Errorf("%d bytes were taken of %d, %d puts refused", sent.Load(), limit, refused.Load())
	}
	w.checkSound(t)
}
