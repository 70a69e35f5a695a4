package vault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// cut puts whole objects and a part of one more, and then the connection breaks,
// with which the request's context ends.
func (d *machine) cut(s wire.Session, putID string, part backup.Object, whole ...backup.Object) error {
	ctx, cancel := context.WithCancel(d.w.t.Context())
	defer cancel()
	broken := func([]byte) (int, error) {
		cancel()
		return 0, errors.New("connection reset")
	}
	half := wiretest.Records(part)
	body := io.MultiReader(bytes.NewReader(wiretest.Records(whole...)), bytes.NewReader(half[:len(half)/2]), reader(broken))
	_, err := d.w.Put(ctx, d.caller, s.SessionID, putID, backup.ClassData, Size{Snapshot: 1}, body)
	return err
}

type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }

// What came whole of a put that was cut off counts for the session, for the
// agent that goes on and for the one that begins anew; only the rest is sent.
func TestCutPutCountsWhatCameWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.newUser(w.org)
	d := ann.newDevice()
	s := d.begin()
	a, b, c, e := d.content(1, 150_000), d.content(2, 150_000), d.content(3, 300_000), d.content(4, 300_000)
	id := wiretest.PutID()
	if err := d.cut(s, id, c, a, b); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a put that was cut off = %v, want Invalid", err)
	}
	if got := d.have(s, a, b, c); got != "[true true false]" {
		t.Errorf("Have says %s", got)
	}
	w.checkSound(t)
	// Cut off again, under the same name, and finished under it.
	if err := d.cut(s, id, e, c); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a put that was cut off = %v, want Invalid", err)
	}
	s = d.begin()
	if !s.Resumed || !s.Known {
		t.Errorf("the session goes on with resumed %v and known %v", s.Resumed, s.Known)
	}
	if got := d.have(s, a, b, c, e); got != "[true true true false]" {
		t.Errorf("Have says %s", got)
	}
	body := bytes.NewReader(wiretest.Records(e))
	if answer, err := w.Put(t.Context(), d.caller, s.SessionID, id, backup.ClassData, Size{}, body); err != nil || answer.Records != 1 {
		t.Errorf("the rest of the put = %+v, %v", answer, err)
	}
	if got := w.count(`SELECT count(*) FROM packs`); got != 3 {
		t.Errorf("%d packs, want 3", got)
	}
	// It is this device's alone until a snapshot needs it.
	second := ann.newDevice()
	if got := second.have(second.begin(), a, b, c, e); got != "[false false false false]" {
		t.Errorf("to another device of the user Have says %s", got)
	}
	d.keep(s, 900_000, 0, a, b, c, e)
	if got := second.have(second.begin(), a, b, c, e); got != "[true true true true]" {
		t.Errorf("after the snapshot Have says %s", got)
	}
	w.checkSound(t)
}

// A body that came whole counts though nobody waits for the answer.
func TestPutWithoutListener(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	a := d.Seal(backup.Data, "a")
	ctx, cancel := context.WithCancel(t.Context())
	end := reader(func([]byte) (int, error) {
		cancel()
		return 0, io.EOF
	})
	body := io.MultiReader(bytes.NewReader(wiretest.Records(a)), end)
	if _, err := w.Put(ctx, d.caller, s.SessionID, wiretest.PutID(), backup.ClassData, Size{}, body); err != nil {
		t.Errorf("Put = %v", err)
	}
	if got := d.have(s, a); got != "[true]" {
		t.Errorf("Have says %s", got)
	}
}

// Nothing is left of a put that was cut off when it brought next to nothing, what
// it brought has no room, or its device may not send any more.
func TestCutPutLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.newUser(w.org)
	ann.limit(100_000)
	d := ann.newDevice()
	s := d.begin()
	small, large := d.content(1, leastKept-100), d.content(2, 300_000)
	stopped := w.newUser(w.org).newDevice()
	started := stopped.begin()
	w.write(`UPDATE devices SET state = $2 WHERE id = $1`, stopped.DeviceID, string(devices.Deactivated))
	full := *d
	full.w = &world{Vault: w.open(&fullStore{Store: w.blobs, full: true}), t: t}
	for name, err := range map[string]error{
		"under the bound":  d.cut(s, wiretest.PutID(), large, small),
		"over the quota":   d.cut(s, wiretest.PutID(), small, large),
		"no room":          full.cut(s, wiretest.PutID(), small, large),
		"a stopped device": stopped.cut(started, wiretest.PutID(), small, large),
	} {
		if errs.Find(err) == nil {
			t.Errorf("%s: Put = %v", name, err)
		}
	}
	bad := wiretest.Records(large, d.content(3, 300_000))
	bad[0] = 9 // no kind of object
	body := io.MultiReader(bytes.NewReader(wiretest.Records(small)), bytes.NewReader(bad), iotest.ErrReader(errors.New("connection reset")))
	if _, err := w.Put(t.Context(), d.caller, s.SessionID, wiretest.PutID(), backup.ClassData, Size{}, body); errs.KindOf(err) != errs.Invalid {
		t.Errorf("what is no record: Put = %v", err)
	}
	if n := w.blobCount("packs/"); n != 0 {
		t.Errorf("%d packs are left", n)
	}
	for _, table := range []string{"packs", "chunks", "puts"} {
		if got := w.count(`SELECT count(*) FROM ` + table); got != 0 {
			t.Errorf("%d rows are left in %s", got, table)
		}
	}
}
