package wire

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// slowed is a connection with the brakes of these limits on.
func slowed(t *testing.T, server string, limits func() Limits) (here *countedConn, there net.Conn) {
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	here = &countedConn{Conn: a, server: netip.MustParseAddr(server)}
	up, down := brakes(limits, time.Now)
	(&watch{up: up, down: down}).use(here)
	return here, b
}

// eight is 8 Mbit/s both ways, but not in the office.
func eight() Limits {
	office := netip.MustParsePrefix("10.0.0.0/8")
	return Limits{Up: 8000, Down: 8000, Exempt: office.Contains}
}

func TestLimits(t *testing.T) {
	two := make([]byte, 2_000_000)
	for _, c := range []struct {
		name, server string
		limits       func() Limits
		least, most  time.Duration
	}{
		{"8 Mbit/s", "192.0.2.1", eight, 1800 * time.Millisecond, 2100 * time.Millisecond},
		{"none", "192.0.2.1", func() Limits { return Limits{} }, 0, 0},
		{"to the office", "10.1.2.3", eight, 0, 0},
	} {
		for way, move := range map[string]func(here *countedConn, there net.Conn){
			"up": func(here *countedConn, there net.Conn) {
				go io.Copy(io.Discard, there)
				if n, err := here.Write(two); n != len(two) || err != nil {
					t.Errorf("%s: wrote %d, %v", c.name, n, err)
				}
			},
			"down": func(here *countedConn, there net.Conn) {
				go there.Write(two)
				if _, err := io.ReadFull(here, make([]byte, len(two))); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
			},
		} {
			synctest.Test(t, func(t *testing.T) {
				here, there := slowed(t, c.server, c.limits)
				began := time.Now()
				move(here, there)
				if took := time.Since(began); took < c.least || took > c.most {
					t.Errorf("%s: 2 MB %s took %v, want %v to %v", c.name, way, took, c.least, c.most)
				}
			})
		}
	}
}

// A limit that changes holds within a minute, in the middle of a run.
func TestLimitsChangeOnTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		evening := time.Now().Add(10 * time.Minute)
		here, there := slowed(t, "192.0.2.1", func() Limits {
			if time.Now().Before(evening) {
				return Limits{Up: 80}
			}
			return Limits{}
		})
		go io.Copy(io.Discard, there)
		began := time.Now()
		for range 100 {
			here.Write(make([]byte, 100_000)) // ten seconds at 10 kB/s
		}
		if took := time.Since(began); took < 10*time.Minute || took > 11*time.Minute+10*time.Second {
			t.Errorf("10 MB took %v, want ten minutes until the evening, and then nothing", took)
		}
	})
}

// At the lowest limit there is, no call is taken for one that stands still.
func TestSlowIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, _ := brakes(func() Limits { return Limits{Up: 16} }, time.Now)
		ctx, w := watchCall(context.Background(), 10*time.Second, up, nil)
		defer w.stop()
		a, b := net.Pipe()
		defer a.Close()
		conn := &countedConn{Conn: a}
		w.use(conn)
		var got bytes.Buffer
		go io.Copy(&got, b)
		began := time.Now()
		conn.Write(make([]byte, 500_000)) // at 2 kB/s
		if took := time.Since(began); ctx.Err() != nil || took < 4*time.Minute {
			t.Errorf("after %v: %v", took, context.Cause(ctx))
		}
	})
}

// Only what backups send and restores receive is slowed, though all calls share
// the connections.
func TestLimitsAreOfTheCall(t *testing.T) {
	up, down := brakes(eight, time.Now)
	c := &Client{up: up, down: down}
	conn := &countedConn{}
	for _, want := range []struct {
		heavy    heavy
		up, down *brake
	}{{sends, up, nil}, {receives, nil, down}, {light, nil, nil}} {
		w := &watch{}
		w.up, w.down = c.brakesOf(want.heavy)
		w.use(conn)
		if conn.up.Load() != want.up || conn.down.Load() != want.down {
			t.Errorf("a call of kind %d has other brakes", want.heavy)
		}
	}
}
