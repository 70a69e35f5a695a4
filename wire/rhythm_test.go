package wire

import (
	"testing"
	"time"
)

func TestPollWait(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		first bool
		share float64
		want  time.Duration
	}{
		{"the first may be short", true, 0, 5 * time.Second},
		{"in the middle", true, 0.5, 31 * time.Second},
		{"and as long as any other", true, 1, 57 * time.Second},
		{"all others are long", false, 0, 53 * time.Second},
		{"in the middle", false, 0.5, 55 * time.Second},
		{"but less than what proxies cut", false, 1, 57 * time.Second},
	} {
		if got := pollWait(c.first, c.share); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// Ten thousand devices that began within ten seconds ask evenly over the minute
// from their second poll on, and stay so: no ten seconds have twice their share.
func TestPollsPart(t *testing.T) {
	t.Parallel()
	const devices, spans = 10_000, 6
	const until = 10 * time.Minute
	asked := make([]int, until/(10*time.Second))
	for i := range devices {
		at := 10 * time.Second * time.Duration(i) / devices
		for first := true; at < until; first = false {
			asked[at/(10*time.Second)]++
			at += PollWait(first)
		}
	}
	for i, n := range asked[spans:] {
		if n > 2*devices/spans || n < devices/spans/2 {
			t.Errorf("in the ten seconds after %d s %d devices ask", 10*(spans+i), n)
		}
	}
}

func TestBeatWait(t *testing.T) {
	t.Parallel()
	var sum time.Duration
	const n = 10_000
	for range n {
		d := BeatWait()
		if d < 168*time.Second || d > 252*time.Second {
			t.Fatalf("a heartbeat is ripe after %v", d)
		}
		sum += d
	}
	if mean := sum / n; mean < 200*time.Second || mean > 220*time.Second {
		t.Errorf("heartbeats are ripe after %v on average", mean)
	}
}
