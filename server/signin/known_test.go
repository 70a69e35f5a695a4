package signin_test

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/signin"
)

// A lock that others caused does not keep out a browser in which the account
// was before, and that browser does not get more tries than others.
func TestKnownBrowserPassesTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	w.User("vic")
	w.stop()
	known, foreign := w.come("una").Known, w.come("vic").Known
	if known == "" || known == foreign {
		t.Fatal("no browser became known")
	}
	lock := func() {
		w.fail("203.0.113.1", "una", 10)
	}
	lock()
	for name, token := range map[string]string{"none": "", "of somebody else": foreign, "cut": known[:len(known)-1], "made up": "bsk_" + strings.Repeat("A", 43)} {
		if wait, _ := w.try("198.51.100.1", token, "una", password); wait == 0 {
			t.Errorf("with a token %s the lock does not hold", name)
		}
	}
	if _, err := w.try("198.51.100.1", known, "una", password); err != nil {
		t.Errorf("the known browser: %v", err)
	}
	// What the browser itself fails is counted for it alone.
	for range 10 {
		for {
			wait, err := w.try("198.51.100.1", known, "una", "wrong")
			if errs.Is(err, errs.AuthFailed) {
				break
			}
			w.Move(time.Duration(wait) * time.Second)
		}
	}
	if wait, err := w.try("198.51.100.1", known, "una", password); wait != 900 {
		t.Errorf("the known browser after ten failures: %v", err)
	}
	if _, err := w.try("198.51.100.2", "", "una", password); err != nil {
		t.Errorf("others then: %v", err)
	}
	w.Move(signin.KnownLife)
	lock()
	if wait, _ := w.try("198.51.100.1", known, "una", password); wait == 0 {
		t.Error("the browser is known for ever")
	}
}

// A device is known like a browser: who locks the account from elsewhere does
// not keep its owner from restoring.
func TestDevicePassesTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	w.stop()
	w.fail("203.0.113.1", "una", 10)
	by := access.Caller{Kind: access.DeviceKind, User: u.ID, Org: u.Org, Device: "d1", IP: "198.51.100.1"}
	if _, err := w.g.Confirm(t.Context(), by, accounts.ToClient, u.ID, password, ""); err != nil {
		t.Errorf("at the device: %v", err)
	}
}
