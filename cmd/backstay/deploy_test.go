package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
)

// A computer whose token was revoked waits for about a day, each for another
// time, and comes at once when somebody puts a good token into the file or signs
// in.
func TestWaitingToEnrolAgain(t *testing.T) {
	st, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "deploy.toml")
	write := func(text string) error { return os.WriteFile(file, []byte(text), 0o600) }
	if err := write("revoked"); err != nil {
		t.Fatal(err)
	}
	nobody := func() bool { return false }
	synctest.Test(t, func(t *testing.T) {
		wait := agent.NextTry(1, errs.Of(errs.BadDeployToken), 0)
		began := time.Now()
		changed, err := new(app).waitForTry(t.Context(), st, file, stamp(file), wait, nobody)
		if passed := time.Since(began); changed || err != nil || passed != wait {
			t.Errorf("an unchanged file: changed %v, %v, after %s of %s", changed, err, passed, wait)
		}
		began = time.Now()
		wrote := make(chan error, 1)
		before := stamp(file)
		time.AfterFunc(time.Hour, func() { wrote <- write("a good token") })
		changed, err = new(app).waitForTry(t.Context(), st, file, before, wait, nobody)
		if passed := time.Since(began); !changed || errors.Join(err, <-wrote) != nil || passed > time.Hour+lookEvery {
			t.Errorf("a changed file: changed %v, %v, after %s", changed, err, passed)
		}
		began = time.Now()
		changed, err = new(app).waitForTry(t.Context(), st, file, stamp(file), wait, func() bool { return time.Since(began) > time.Hour })
		if passed := time.Since(began); !changed || err != nil || passed > time.Hour+lookEvery {
			t.Errorf("somebody signed in: changed %v, %v, after %s", changed, err, passed)
		}
	})
}
