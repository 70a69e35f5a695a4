// Package dbtest gives tests a migrated database of their own: SQLite in a
// temporary folder, or, when BACKSTAY_TEST_POSTGRES holds the address of a
// PostgreSQL server and a role that may create databases, one there.
//
// Migrating takes longer than most tests, so it is done once and copied. On
// PostgreSQL the copy's original stays on the server, under a name made from
// the migrations, for the next run to use.
package dbtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/server/db"
)

// Env names the variable with the PostgreSQL server's address.
const Env = "BACKSTAY_TEST_POSTGRES"

// New returns an empty, migrated database that is closed and removed at the
// end of the test.
func New(t testing.TB) *db.DB {
	t.Helper()
	return Open(t, DSN(t))
}

// Open opens the database at dsn until the end of the test. Opening one dsn
// twice is how two servers share a database.
func Open(t testing.TB, dsn string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("closing the database: %v", err)
		}
	})
	return d
}

// DSN makes an empty, migrated database and returns its address.
func DSN(t testing.TB) string {
	t.Helper()
	if admin := os.Getenv(Env); admin != "" {
		return postgres(t, admin)
	}
	return sqlite(t)
}

var template = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "backstay-dbtest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "template.db")
	if err := migrate("sqlite:" + path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func sqlite(t testing.TB) string {
	t.Helper()
	file, err := template()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "backstay.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + path
}

func migrate(dsn string) error {
	ctx := context.Background()
	d, err := db.Open(ctx, dsn)
	if err != nil {
		return err
	}
	if err := d.Migrate(ctx); err != nil {
		d.Close()
		return err
	}
	return d.Close()
}

func postgres(t testing.TB, admin string) string {
	t.Helper()
	pool, err := sql.Open("pgx", admin)
	if err != nil {
		t.Fatalf("%s: %v", Env, err)
	}
	defer pool.Close()
	from, err := postgresTemplate(t.Context(), pool, admin)
	if err != nil {
		t.Fatalf("making a PostgreSQL template: %v", err)
	}
	name := "backstay_test_" + random()
	// The template is locked by another test's copying for a moment.
	for wait := time.Millisecond; ; wait *= 2 {
		_, err = pool.ExecContext(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+from)
		if err == nil {
			break
		}
		if wait > 10*time.Second {
			t.Fatalf("making a PostgreSQL database: %v", err)
		}
		time.Sleep(wait)
	}
	t.Cleanup(func() {
		pool, err := sql.Open("pgx", admin)
		if err != nil {
			t.Error(err)
			return
		}
		defer pool.Close()
		if _, err := pool.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("dropping the test's database: %v", err)
		}
	})
	dsn, err := database(admin, name)
	if err != nil {
		t.Fatal(err)
	}
	return dsn
}

var templateOnce struct {
	sync.Mutex
	name string
}

// postgresTemplate is the name of a migrated database that nobody is connected
// to. It is made under another name first, so that a killed run leaves no
// half-made one.
func postgresTemplate(ctx context.Context, pool *sql.DB, admin string) (string, error) {
	templateOnce.Lock()
	defer templateOnce.Unlock()
	if templateOnce.name != "" {
		return templateOnce.name, nil
	}
	sum := sha256.Sum256([]byte(db.Schema()))
	name := "backstay_template_" + hex.EncodeToString(sum[:8])
	conn, err := pool.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	// Other test programs want the same template. The lock ends with the
	// connection, which the caller's pool closes.
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock(7315082)"); err != nil {
		return "", err
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock(7315082)")
	var exists bool
	if err := conn.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)", name).Scan(&exists); err != nil {
		return "", err
	}
	if !exists {
		half := "backstay_test_" + random()
		if _, err := conn.ExecContext(ctx, "CREATE DATABASE "+half+" TEMPLATE template0 ENCODING 'UTF8'"); err != nil {
			return "", err
		}
		dsn, err := database(admin, half)
		if err != nil {
			return "", err
		}
		if err := migrate(dsn); err != nil {
			return "", err
		}
		if _, err := conn.ExecContext(ctx, "ALTER DATABASE "+half+" RENAME TO "+name); err != nil {
			return "", err
		}
	}
	templateOnce.name = name
	return name, nil
}

// database is admin's address with another database.
func database(admin, name string) (string, error) {
	u, err := url.Parse(admin)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", fmt.Errorf("%s must be a postgres:// address", Env)
	}
	u.Path = "/" + name
	return u.String(), nil
}

func random() string {
	var b [8]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x", b)
}
