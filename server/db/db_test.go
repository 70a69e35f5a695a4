package db_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
)

func put(t *testing.T, d *db.DB, name, value string) {
	t.Helper()
	err := d.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2`, name, value)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, d *db.DB, name string) string {
	t.Helper()
	var value string
	err := d.Read(t.Context(), func(tx *db.Tx) error {
		err := tx.QueryRow(t.Context(), `SELECT value FROM meta WHERE name = $1`, name).Scan(&value)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestWriteIsKeptOrUndone(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	put(t, d, "a", "1")
	if got := get(t, d, "a"); got != "1" {
		t.Errorf("after a write a = %q, want 1", got)
	}

	wrong := errors.New("wrong")
	err := d.Write(t.Context(), func(tx *db.Tx) error {
		if _, err := tx.Exec(t.Context(), `UPDATE meta SET value = '2' WHERE name = 'a'`); err != nil {
			return err
		}
		return wrong
	})
	if !errors.Is(err, wrong) {
		t.Errorf("Write = %v, want the closure's error", err)
	}
	if got := get(t, d, "a"); got != "1" {
		t.Errorf("after a failed write a = %q, want 1", got)
	}

	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		d.Write(t.Context(), func(tx *db.Tx) error {
			tx.Exec(t.Context(), `UPDATE meta SET value = '3' WHERE name = 'a'`)
			panic("in a transaction")
		})
	}()
	if got := get(t, d, "a"); got != "1" {
		t.Errorf("after a panic a = %q, want 1", got)
	}
	put(t, d, "a", "4") // the writer is free again
}

func TestReadCannotWrite(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	err := d.Read(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO meta (name, value) VALUES ('a', '1')`)
		return err
	})
	if err == nil {
		t.Error("a write in Read went through")
	}
	if got := get(t, d, "a"); got != "" {
		t.Errorf("a = %q, want nothing", got)
	}
}

func TestReadIsOneSnapshot(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	put(t, d, "a", "1")
	err := d.Read(t.Context(), func(tx *db.Tx) error {
		var before, after string
		if err := tx.QueryRow(t.Context(), `SELECT value FROM meta WHERE name = 'a'`).Scan(&before); err != nil {
			return err
		}
		put(t, d, "a", "2")
		if err := tx.QueryRow(t.Context(), `SELECT value FROM meta WHERE name = 'a'`).Scan(&after); err != nil {
			return err
		}
		if before != after {
			t.Errorf("a was %s and then %s in one Read", before, after)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Peek has no transaction: each of its queries sees what is there.
func TestPeek(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	put(t, d, "a", "1")
	var before, after string
	err := d.Peek(t.Context(), func(tx *db.Tx) error {
		if err := tx.QueryRow(t.Context(), `SELECT value FROM meta WHERE name = $1`, "a").Scan(&before); err != nil {
			return err
		}
		put(t, d, "a", "2")
		return tx.QueryRow(t.Context(), `SELECT value FROM meta WHERE name = $1`, "a").Scan(&after)
	})
	if err != nil || before != "1" || after != "2" {
		t.Errorf("a was %q and then %q, %v; want 1 and 2", before, after, err)
	}
	err = d.Peek(t.Context(), func(tx *db.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT value FROM meta WHERE name = $1`, "b").Scan(new(string))
	})
	if !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("what is not there: %v", err)
	}
}

// Read-modify-write from many goroutines and two handles, as two servers would:
// no update is lost, and none gives up.
func TestWritesAreSerializable(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	handles := []*db.DB{dbtest.Open(t, dsn), dbtest.Open(t, dsn)}
	put(t, handles[0], "n", "0")
	const workers, each = 8, 10
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for range each {
				err := handles[i%2].Write(t.Context(), func(tx *db.Tx) error {
					var n int
					if err := tx.QueryRow(t.Context(), `SELECT CAST(value AS BIGINT) FROM meta WHERE name = 'n'`).Scan(&n); err != nil {
						return err
					}
					_, err := tx.Exec(t.Context(), `UPDATE meta SET value = $1 WHERE name = 'n'`, fmt.Sprint(n+1))
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got, want := get(t, handles[0], "n"), fmt.Sprint(workers*each); got != want {
		t.Errorf("n = %s after %s increments", got, want)
	}
}

// Two transactions that each read what the other writes: one must see the other.
func TestNoWriteSkew(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	put(t, d, "left", "on")
	put(t, d, "right", "on")
	var wg sync.WaitGroup
	for _, off := range []string{"left", "right"} {
		wg.Go(func() {
			err := d.Write(t.Context(), func(tx *db.Tx) error {
				var on int
				if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM meta WHERE value = 'on'`).Scan(&on); err != nil {
					return err
				}
				if on < 2 {
					return nil
				}
				time.Sleep(20 * time.Millisecond)
				_, err := tx.Exec(t.Context(), `UPDATE meta SET value = 'off' WHERE name = $1`, off)
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if l, r := get(t, d, "left"), get(t, d, "right"); l == r {
		t.Errorf("left = %s, right = %s: both went off, or neither", l, r)
	}
}

func TestContextEndsWaiting(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := d.Write(ctx, func(tx *db.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO meta (name, value) VALUES ('a', '1')`); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	if err == nil {
		t.Error("a transaction was committed after its context ended")
	}
	if got := get(t, d, "a"); got != "" {
		t.Errorf("a = %q, want nothing", got)
	}
}

func TestTypes(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	type id string
	blob := []byte{0, 1, 0xff, 'x'}
	err := d.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO audit (at, org, owner, actor_kind, actor_id, actor_name, action, object_kind, object_id,
			outcome, code, ip, request_id, session_id, details) VALUES ($1, $2, '', '', '', $3, '', '', '', '', '', '', '', '', '')`,
			db.Micros(tx.Now()), id("o"), "Zoë")
		if err != nil {
			return err
		}
		_, err = tx.Exec(t.Context(), `INSERT INTO orgs (id, name, name_key, state, key_gen, record, created_at, updated_at)
			VALUES ('o', 'b', 'b', '', 1, $1, 0, 0), ('p', 'A', 'A', '', 1, $1, 0, 0), ('q', 'é', 'é', '', 1, $1, 0, 0)`, blob)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = d.Read(t.Context(), func(tx *db.Tx) error {
		var seq, at int64
		if err := tx.QueryRow(t.Context(), `SELECT seq, at FROM audit WHERE actor_name = $1`, "Zoë").Scan(&seq, &at); err != nil {
			return err
		}
		if seq != 1 || time.Since(db.Time(at)) > time.Minute {
			t.Errorf("seq = %d, at = %v", seq, db.Time(at))
		}
		args := []any{"o", "p", "q"}
		rows, err := tx.Query(t.Context(), `SELECT id, record FROM orgs WHERE id IN (`+db.In(3, 1)+`) ORDER BY name`, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		var order string
		for rows.Next() {
			var id id
			var got []byte
			if err := rows.Scan(&id, &got); err != nil {
				return err
			}
			order += string(id)
			if !bytes.Equal(got, blob) {
				t.Errorf("blob = %x, want %x", got, blob)
			}
		}
		if order != "poq" {
			t.Errorf("order %s, want poq: byte by byte on both databases", order)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDuplicate(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	put(t, d, "a", "1")
	err := d.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO meta (name, value) VALUES ('a', '2')`)
		return err
	})
	if !db.Duplicate(err) {
		t.Errorf("Duplicate(%v) = false", err)
	}
	if db.Duplicate(errors.New("other")) {
		t.Error("Duplicate of another error = true")
	}
}

func TestIn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n, first int
		want     string
	}{{0, 1, "NULL"}, {1, 1, "$1"}, {3, 9, "$9,$10,$11"}} {
		if got := db.In(c.n, c.first); got != c.want {
			t.Errorf("In(%d, %d) = %s, want %s", c.n, c.first, got, c.want)
		}
	}
}

// What people are shown of a database is enough to find it, and not to open it.
func TestAbout(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	d := dbtest.Open(t, dsn)
	got, err := d.About(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Kind != d.Kind() || got.Schema != db.Target() || got.Bytes < 4096 || !strings.ContainsAny(got.Version, "0123456789") {
		t.Errorf("About() = %+v", got)
	}
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		if got.Place != path {
			t.Errorf("the place is %q, want %q", got.Place, path)
		}
		return
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	if !strings.HasPrefix(got.Place, u.User.Username()+"@") || !strings.HasSuffix(got.Place, u.Path) || password != "" && strings.Contains(got.Place, password) {
		t.Errorf("the place is %q", got.Place)
	}
}

func TestContains(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	put(t, d, `50% of a\b_c`, "")
	put(t, d, `500 of axbyc`, "")
	for _, c := range []struct {
		text string
		want int
	}{{"50%", 1}, {`a\b`, 1}, {"b_c", 1}, {"50", 2}, {"", 2}} {
		err := d.Read(t.Context(), func(tx *db.Tx) error {
			var n int
			if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM meta WHERE name LIKE $1 ESCAPE '\'`, db.Contains(c.text)).Scan(&n); err != nil {
				return err
			}
			if n != c.want {
				t.Errorf("%q is in %d names, want %d", c.text, n, c.want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Microsecond).UTC()
	if got := db.Time(db.Micros(now)); !got.Equal(now) {
		t.Errorf("Time(Micros(%v)) = %v", now, got)
	}
	if got := db.Micros(time.Time{}); got != 0 {
		t.Errorf("Micros of never = %d, want 0", got)
	}
	if got := db.Time(0); !got.IsZero() {
		t.Errorf("Time(0) = %v, want never", got)
	}
}

func TestOpenRefusesOtherAddresses(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"", "backstay.db", "mysql://x", "sqlite:"} {
		if d, err := db.Open(t.Context(), dsn); err == nil {
			d.Close()
			t.Errorf("Open(%q) went through", dsn)
		}
	}
	secret := "hunter2hunter2"
	_, err := db.Open(t.Context(), "postgres://u:"+secret+"@host:port/x")
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("Open of a broken address = %v, want an error without the password", err)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getenv(dbtest.Env) != "" {
		return // PostgreSQL's 53100 cannot be made without a file system of its own
	}
	d := dbtest.New(t)
	err := d.Write(t.Context(), func(tx *db.Tx) error {
		// SQLite's own bound on pages fails as a full disk does.
		if _, err := tx.Exec(t.Context(), `PRAGMA max_page_count = 1`); err != nil {
			return err
		}
		big := make([]byte, 1<<20)
		rand.Read(big)
		_, err := tx.Exec(t.Context(), `INSERT INTO meta (name, value) VALUES ('big', $1)`, fmt.Sprintf("%x", big))
		return err
	})
	if !errs.Is(err, errs.StorageFull) {
		t.Errorf("Write to a full disk = %v, want E1601", err)
	}
}
