package vault

import (
	"bytes"
	"crypto/rand"
	"slices"
	"testing"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/wire/wiretest"
)

// TestUnsoundObjects has a collector and a verifier beside the devices: what
// is condemned or lost is missing, and healed by sending it again.
func TestUnsoundObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	_, chunks, root := d.backup("a", "b")
	a, b := chunks[0], chunks[1]
	state := func(o backup.Object, state int) {
		w.write(`UPDATE chunks SET state = $1 WHERE id = $2`, state, o.Ref.ID[:])
	}
	for _, bad := range []int{condemned, lost} {
		state(a, bad)
		s := d.begin()
		if want := bad == lost; slices.Equal(s.Damaged, hexes(a)) != want {
			t.Errorf("state %d: damaged is %q", bad, s.Damaged)
		}
		if got := d.have(s, a, b); got != "[false true]" {
			t.Errorf("state %d: Have says %s", bad, got)
		}
		if got := d.read(a, b); got != "-|b" {
			t.Errorf("state %d: Read gives %q", bad, got)
		}
		try := d.prepare(s, snapshot.Complete, root, wiretest.IDs(append(chunks, root)...))
		if _, err := d.try(s, try); !slices.Equal(missingOf(err), hexes(a)) {
			t.Errorf("state %d: Commit = %v, want %q missing", bad, err, hexes(a))
		}
		before := w.count(`SELECT pack FROM chunks WHERE id = $1`, a.Ref.ID[:])
		d.put(s, backup.ClassData, a)
		if w.count(`SELECT pack FROM chunks WHERE id = $1`, a.Ref.ID[:]) == before {
			t.Errorf("state %d: the object that was sent again is still looked for in its old pack", bad)
		}
		d.commit(s, try)
		if got := d.read(a); got != "a" {
			t.Errorf("state %d: after sending again Read gives %q", bad, got)
		}
		w.checkSound(t)
	}
	// The row is gone between the look-up and the last transaction.
	s := d.begin()
	try := d.prepare(s, snapshot.Complete, root, wiretest.IDs(append(chunks, root)...))
	c := &commit{by: d.caller, session: s.SessionID, m: try.m, hash: try.m.Hash(), refs: try.refs.Encode()}
	if _, _, err := w.prepare(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w.write(`DELETE FROM chunks WHERE id = $1`, b.Ref.ID[:])
	w.write(`UPDATE vault_state SET removals = removals + 1`)
	err := w.db.Write(t.Context(), func(tx *db.Tx) error {
		_, err := w.makeVisible(t.Context(), tx, c)
		return err
	})
	if !slices.Equal(missingOf(err), hexes(b)) {
		t.Errorf("the last transaction = %v, want %q missing", err, hexes(b))
	}
}

func TestPutWhileCondemning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	noise := make([]byte, groupBytes) // large enough to be decided at once
	rand.Read(noise)
	_, chunks, _ := d.backup(string(noise))
	s := d.begin()
	// The collector strikes after the record was found to be held.
	body := &striking{Reader: bytes.NewReader(wiretest.Records(chunks[0])), strike: func() {
		w.write(`UPDATE chunks SET state = 1 WHERE id = $1`, chunks[0].Ref.ID[:])
	}}
	_, err := w.Put(t.Context(), d.caller, s.SessionID, wiretest.PutID(), backup.ClassData, Size{}, body)
	if !errs.Is(err, errs.ServerBusy) {
		t.Errorf("Put = %v, want E1402", err)
	}
	d.put(s, backup.ClassData, chunks[0])
	if got := d.have(s, chunks[0]); got != "[true]" {
		t.Errorf("Have says %s", got)
	}
	w.checkSound(t)
}

// striking calls strike when its reader is at the end.
type striking struct {
	*bytes.Reader
	strike func()
}

func (s *striking) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil {
		s.strike()
	}
	return n, err
}
