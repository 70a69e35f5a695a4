package orgs_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
)

// remind runs the job, twice as two servers would, and returns what it mailed,
// as "template to address".
func (w *world) remind() (mails []string, faulty []orgs.Licence) {
	w.t.Helper()
	w.exec("DELETE FROM outbox")
	for range 2 {
		w.write(func(tx *db.Tx) (err error) {
			faulty, err = orgs.Remind(w.t.Context(), tx, w.ring, rules, "https://backup.example.org/admin")
			return err
		})
	}
	w.write(func(tx *db.Tx) error {
		rows, err := mail.List(w.t.Context(), tx, operator, mail.Filter{})
		for _, r := range rows {
			mails = append(mails, string(r.Template)+" to "+r.To)
		}
		return err
	})
	slices.Sort(mails)
	return mails, faulty
}

func (w *world) administrator(role, state, email string) {
	w.t.Helper()
	w.exec(`INSERT INTO users (id, org, kind, role, username, username_key, email, email_key, first_name, last_name, search, language, state,
			state_at, profile_at, password, password_at, must_change_password, locked_until, key_gen, last_login_at, created_at, updated_at)
		VALUES ($1, $2, 'administrator', $3, $1, $1, $4, $4, '', '', '', 'fr', $5, 0, 0, '', 0, $6, 0, 0, 0, 0, 0)`,
		uuid.NewString(), w.org.ID, role, email, state, false)
}

func TestRemind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.administrator("server_admin", "active", "anna@example.org")
	w.administrator("org_admin", "active", "ben@example.org")
	w.administrator("org_admin", "active", "")
	w.administrator("org_admin", "disabled", "gone@example.org")
	w.administrator("viewer", "active", "viewer@example.org")
	both := func(templates ...mail.Template) (want []string) {
		for _, m := range templates {
			want = append(want, string(m)+" to anna@example.org", string(m)+" to ben@example.org")
		}
		slices.Sort(want)
		return want
	}
	expect := func(when string, templates ...mail.Template) {
		t.Helper()
		if got, _ := w.remind(); !slices.Equal(got, both(templates...)) {
			t.Errorf("%s: mailed %v, want %v", when, got, both(templates...))
		}
	}

	end := w.now.Add(40 * day)
	l := w.create("Bureau", 1, 0, end)
	expect("all is well")
	w.now = end.Add(-30*day - time.Hour)
	expect("31 days before")
	w.now = end.Add(-30 * day)
	expect("30 days before", mail.LicenceExpiring)
	w.now = w.now.Add(day)
	expect("29 days before")

	// Too many seats: each day, and on the same day with the other reason.
	w.user(l.ID, "active")
	expect("all taken")
	w.user(l.ID, "active")
	expect("too many", mail.LicenceOver)
	w.now = w.now.Add(8 * time.Hour)
	expect("the same day")
	w.now = w.now.Add(16 * time.Hour)
	expect("the next day", mail.LicenceOver)
	w.now = end.Add(-7 * day).Add(-time.Hour)
	expect("just before the 7 days", mail.LicenceOver)
	w.now = end.Add(-7 * day)
	expect("7 days before, told of something already")
	w.now = end.Add(-6 * day)
	expect("6 days before", mail.LicenceOver, mail.LicenceExpiring)
	more := w.find(l.ID)
	more.SeatsActive = 5
	if err := w.change(more); err != nil {
		t.Fatal(err)
	}
	w.now = end.Add(-day)
	w.exec("UPDATE licences SET over_since = 1")
	expect("one day before", mail.LicenceExpiring)
	if got := w.find(l.ID); !got.OverSince.IsZero() {
		t.Errorf("nobody counted again: over since %s", got.OverSince)
	}
	w.now = end.Add(day)
	expect("expired")

	if _, faulty := w.remind(); len(faulty) != 0 {
		t.Errorf("%d are faulty", len(faulty))
	}
	w.exec("UPDATE licences SET valid_to = 0")
	if got, faulty := w.remind(); len(faulty) != 1 || faulty[0].Fault == nil || len(got) != 0 {
		t.Errorf("changed by hand: %v, mailed %v", faulty, got)
	}
}

// The server administrators, of whatever organisation, are told what nobody of
// the organisation itself can be.
func TestNotifyReachesSomebody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	home := w.org
	w.administrator("server_admin", "active", "boss@example.org")
	w.write(func(tx *db.Tx) (err error) {
		w.org, err = orgs.Create(t.Context(), tx, operator, w.ring, "Branch")
		return err
	})
	w.administrator("viewer", "active", "viewer@example.org")
	w.administrator("org_admin", "active", "")
	told := func(want ...string) {
		t.Helper()
		var got []string
		w.write(func(tx *db.Tx) error {
			if _, err := tx.Exec(t.Context(), "DELETE FROM outbox"); err != nil {
				return err
			}
			if err := orgs.Notify(t.Context(), tx, w.ring, w.org.ID, mail.Mail{Template: mail.DeletionRequested,
				Values: map[string]string{"username": "una", "name": "Una"}}); err != nil {
				return err
			}
			rows, err := mail.List(t.Context(), tx, operator, mail.Filter{})
			got = nil
			for _, r := range rows {
				got = append(got, r.To)
			}
			return err
		})
		if !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
	}
	told("boss@example.org")
	w.administrator("org_admin", "active", "org@example.org")
	told("org@example.org")
	w.org = home
	told("boss@example.org")
}
