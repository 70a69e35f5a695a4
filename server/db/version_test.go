package db_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
)

// setVersion makes the database look as if it were of version n.
func setVersion(t *testing.T, d *db.DB, n int64) {
	t.Helper()
	err := d.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES ($1, TRUE)`, n)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNewerVersionIsRefused(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	setVersion(t, d, db.Target()+1)
	for name, f := range map[string]func(context.Context) error{"Check": d.Check, "Prepare": d.Prepare, "Migrate": d.Migrate} {
		err := f(t.Context())
		e := errs.Find(err)
		if e == nil || e.Code != errs.SchemaVersion || e.Key != "error.E1602" {
			t.Errorf("%s = %v, want E1602", name, err)
			continue
		}
		if e.Args["a"] != db.Target()+1 || e.Args["b"] != db.Target() {
			t.Errorf("%s names the versions %v", name, e.Args)
		}
	}
}

func TestOlderVersionAsksForMigrate(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	err := d.Write(t.Context(), func(tx *db.Tx) error {
		if _, err := tx.Exec(t.Context(), `DELETE FROM goose_db_version`); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES ($1, TRUE)`, db.Target()-1)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if db.Target() == 1 {
		return // with one version only, older is empty
	}
	for name, f := range map[string]func(context.Context) error{"Check": d.Check, "Prepare": d.Prepare} {
		if e := errs.Find(f(t.Context())); e == nil || e.Key != "error.E1602.older" {
			t.Errorf("%s = %v, want E1602 for an older one", name, e)
		}
	}
}

// A database of a newer program is the same to the last bit after every way to
// look at it, and nothing lies beside it.
func TestRefusalTouchesNothing(t *testing.T) {
	t.Parallel()
	if os.Getenv(dbtest.Env) != "" {
		// The same promise for PostgreSQL: Version only selects. There is no
		// file to compare; TestNewerVersionIsRefused covers the rest.
		return
	}
	dsn := dbtest.DSN(t)
	path := strings.TrimPrefix(dsn, "sqlite:")
	d, err := db.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	setVersion(t, d, db.Target()+1)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	before := folder(t, path)
	if len(before) != 1 {
		t.Fatalf("a closed database has %d files, want 1", len(before))
	}

	d = dbtest.Open(t, dsn)
	for _, f := range []func(context.Context) error{d.Check, d.Prepare, d.Migrate} {
		if err := f(t.Context()); !errs.Is(err, errs.SchemaVersion) {
			t.Errorf("got %v, want E1602", err)
		}
		if err := same(before, folder(t, path)); err != nil {
			t.Error(err)
		}
	}
}

// After a crash the version may be in the log only; it must be seen, and file
// and log stay as they are.
func TestVersionInTheLog(t *testing.T) {
	t.Parallel()
	if os.Getenv(dbtest.Env) != "" {
		return // PostgreSQL reads its own log
	}
	dsn := dbtest.DSN(t)
	path := strings.TrimPrefix(dsn, "sqlite:")
	d := dbtest.Open(t, dsn)
	setVersion(t, d, db.Target()+1)

	crashed := filepath.Join(t.TempDir(), "backstay.db")
	for _, end := range []string{"", "-wal", "-shm"} {
		data, err := os.ReadFile(path + end)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(crashed+end, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := folder(t, crashed)
	c := dbtest.Open(t, "sqlite:"+crashed)
	if err := c.Prepare(t.Context()); !errs.Is(err, errs.SchemaVersion) {
		t.Errorf("Prepare = %v, want E1602", err)
	}
	after := folder(t, crashed)
	delete(before, "backstay.db-shm") // memory, not data
	delete(after, "backstay.db-shm")
	if err := same(before, after); err != nil {
		t.Error(err)
	}
}

func folder(t *testing.T, path string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(path), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = data
	}
	return files
}

func same(want, got map[string][]byte) error {
	for name := range got {
		if _, ok := want[name]; !ok {
			return fmt.Errorf("%s appeared", name)
		}
	}
	for name, data := range want {
		if !bytes.Equal(got[name], data) {
			return fmt.Errorf("%s was changed", name)
		}
	}
	return nil
}

func TestPrepareMakesAnEmptyOneReady(t *testing.T) {
	t.Parallel()
	if os.Getenv(dbtest.Env) != "" {
		return // dbtest's template was made by Migrate
	}
	// A folder that is not there yet, and a name that an address must escape.
	path := filepath.Join(t.TempDir(), "new", "ü%20?#&.db")
	d := dbtest.Open(t, "sqlite:"+path)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open made the file: %v", err)
	}
	if err := d.Check(t.Context()); !errs.Is(err, errs.SchemaVersion) {
		t.Errorf("Check of nothing = %v, want E1602", err)
	}
	if err := d.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(t.Context()); err != nil {
		t.Error(err)
	}
	put(t, d, "a", "1")
	for _, end := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + end)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", filepath.Base(path)+end, info.Mode().Perm())
		}
	}
}

func TestSeveralMigrateAtOnce(t *testing.T) {
	t.Parallel()
	if os.Getenv(dbtest.Env) != "" {
		return // goose's advisory lock
	}
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "backstay.db")
	var wg sync.WaitGroup
	for range 4 {
		d := dbtest.Open(t, dsn)
		wg.Go(func() {
			if err := d.Prepare(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := dbtest.Open(t, dsn).Check(t.Context()); err != nil {
		t.Error(err)
	}
}
