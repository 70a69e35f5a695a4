package wire

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// lineConn is a line that passes so many bytes a second.
type lineConn struct {
	net.Conn
	speed func() int
}

func (c lineConn) Write(p []byte) (int, error) {
	time.Sleep(time.Duration(len(p)) * time.Second / time.Duration(c.speed()))
	return c.Conn.Write(p)
}

// records writes as TLS does.
func records(c net.Conn, n int) {
	for record := make([]byte, 16<<10); n > 0; n -= len(record) {
		c.Write(record[:min(n, len(record))])
	}
}

// overLine are connections that share brakes, and a line each.
func overLine(t *testing.T, n int, limits Limits, speed func() int) (conns []*countedConn) {
	up, down := brakes(func() Limits { return limits }, time.Now)
	for range n {
		a, b := net.Pipe()
		t.Cleanup(func() { a.Close(); b.Close() })
		go io.Copy(io.Discard, b)
		c := &countedConn{Conn: lineConn{a, speed}, server: netip.MustParseAddr("192.0.2.1")}
		(&watch{up: up, down: down}).use(c)
		conns = append(conns, c)
	}
	return conns
}

// A part of the line is a part of what the line gives, which nobody had to say.
func TestPercentOfTheLine(t *testing.T) {
	const mega = 1_000_000
	for _, c := range []struct {
		name   string
		limits Limits
		least  time.Duration // for 20 MB over a line of 1 MB a second
		most   time.Duration
	}{
		// Two seconds at full speed, the rest at half of it.
		{"half of it", Limits{UpPercent: 50}, 36 * time.Second, 39 * time.Second},
		{"all of it", Limits{UpPercent: 100}, 19 * time.Second, 21 * time.Second},
		{"a limit below the part", Limits{UpPercent: 50, Up: 2000}, 70 * time.Second, 74 * time.Second},
		{"a limit above the part", Limits{UpPercent: 25, Up: 6000}, 70 * time.Second, 74 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn := overLine(t, 1, c.limits, func() int { return mega })[0]
			began := time.Now()
			records(conn, 20*mega)
			if took := time.Since(began); took < c.least || took > c.most {
				t.Errorf("%s: took %v, want %v to %v", c.name, took, c.least, c.most)
			}
		})
	}
}

// A line is what all connections get together.
func TestLineOfTwoConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conns := overLine(t, 2, Limits{UpPercent: 50}, func() int { return 500_000 })
		began := time.Now()
		done := make(chan struct{})
		for _, c := range conns {
			go func() { records(c, 10_000_000); done <- struct{}{} }()
		}
		<-done
		<-done
		if took := time.Since(began); took < 36*time.Second || took > 39*time.Second {
			t.Errorf("20 MB took %v, want two seconds at full speed and the rest at half of it", took)
		}
	})
}

// Time in which we have nothing to send says nothing of the line.
func TestLineOfOneWhoHasLittleToSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := overLine(t, 1, Limits{UpPercent: 50}, func() int { return 1_000_000 })[0]
		for range 40 {
			records(conn, 400_000)
			time.Sleep(5 * time.Second)
		}
		began := time.Now()
		records(conn, 10_000_000)
		if took := time.Since(began); took < 19*time.Second || took > 21*time.Second {
			t.Errorf("10 MB took %v, want 20 s", took)
		}
	})
}

// On another line another part holds, a quarter of an hour later.
func TestLineChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		moved := time.Now().Add(5 * time.Minute)
		conn := overLine(t, 1, Limits{UpPercent: 50}, func() int {
			if time.Now().Before(moved) {
				return 4_000_000
			}
			return 1_000_000
		})[0]
		began := time.Now()
		for time.Since(began) < 16*time.Minute {
			records(conn, 1_000_000)
		}
		again := time.Now()
		records(conn, 10_000_000)
		if took := time.Since(again); took < 19*time.Second || took > 21*time.Second {
			t.Errorf("10 MB took %v, want 20 s", took)
		}
	})
}

// What the system's buffers take is not what the line gives: over a real
// connection, to somebody who reads slowly.
func TestLineIsWhatGetsThrough(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c := &countedConn{Conn: a}
	defer c.Close()
	for {
		// Nobody reads, so after some megabytes nothing more fits.
		c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := c.Write(make([]byte, 64<<10)); err != nil {
			break
		}
	}
	if c.through() >= c.sent.Load() {
		t.Fatalf("of %d bytes that were written all count as got through, and nobody has read any", c.sent.Load())
	}
}

// Slices in which we had little to send say nothing, and those that gain what
// the one before lacks are not believed alone.
func TestLineOfSlices(t *testing.T) {
	quarter := func(bytes int64) passed { return passed{bytes, 250 * time.Millisecond} }
	for _, c := range []struct {
		name string
		seen []passed
		want int64
	}{
		{"nothing to send in between", []passed{quarter(250_000), {150_000, 5 * time.Second}, quarter(250_000), quarter(100_000)}, 1_000_000},
		{"a record too many, and one too few", []passed{quarter(266_000), quarter(234_000), quarter(234_000), quarter(266_000)}, 1_000_000},
		{"a line that gives next to nothing", []passed{{1, 3 * time.Second}}, 1},
	} {
		if got := line(c.seen); got != c.want {
			t.Errorf("%s: %d bytes a second, want %d", c.name, got, c.want)
		}
	}
}
