package admission

import (
	"cmp"
	"slices"
	"time"

	"github.com/backstay/backstay/server/access"
)

const (
	// step is after how long the first in line ask again; those further behind
	// ask later, each round of as many as there are places a step more.
	step = 20 * time.Second
	// longest is after how long the last in line ask again.
	longest = 10 * time.Minute
	// grace is how much later than it was told a device may come and still keep
	// its turn. Clients come up to a tenth of the time later, at random.
	grace = 90 * time.Second

	// idle is for how long a device that sends nothing keeps its place: as long
	// as reading many unchanged files takes, or a pack on a thin line.
	idle = 5 * time.Minute
	// renewal is how often a place is renewed at most.
	renewal = time.Minute

	// whole is after how long a place goes to whoever waits. A device that has
	// more to send waits for another turn; what it sent counts.
	whole = 10 * time.Minute
	// least is after how long it goes to a user who has fewer places.
	least = time.Minute
)

// turn is a device that has a place or waits for one.
type turn struct {
	device  access.DeviceID
	user    access.UserID
	sending bool      // it has a place
	since   time.Time // when it got it, or began to wait
	due     time.Time // when it is to ask again; has passed for one that is expected
}

// verdict is what becomes of a device that wants a place.
type verdict struct {
	admitted bool
	over     access.DeviceID // whose turn is over for it, "" when a place was free
	delay    time.Duration   // after which to ask again
	early    bool            // it came before it was told to, and nothing changes
}

// decide says whether a device gets one of the places now, or has one. A free place is kept
// for those before it in line who are expected at any moment, but not for those
// who were sent away for longer: it would lie idle. Whoever comes before their
// time passes nobody by that. The first for whom no place is free gets that of a
// device whose turn is over.
func decide(now time.Time, places int, me turn, others []turn) verdict {
	if me.sending {
		return verdict{admitted: true}
	}
	held := map[access.UserID]int{}
	var sending []turn
	line := []turn{me}
	for _, t := range others {
		if t.sending {
			sending = append(sending, t)
			held[t.user]++
		} else {
			line = append(line, t)
		}
	}
	line = inOrder(line, held)
	place := slices.IndexFunc(line, func(t turn) bool { return t.device == me.device })
	early, ahead := me.due.After(now), 0
	for _, t := range line[:place] {
		if early || !t.due.After(now) {
			ahead++
		}
	}
	free := max(places-len(sending), 0)
	if ahead < free {
		return verdict{admitted: true}
	}
	if ahead == free {
		if t, ok := over(now, sending, held, me.user); ok {
			return verdict{admitted: true, over: t.device}
		}
	}
	if early {
		return verdict{delay: me.due.Sub(now), early: true}
	}
	return verdict{delay: min(step*time.Duration(1+place/places), longest)}
}

// inOrder is the order in which devices get their turn: fair by user, whoever
// has fewer devices that send or stand before comes first, then whoever waits
// longer.
func inOrder(line []turn, held map[access.UserID]int) []turn {
	type ranked struct {
		turn
		round int // how many devices of the user come before
	}
	slices.SortFunc(line, func(a, b turn) int {
		return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.device, b.device))
	})
	before := map[access.UserID]int{}
	ranks := make([]ranked, len(line))
	for i, t := range line {
		ranks[i] = ranked{t, held[t.user] + before[t.user]}
		before[t.user]++
	}
	slices.SortStableFunc(ranks, func(a, b ranked) int { return cmp.Compare(a.round, b.round) })
	for i, r := range ranks {
		line[i] = r.turn
	}
	return line
}

// over finds a device whose turn is over for a user's: one that had all of it,
// or the least of it while its user has so many more places that both have more
// alike afterwards. Of several, the user's who has most, and the longest there.
func over(now time.Time, sending []turn, held map[access.UserID]int, user access.UserID) (found turn, ok bool) {
	for _, t := range sending {
		had := now.Sub(t.since)
		if had < whole && (had < least || held[t.user] < held[user]+2) {
			continue
		}
		if !ok || held[t.user] > held[found.user] || held[t.user] == held[found.user] && t.since.Before(found.since) {
			found, ok = t, true
		}
	}
	return found, ok
}
