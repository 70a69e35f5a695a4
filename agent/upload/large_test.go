//go:build unix

package upload_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/agent/upload"
)

// Large files are read at most every twenty minutes, whatever happens to the
// process in between, and the others each time.
func TestLargeFilesWait(t *testing.T) {
	f := newServer(t)
	d := newDevice(t, f)
	now := time.Now()
	at := func(after time.Duration, asked bool) func(*upload.Config) {
		return func(c *upload.Config) {
			c.Large = upload.Large{Bytes: 1 << 20, Every: 20 * time.Minute, All: asked}
			c.Now = func() time.Time { return now.Add(after) }
		}
	}
	version := uint64(0)
	change := func() {
		version++
		d.write("mailbox", noise(version, 1<<20))
		d.write("letter", noise(version, 100))
	}
	for _, step := range []struct {
		name     string
		after    time.Duration
		asked    bool
		deferred uint64
	}{
		{"the first time", 0, false, 0},
		{"changed too soon after it", 5 * time.Minute, false, 1},
		{"and once more", 10 * time.Minute, false, 1},
		{"still too soon", 19 * time.Minute, false, 1},
		{"soon, but somebody asks", 19 * time.Minute, true, 0},
		{"too soon after that", 26 * time.Minute, false, 1},
		{"twenty minutes after it was read", 39 * time.Minute, false, 0},
		{"the clock was put back", -time.Hour, false, 0},
	} {
		change()
		if r := d.back(at(step.after, step.asked)); r.Deferred != step.deferred {
			t.Errorf("%s: %d deferred, want %d", step.name, r.Deferred, step.deferred)
		}
	}
	d.restored()
	d.honest()
}

// What is noted of large files is no more than that: damaged, it costs a
// reading.
func TestLargeFilesNotes(t *testing.T) {
	f := newServer(t)
	d := newDevice(t, f)
	st, err := state.Open(d.state)
	must(t, err)
	if read := st.LargeRead(setID); len(read) != 0 {
		t.Errorf("before anything: %v", read)
	}
	at := time.Now().Round(0).UTC()
	d.back()
	must(t, st.SetLargeRead(setID, map[string]time.Time{"/a\xff": at}))
	if read := st.LargeRead(setID); len(read) != 1 || !read["/a\xff"].Equal(at) {
		t.Errorf("read %v, want what was written", read)
	}
	must(t, st.SetLargeRead(setID, nil), st.SetLargeRead(setID, nil))
	if read := st.LargeRead(setID); len(read) != 0 {
		t.Errorf("after the last: %v", read)
	}
}
