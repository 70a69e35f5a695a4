package api

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// stuck puts objects, and a part of one more behind which nothing comes: the
// connection is dead, and nobody knows it. It returns when the server has read it.
func (d *machine) stuck(s wire.Session, putID string, part backup.Object, whole ...backup.Object) (ended <-chan error) {
	d.h.t.Helper()
	body, feed := io.Pipe()
	d.h.t.Cleanup(func() { feed.Close() })
	end := make(chan error, 1)
	go func() {
		_, err := d.Put(d.h.t.Context(), s.SessionID, putID, backup.ClassData, 0, wiretest.Stream(body), nil)
		end <- err
	}()
	half := wiretest.Records(part)
	sent := append(wiretest.Records(whole...), half[:len(half)/2]...)
	before := d.h.received.Load()
	if _, err := feed.Write(sent); err != nil {
		d.h.t.Fatal(err)
	}
	for d.h.received.Load() < before+int64(len(sent)) && len(end) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	return end
}

// A device whose connection was cut is back before the server notices. What had
// arrived of the put counts when it asks, and nobody waits for the dead connection.
func TestDeviceIsBackBeforeItsPutEnds(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("alice")
	d := h.activate("alice")
	s, err := d.OpenSession(t.Context(), d.SetID)
	if err != nil {
		t.Fatal(err)
	}
	random := func(seed string) backup.Object { return d.Seal(backup.Data, wiretest.Noise(seed, 200_000)) }
	a, b, c, e, f := random("a"), random("b"), random("c"), random("d"), random("e")
	asks := func(ask func([]backup.ID) ([]bool, error), objects ...backup.Object) string {
		t.Helper()
		var ids []backup.ID
		for _, o := range objects {
			ids = append(ids, o.Ref.ID)
		}
		has, err := ask(ids)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(has)
	}

	// The same agent goes on. Another put of it does not end, nor does anybody
	// else end it.
	id, other := wiretest.PutID(), wiretest.PutID()
	first, second := d.stuck(s, id, c, a, b), d.stuck(s, other, f, c, e)
	bob := h.newUser("bob")
	stranger := h.activate(bob.Username)
	theirs, err := stranger.OpenSession(t.Context(), stranger.SetID)
	if err != nil {
		t.Fatal(err)
	}
	asks(func(ids []backup.ID) ([]bool, error) {
		return stranger.Arrived(t.Context(), theirs.SessionID, id, ids)
	}, a)
	if len(first) > 0 {
		t.Error("another device ended the put")
	}
	got := asks(func(ids []backup.ID) ([]bool, error) { return d.Arrived(t.Context(), s.SessionID, id, ids) }, a, b, c)
	if got != "[true true false]" {
		t.Errorf("of the put that was cut off there are %s", got)
	}
	if err := <-first; err == nil {
		t.Error("the put that was given up went through")
	}
	if len(second) > 0 {
		t.Error("a put that was not given up has ended")
	}

	// The agent begins anew.
	s, err = d.OpenSession(t.Context(), d.SetID)
	if err != nil || !s.Resumed {
		t.Fatalf("OpenSession = %+v, %v", s, err)
	}
	got = asks(func(ids []backup.ID) ([]bool, error) { return d.Have(t.Context(), s.SessionID, ids) }, a, b, c, e, f)
	if got != "[true true true true false]" {
		t.Errorf("after the agent began anew there are %s", got)
	}
	if err := <-second; err == nil {
		t.Error("the put that was given up went through")
	}
}
