package crypt

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
)

// shelf is a place where objects lie.
type shelf map[backup.ID]backup.Object

func (s shelf) put(t testing.TB, plain []byte) backup.Ref {
	t.Helper()
	o, err := NewSealer(backup.Key{1}, backup.UUID{2}, Profile1).Seal(backup.Data, plain)
	if err != nil {
		t.Fatal(err)
	}
	s[o.Ref.ID] = o
	return o.Ref
}

func (s shelf) read(_ context.Context, ids []backup.ID, each func(backup.Kind, backup.ID, []byte) error) error {
	for i := range ids {
		id := ids[len(ids)-1-i] // another order than asked
		o, ok := s[id]
		buf := bytes.Clone(o.Sealed)
		if err := each(o.Kind, id, buf); ok && err != nil {
			return err
		}
		clear(buf) // valid during the call only
	}
	return nil
}

func TestFetch(t *testing.T) {
	t.Parallel()
	s := shelf{}
	var refs []backup.Ref
	var want [][]byte
	for i := range 2500 {
		want = append(want, text(100+i))
		refs = append(refs, s.put(t, want[i]))
	}
	refs, want = append(refs, refs[7]), append(want, want[7])
	got := make([][]byte, len(refs))
	fetch := NewFetch(backup.UUID{2}, s.read)
	err := fetch(t.Context(), backup.Data, refs, func(i int, plain []byte) error {
		if got[i] != nil {
			t.Errorf("ref %d came twice", i)
		}
		got[i] = bytes.Clone(plain)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("ref %d: other bytes than were sealed", i)
		}
	}
}

func TestFetchDeliversTheSoundOnes(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(shelf, backup.ID){
		"missing":    func(s shelf, id backup.ID) { delete(s, id) },
		"damaged":    func(s shelf, id backup.ID) { s[id].Sealed[30] ^= 1 },
		"other kind": func(s shelf, id backup.ID) { o := s[id]; o.Kind = backup.Page; s[id] = o },
	} {
		s := shelf{}
		var refs []backup.Ref
		for i := range 20 {
			refs = append(refs, s.put(t, text(100+i)))
		}
		spoil(s, refs[5].ID)
		n := 0
		err := NewFetch(backup.UUID{2}, s.read)(t.Context(), backup.Data, refs, func(i int, _ []byte) error {
			if i == 5 {
				t.Errorf("%s: the bad object was delivered", name)
			}
			n++
			return nil
		})
		if !errs.Is(err, errs.Mismatch) || n != 19 {
			t.Errorf("%s: %d delivered and %v, want 19 and E1506", name, n, err)
		}
	}
}

func TestFetchEndsWithTheCallersError(t *testing.T) {
	t.Parallel()
	s := shelf{}
	var refs []backup.Ref
	for i := range 20 {
		refs = append(refs, s.put(t, text(100+i)))
	}
	want := errors.New("the disk is full")
	err := NewFetch(backup.UUID{2}, s.read)(t.Context(), backup.Data, refs, func(int, []byte) error { return want })
	if !errors.Is(err, want) {
		t.Errorf("Fetch = %v, want %v", err, want)
	}
}
