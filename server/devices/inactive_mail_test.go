package devices_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/mail/mailtest"
	"github.com/backstay/backstay/server/settings"
)

// D-15: the notices of 30, 7 and one day reach the administrator's mail box, in
// words that say how long is left, for which device and how it is kept; and when
// all have come, the device is deleted.
func TestInactiveIsMailed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	boss := w.Boss()
	post := mailtest.New(t)
	w.Write(func(tx *db.Tx) error {
		return settings.Change(t.Context(), tx, system, func(s *settings.Settings) error {
			s.Mail = post.Settings
			return nil
		})
	})
	d, _ := w.device(w.una, "ATELIER-07")
	w.settings(func(s *profile.Settings) { s.InactiveDays, s.AutoDeleteInactiveDays = 30, 90 })
	var got []string
	for day := range 130 {
		move(24 * time.Hour)
		w.Write(func(tx *db.Tx) error {
			_, err := devices.Inactive(t.Context(), tx, w.Ring)
			return err
		})
		if w.find(d.ID).State == devices.Deleted {
			got = append(got, fmt.Sprint("day ", day+1, ": deleted"))
			break
		}
		if w.queued() == 0 {
			continue
		}
		m := w.delivered(post, boss.Email, mail.InactiveExpiring)
		got = append(got, fmt.Sprint("day ", day+1, ": ", m.Subject))
		for _, says := range []string{"ATELIER-07 (una)", "A device that backs up again until then stays."} {
			if !strings.Contains(m.Text, says) {
				t.Errorf("the mail does not say %q:\n%s", says, m.Text)
			}
		}
	}
	want := []string{"day 90: Inactive devices will be deleted in 30 days", "day 113: Inactive devices will be deleted in 7 days",
		"day 119: Inactive devices will be deleted in 1 day", "day 120: deleted"}
	if !slices.Equal(got, want) {
		t.Errorf("what came is %q, want %q", got, want)
	}
}

// queued is how many mails wait to be sent.
func (w *world) queued() (n int) {
	w.Helper()
	w.Read(func(tx *db.Tx) error {
		return tx.QueryRow(w.Context(), "SELECT count(*) FROM outbox WHERE state = 'waiting'").Scan(&n)
	})
	return n
}

// delivered has the server's sender deliver what is queued, and is the mail that
// came. While it runs the clock stands.
func (w *world) delivered(post *mailtest.Server, to string, template mail.Template) *mailtest.Mail {
	w.Helper()
	ctx, stop := context.WithCancel(w.Context())
	sender := &mail.Sender{DB: w.DB, Keys: w.Ring, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Name: "Backstay", Every: 10 * time.Millisecond,
		URL: func() string { return "https://backup.example.org" }}
	var running sync.WaitGroup
	running.Go(func() { sender.Run(ctx) })
	defer running.Wait()
	defer stop()
	return post.Wait(to, template)
}
