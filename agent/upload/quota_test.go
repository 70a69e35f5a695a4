//go:build unix

package upload_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/agent/upload"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// content says of files what the newest snapshot has of them: their size, with a
// question mark behind it where that is not what the device has now.
func (d *device) sizes(names ...string) string {
	d.t.Helper()
	var all []string
	for _, name := range names {
		e, err := d.f.reader(d.f.head()).Lookup(d.t.Context(), filepath.Join(d.folder, name))
		if errs.Is(err, errs.NoSuchSnapshot) {
			all = append(all, "-")
			continue
		}
		must(d.t, err)
		text := fmt.Sprint(e.Size)
		if e.Flags&catalog.Unreadable != 0 {
			text += "?"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// waits checks how many files wait after a backup, and that the server was told.
func (d *device) waits(r *upload.Result, want uint64) {
	d.t.Helper()
	status := "complete"
	if want > 0 {
		status = "partial"
	}
	if h := d.f.head(); r.Waiting != want || h.waiting != fmt.Sprint(want) || h.m.Status.String() != status || r.Unreadable != 0 {
		d.t.Errorf("%d files wait, want %d; the server was told of %s in a %s snapshot; %d are unreadable", r.Waiting, want, h.waiting, h.m.Status, r.Unreadable)
	}
	if (r.Quota != nil) != (want > 0) || want > 0 && !errs.Is(r.Quota, errs.QuotaUsedUp) {
		d.t.Errorf("%d files wait, because of %v", want, r.Quota)
	}
}

// What does not fit into the quota waits, in the state that it was backed up in
// before, and all else is backed up. When there is room it goes on.
func TestQuota(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.write("a", noise(1, 400_000))
	d.write("b", noise(2, 1000))
	d.write("c", noise(3, 400_000))
	d.back()
	f.quota = 1_000_000
	d.write("a", noise(4, 900_000))
	d.write("b", noise(5, 2000))
	d.write("d", noise(6, 100_000))
	d.write("e", noise(7, 300_000)) // waits: nothing of it is there yet
	d.write("f", noise(8, 10))
	r := d.back()
	d.waits(r, 2)
	if got := d.sizes("a", "b", "c", "d", "e", "f"); got != "400000? 2000 400000 100000 0? 10" {
		t.Errorf("the snapshot has %s", got)
	}
	if q := errs.Find(r.Quota); q.Args["q"] != int64(1_000_000) {
		t.Errorf("the quota is said to be %v", q.Args)
	}
	// Nothing changes by trying again, and nothing is sent.
	if r = d.back(); r.Sent > 50_000 {
		t.Errorf("%d bytes are sent for nothing", r.Sent)
	}
	d.waits(r, 2)

	// There is no room at all any more: deletions and what is stored already go on.
	f.quota = 1
	must(t, os.Rename(filepath.Join(d.folder, "c"), filepath.Join(d.folder, "g")))
	must(t, os.Remove(filepath.Join(d.folder, "d")))
	d.write("h", noise(9, 10))
	d.waits(d.back(), 3)
	if got := d.sizes("a", "b", "c", "d", "e", "f", "g", "h"); got != "400000? 2000 - - 0? 10 400000 0?" {
		t.Errorf("without room the snapshot has %s", got)
	}

	f.quota = 10_000_000
	d.waits(d.back(), 0)
	d.restored()
	d.honest()
}

// What is deleted makes room in the same backup, wherever it lies.
func TestQuotaAndDeletions(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.write("a", noise(1, 1000))
	d.write("z", noise(2, 900_000))
	d.back()
	f.quota = 1_000_000
	must(t, os.Remove(filepath.Join(d.folder, "z")))
	d.write("b", noise(3, 800_000))
	d.waits(d.back(), 0)
	d.restored()
	d.honest()
}

// What the newest snapshot has stored may fill the quota alone, whatever the next
// one is to have. Then nothing new is taken, and deletions go through all the same:
// what waits for them comes with the backup after that.
func TestQuotaFullOfWhatIsDeleted(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.write("a", noise(1, 1000))
	d.write("z", noise(2, 8_000_000))
	d.back()
	f.quota = 1_000_000
	first := f.head()
	f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		full := false
		f.set(func() { full = r.URL.Query().Get("class") == backup.ClassData.String() && f.head() == first })
		if full {
			problem(w, http.StatusInsufficientStorage, wire.Problem{Code: "E1401", Data: map[string]any{"q": f.quota, "room": f.quota, "of": "user"}})
		}
		return full
	}
	must(t, os.Remove(filepath.Join(d.folder, "z")))
	d.write("b", noise(3, 800_000))
	d.waits(d.back(), 1)
	if got := d.sizes("a", "b", "z"); got != "1000 0? -" {
		t.Errorf("the snapshot has %s", got)
	}
	d.waits(d.back(), 0)
	d.restored()
	d.honest()
}

// Others may take the room while a backup runs. Then it goes on with what there
// is left, and sends nothing twice. What was sent before counts.
func TestQuotaTakenByOthers(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.fill()
	f.quota, f.silent = 3_000_000, true
	// Each pack is on its way until that was told.
	told := make(chan int64, 1)
	f.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/packs/") {
			<-told
		}
		return false
	}
	var sent int64
	r := d.back(func(c *upload.Config) {
		c.Progress = func(p wire.Progress) {
			if p.Sent < sent {
				t.Errorf("%d bytes were sent, and then %d", sent, p.Sent)
			}
			sent = p.Sent
			select {
			case told <- sent:
			default:
			}
		}
	})
	f.set(func() { f.refuse = nil })
	if sent != r.Sent {
		t.Errorf("%d bytes were sent, and the last that was told are %d", r.Sent, sent)
	}
	if r.Waiting == 0 || r.Totals.Bytes > 3_000_000 || r.Totals.Bytes < 2_000_000 {
		t.Errorf("%d files wait, %d bytes are backed up", r.Waiting, r.Totals.Bytes)
	}
	d.waits(r, r.Waiting)
	f.quota = 0
	d.waits(d.back(), 0)
	d.restored()
	d.honest()
}
