package wire

import "time"

const (
	// slice is what the line is looked at by. Those in which less than half of the
	// best got through say nothing of the line: we were the ones who had nothing to
	// send. The others together do. The best alone would say too much: what another
	// connection had half sent when a slice began counts whole when it ends, and is
	// missing from the slice before.
	slice = 250 * time.Millisecond
	// enough is how many slices make a measure.
	enough = 8
	// fresh is how long a measure holds: the line of a computer that moves is
	// another one tomorrow, and at noon others use it too.
	fresh = 15 * time.Minute
)

// meter measures the line: what gets through to the other side while nothing of
// ours holds it up. It costs nothing but two seconds at full speed in every
// quarter of an hour of sending, and it is of the one line that counts, that to
// the server, at this time of the day.
//
// What counts is what the other side acknowledged, not what the system's buffers
// took; so all connections that send are looked at together, at the beginning and
// at the end of each slice.
//
// BUG(wire): on other systems than Linux nobody tells what was acknowledged. The
// buffers count as sent there, and a slow line seems faster in the first slice.
type meter struct {
	line int64     // bytes a second, 0 before the first measure
	at   time.Time // when it was measured

	conns map[*countedConn]int64 // those that send, and what they had got through when the slice began
	since time.Time              // when the slice began, zero when nothing is measured
	seen  []passed               // by slice, where something got through
}

// passed is what got through in a time.
type passed struct {
	bytes int64
	took  time.Duration
}

func (p passed) rate() float64 { return float64(p.bytes) / p.took.Seconds() }

// line is what the line gives in bytes a second, by the slices of a measure.
func line(seen []passed) int64 {
	var best float64
	for _, p := range seen {
		best = max(best, p.rate())
	}
	var all passed
	for _, p := range seen {
		if p.rate() >= best/2 {
			all.bytes, all.took = all.bytes+p.bytes, all.took+p.took
		}
	}
	return max(int64(all.rate()), 1)
}

// look is called before each piece that is sent. It returns what the line gives
// in bytes a second, and 0 while that is being measured.
func (m *meter) look(c *countedConn, now time.Time) int64 {
	if m.since.IsZero() {
		if m.line > 0 && now.Sub(m.at).Abs() < fresh {
			return m.line
		}
		m.conns, m.since, m.seen = map[*countedConn]int64{}, now, nil
	}
	if _, known := m.conns[c]; !known {
		m.conns[c] = c.through()
	}
	took := now.Sub(m.since)
	if took < 0 { // the clock was put back
		took, m.since = 0, now
	}
	if took < slice {
		return 0
	}
	var got int64
	for conn, before := range m.conns {
		if conn.closed.Load() {
			delete(m.conns, conn) // what was on its way is lost, or not: nobody knows
			continue
		}
		through := conn.through()
		got += max(through-before, 0)
		m.conns[conn] = through
	}
	m.since = now
	if got > 0 {
		m.seen = append(m.seen, passed{got, took})
	}
	if len(m.seen) < enough {
		return 0
	}
	*m = meter{line: line(m.seen), at: now}
	return m.line
}

// through is how many bytes the other side has.
func (c *countedConn) through() int64 { return c.sent.Load() - int64(unsent(c.Conn)) }
