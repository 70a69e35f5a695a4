package signin

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/backstay/backstay/server/db"
)

// counter is a row of throttles: what was counted for one subject.
type counter struct {
	subject  []byte
	failures int
	first    time.Time // of the window
	last     time.Time
	until    time.Time // refused before that
	expires  time.Time
}

// subject names what is counted and for whom. It is kept as an HMAC: whom
// something is counted for may be what somebody typed, and what somebody types
// into the wrong field is their password.
func (g *Gate) subject(kind string, whom ...string) []byte {
	parts := [][]byte{[]byte(kind)}
	for _, w := range whom {
		parts = append(parts, []byte(w))
	}
	return g.Keys.MAC("throttle", parts...)
}

// count reads a counter. One that has expired begins anew.
func count(ctx context.Context, tx *db.Tx, subject []byte) (counter, error) {
	c := counter{subject: subject}
	var first, last, until, expires int64
	err := tx.QueryRow(ctx, "SELECT failures, first_at, last_at, until, expires_at FROM throttles WHERE subject = $1", subject).
		Scan(&c.failures, &first, &last, &until, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("reading a counter: %w", err)
	}
	if db.Micros(tx.Now()) >= expires {
		return counter{subject: subject}, nil
	}
	c.first, c.last, c.until, c.expires = db.Time(first), db.Time(last), db.Time(until), db.Time(expires)
	return c, nil
}

func (c counter) store(ctx context.Context, tx *db.Tx) error {
	_, err := tx.Exec(ctx, `INSERT INTO throttles (subject, failures, first_at, last_at, until, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (subject) DO UPDATE SET failures = excluded.failures, first_at = excluded.first_at, last_at = excluded.last_at,
			until = excluded.until, expires_at = excluded.expires_at`,
		c.subject, c.failures, db.Micros(c.first), db.Micros(c.last), db.Micros(c.until), db.Micros(c.expires))
	if err != nil {
		return fmt.Errorf("counting: %w", err)
	}
	return nil
}

func forget(ctx context.Context, tx *db.Tx, subject []byte) error {
	if _, err := tx.Exec(ctx, "DELETE FROM throttles WHERE subject = $1", subject); err != nil {
		return fmt.Errorf("ending a count: %w", err)
	}
	return nil
}

// within is how long to wait until fewer than limit are counted in the window,
// 0 when that is so now.
func (c counter) within(now time.Time, window time.Duration, limit int) time.Duration {
	end := c.first.Add(window)
	if c.failures < limit || !now.Before(end) {
		return 0
	}
	return end.Sub(now)
}

// hit counts one more in a window, and says how long to wait when there were
// limit already: then it is not counted.
func hit(ctx context.Context, tx *db.Tx, subject []byte, window time.Duration, limit int) (time.Duration, error) {
	c, err := count(ctx, tx, subject)
	if err != nil {
		return 0, err
	}
	if wait := c.within(tx.Now(), window, limit); wait > 0 {
		return wait, nil
	}
	if c.failures == 0 || !tx.Now().Before(c.first.Add(window)) {
		c.failures, c.first = 0, tx.Now()
	}
	c.failures++
	c.last, c.expires = tx.Now(), c.first.Add(window)
	return 0, c.store(ctx, tx)
}

// Expire deletes counts and known browsers that are over.
func Expire(ctx context.Context, tx *db.Tx) (int64, error) {
	now := db.Micros(tx.Now())
	counts, err := tx.Changed(ctx, "DELETE FROM throttles WHERE expires_at <= $1", now)
	if err != nil {
		return 0, fmt.Errorf("deleting counts: %w", err)
	}
	browsers, err := tx.Changed(ctx, "DELETE FROM known_browsers WHERE expires_at <= $1", now)
	if err != nil {
		return 0, fmt.Errorf("deleting known browsers: %w", err)
	}
	return counts + browsers, nil
}

// network is the part of an address that one customer of a provider has, who
// can pick any address in it.
func network(ip string) string {
	return prefix(ip, 24, 56)
}

// host is the part of an address that is one connection.
func host(ip string) string {
	return prefix(ip, 32, 64)
}

func prefix(ip string, v4, v6 int) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	addr = addr.Unmap().WithZone("")
	bits := v6
	if addr.Is4() {
		bits = v4
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return ip
	}
	return p.String()
}
