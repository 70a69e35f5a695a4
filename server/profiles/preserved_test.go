package profiles_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/profiles"
)

const day = 24 * time.Hour

// preserved makes a preserved user and an administrator who is told.
func (w *world) preserved(name string) accounts.User {
	w.Helper()
	u := w.Made(accounts.New{Username: name, PasswordHash: "x"})
	w.Put(u.ID, accounts.Preserved)
	return u
}

// job runs the timer twice, since it must do nothing twice, and returns the
// warnings that it mailed.
func (w *world) job() (warned []string) {
	w.Helper()
	for range 2 {
		w.Write(func(tx *db.Tx) error {
			_, err := profiles.DeletePreserved(w.Context(), tx, w.Ring)
			return err
		})
	}
	for _, m := range w.Mails() {
		if m.Template == mail.PreservedExpiring {
			warned = append(warned, m.Values["days"]+": "+strings.ReplaceAll(m.Values["users"], "\n", " "))
		}
	}
	w.Write(func(tx *db.Tx) error {
		_, err := tx.Exec(w.Context(), "DELETE FROM outbox")
		return err
	})
	return warned
}

func (w *world) deleteAfter(days int) {
	w.Helper()
	s := w.first.Settings
	s.AutoDeletePreservedDays = days
	p, err := w.save(system, w.first.ID, w.first.Revision, profiles.Changes{Settings: &s})
	if err != nil {
		w.Fatal(err)
	}
	w.first = p
}

func TestDeletePreserved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	w.DB.Now = func() time.Time { return now }
	w.Boss()
	una, vic, held := w.preserved("una"), w.preserved("vic"), w.preserved("held")
	w.Write(func(tx *db.Tx) error { return accounts.SetHold(t.Context(), tx, system, held.ID, true) })
	now = now.Add(1000 * day)
	if warned := w.job(); len(warned) > 0 || w.Find(una.ID).State != accounts.Preserved {
		t.Errorf("without a limit in the profile: %q, %s", warned, w.Find(una.ID).State)
	}

	// Switched on long after: they are warned of first.
	w.deleteAfter(60)
	if warned := w.job(); !slices.Equal(warned, []string{"1: una vic"}) || w.Find(una.ID).State != accounts.Preserved {
		t.Errorf("at once: %q, una is %s", warned, w.Find(una.ID).State)
	}
	w.Write(func(tx *db.Tx) error { return accounts.Activate(t.Context(), tx, system, vic.ID, "") })
	now = now.Add(day - time.Second)
	if warned := w.job(); len(warned) > 0 || w.Find(una.ID).State != accounts.Preserved {
		t.Errorf("within a day: %q, una is %s", warned, w.Find(una.ID).State)
	}
	now = now.Add(time.Second)
	w.job()
	if u := w.Find(una.ID); u.State != accounts.Deleted || u.StateReason != "preserved for 60 days, as profile Default says" || !u.PurgeAt.Equal(now.Add(7*day)) {
		t.Errorf("a day later una is %s: %q, until %v", u.State, u.StateReason, u.PurgeAt)
	}
	if w.Find(held.ID).State != accounts.Preserved || w.Find(vic.ID).State != accounts.Active {
		t.Errorf("held is %s, vic %s", w.Find(held.ID).State, w.Find(vic.ID).State)
	}

	// As it is meant: warnings 30, 7 and one day before.
	wil := w.preserved("wil")
	var warned []string
	for d := range 61 {
		if d > 0 {
			now = now.Add(day)
		}
		for _, said := range w.job() {
			warned = append(warned, fmt.Sprintf("day %d, %s", d, said))
		}
		if got := w.Find(wil.ID).State; (got == accounts.Deleted) != (d == 60) {
			t.Errorf("on day %d wil is %s", d, got)
		}
	}
	if want := []string{"day 30, 30: wil", "day 53, 7: wil", "day 59, 1: wil"}; !slices.Equal(warned, want) {
		t.Errorf("warned %q, want %q", warned, want)
	}
	// Free again, it begins with a warning.
	w.Write(func(tx *db.Tx) error { return accounts.SetHold(t.Context(), tx, system, held.ID, false) })
	if warned := w.job(); !slices.Equal(warned, []string{"1: held"}) || w.Find(held.ID).State != accounts.Preserved {
		t.Errorf("after the hold: %q, held is %s", warned, w.Find(held.ID).State)
	}
}

func TestPreservedDaysAreBounded(t *testing.T) {
	t.Parallel()
	for days, ok := range map[int]bool{0: true, 30: true, 3650: true, -1: false, 1: false, 29: false, 3651: false} {
		s := profile.Defaults()
		s.AutoDeletePreservedDays = days
		if err := s.Validate(); (err == nil) != ok {
			t.Errorf("%d days: %v", days, err)
		}
	}
}
