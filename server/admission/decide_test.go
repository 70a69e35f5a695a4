package admission

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
)

// device reads a device as the table below writes it: ann1 is ann's. It has sent
// for a time (ann1 sends 2m), has waited for one and is expected now (ann1 waits
// 2m), or waits and was told to come in another (ann1 waits 2m due 30s).
func device(t *testing.T, now time.Time, text string) turn {
	t.Helper()
	words := strings.Fields(text)
	d := turn{device: access.DeviceID(words[0]), user: access.UserID(strings.TrimRight(words[0], "0123456789")), since: now, due: now}
	span := func(i int) time.Duration {
		if i >= len(words) {
			return 0
		}
		took, err := time.ParseDuration(words[i])
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		return took
	}
	if len(words) > 1 {
		d.sending = words[1] == "sends"
	}
	d.since, d.due = now.Add(-span(2)), now.Add(span(4))
	return d
}

func (v verdict) String() string {
	switch {
	case v.over != "":
		return "goes, over " + string(v.over)
	case v.admitted:
		return "goes"
	}
	return "waits " + v.delay.String()
}

func crowd(user string, n int, how string) (list []string) {
	for i := range n {
		list = append(list, user+strconv.Itoa(i+1)+" "+how)
	}
	return list
}

func TestDecide(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		places int
		others []string
		me     string
		want   string
	}{
		{"an empty server", 2, nil, "ann1", "goes"},
		{"the last place", 2, []string{"bob1 sends 5s"}, "ann1", "goes"},
		{"none is left", 2, []string{"bob1 sends 5s", "cid1 sends 5s"}, "ann1", "waits 20s"},

		// The line.
		{"a place is kept for one who is expected", 2, []string{"bob1 sends 5s", "cid1 waits 1m"}, "ann1", "waits 20s"},
		{"and goes to them", 2, []string{"bob1 sends 5s", "ann1 waits 5s"}, "cid1 waits 1m", "goes"},
		{"it is not kept for one who was sent away for longer", 2, []string{"bob1 sends 5s", "cid1 waits 1m due 30s"}, "ann1", "goes"},
		{"who comes too early passes nobody", 2, []string{"bob1 sends 5s", "cid1 waits 1m due 30s"}, "ann1 waits 50s due 15s", "waits 15s"},
		{"but those behind", 2, []string{"bob1 sends 5s", "cid1 waits 1m due 30s"}, "ann1 waits 2m due 15s", "goes"},
		{"the second round waits longer", 2, append(crowd("bob", 2, "sends 5s"), "cid1 waits 3s", "dan1 waits 2s"), "ann1", "waits 40s"},
		{"but nobody for ever", 2, append(crowd("bob", 2, "sends 5s"), crowd("ann", 500, "waits 3s")...), "ann501", "waits 10m0s"},

		// Fair by user.
		{"one device comes before those of a user who has many", 2, append(crowd("bob", 2, "sends 5s"), crowd("bob", 20, "waits 1m")[2:]...), "ann1", "waits 20s"},
		{"it gets the first free place", 2, append([]string{"bob1 sends 5s"}, crowd("bob", 20, "waits 1m")[1:]...), "ann1", "goes"},
		{"when all begin at once, each user's first comes first", 2, crowd("bob", 20, "waits 0s"), "cid1", "goes"},
		{"and their second after that", 2, append(crowd("bob", 20, "waits 1s"), "cid1 waits 1s"), "ann2", "waits 40s"},

		// Turns end.
		{"a user who has more gives one up after a minute, the one for longest", 2, []string{"bob1 sends 61s", "bob2 sends 2m"}, "ann1", "goes, over bob2"},
		{"not before", 2, crowd("bob", 2, "sends 59s"), "ann1", "waits 20s"},
		{"and not when that only turns it around", 1, []string{"bob1 sends 9m"}, "ann1", "waits 20s"},
		{"a turn is over after ten minutes", 1, []string{"bob1 sends 10m"}, "ann1", "goes, over bob1"},
		{"for another device of the same user too", 1, []string{"bob1 sends 10m"}, "bob2", "goes, over bob1"},
		{"of the user who has most", 4, []string{"cid1 sends 1h", "bob1 sends 11m", "bob2 sends 10m", "bob3 sends 1m"}, "ann1", "goes, over bob1"},
		{"for the first in line alone", 1, []string{"bob1 sends 10m", "cid1 waits 1m"}, "ann1", "waits 40s"},
		{"while there is room nobody's turn ends", 3, crowd("bob", 2, "sends 1h"), "ann1", "goes"},
		{"nobody who came early ends one by insisting", 1, []string{"bob1 sends 10m", "cid1 waits 1m due 10s"}, "ann1 waits 10s due 30s", "waits 30s"},

		// Restores take places away.
		{"more send than there are places", 1, crowd("bob", 3, "sends 5s"), "ann1", "waits 20s"},
	} {
		me := device(t, now, c.me)
		var others []turn
		for _, text := range c.others {
			others = append(others, device(t, now, text))
		}
		if got := fmt.Sprint(decide(now, c.places, me, others)); got != c.want {
			t.Errorf("%s: %s %s, want %s", c.name, c.me, got, c.want)
		}
	}
}
