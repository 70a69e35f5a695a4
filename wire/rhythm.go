package wire

import (
	"math/rand/v2"
	"time"
)

// The rhythm of a device that has nothing to do. No wait comes near the minute
// after which proxies and load balancers cut.
const (
	shortestWait = 5 * time.Second
	usualWait    = 53 * time.Second
	longestWait  = 57 * time.Second
	quiet        = 210 * time.Second
)

// PollWait is how long a device asks to be kept waiting by its next long poll.
// Devices that came together, because the power or the server came back, would ask
// together for ever: the first wait after coming is any part of a minute, so that
// they part within one, and none is quite as long as another, so that they do not
// meet again.
func PollWait(first bool) time.Duration { return pollWait(first, rand.Float64()) }

func pollWait(first bool, share float64) time.Duration {
	from := usualWait
	if first {
		from = shortestWait
	}
	return from + time.Duration(share*float64(longestWait-from))
}

// BeatWait is how long a device that has said nothing new by its heartbeat is
// quiet before another is ripe. It goes when the poll that waits then is over: after
// four minutes, on average.
func BeatWait() time.Duration { return About(quiet) }
