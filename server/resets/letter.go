package resets

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
)

// Letter is what the users of a reset are told besides what the template says.
type Letter struct {
	Window  string    `json:"window"` // when it was done
	Since   time.Time `json:"since"`  // since when nothing was backed up on schedule
	Link    string    `json:"link"`   // how to activate a computer
	Contact string    `json:"contact"`
	Note    string    `json:"note,omitempty"`
}

// Check refuses what makes no mail. The key names the field.
func (l *Letter) Check() error {
	for _, f := range []struct {
		text *string
		most int
		key  string
	}{{&l.Window, 200, "write.window.empty"}, {&l.Contact, 200, "write.contact.empty"}} {
		if *f.text = strings.TrimSpace(*f.text); *f.text == "" || utf8.RuneCountInString(*f.text) > f.most {
			return errs.New(errs.Invalid, f.key)
		}
	}
	switch l.Note = strings.TrimSpace(l.Note); {
	case l.Since.IsZero():
		return errs.New(errs.Invalid, "write.since.invalid")
	case !strings.HasPrefix(l.Link, "https://") || len(l.Link) > 500:
		return errs.New(errs.Invalid, "write.link.invalid")
	case utf8.RuneCountInString(l.Note) > 1000:
		return errs.New(errs.Invalid, "write.note.long", "n", 1000)
	}
	return nil
}

// Mail is the letter to one user, perhaps as a reminder.
func (l Letter) Mail(u accounts.User, again bool) mail.Mail {
	m := mail.Mail{To: u.Email, Language: u.Language, User: u.ID, Org: u.Org, Template: mail.SecurityReset, Values: map[string]string{
		"username": u.Username, "window": l.Window, "since": l.Since.Format(time.RFC3339), "link": l.Link, "contact": l.Contact}}
	if l.Note != "" {
		m.Values["note"] = l.Note
	}
	if again {
		m.Values["again"] = "yes"
	}
	return m
}

// What is due to the user of a device.
const (
	mailTell   = "tell"
	mailRemind = "remind"
)

// firstMail is what is due to a user whose device is revoked now.
func (r Reset) firstMail() string {
	if r.Letter == nil {
		return ""
	}
	return mailTell
}

// Affected is how many users of a reset would be written to now, and how many
// have no address.
func Affected(ctx context.Context, tx *db.Tx, by access.Caller, id string) (users, without int, err error) {
	r, err := View(ctx, tx, by, id)
	if err != nil {
		return 0, 0, err
	}
	err = tx.QueryRow(ctx, "SELECT count(DISTINCT CASE WHEN u.email <> '' THEN u.id END), count(DISTINCT CASE WHEN u.email = '' THEN u.id END)"+
		joined+" AND "+isMissing+" AND u.state = 'active'", r.ID).Scan(&users, &without)
	if err != nil {
		return 0, 0, fmt.Errorf("counting the users of reset %s: %w", id, err)
	}
	return users, without, nil
}

// Tell has the letter sent to every user whose device is not back and who was
// not written to, and to those whose turn comes later. Run queues the mails, in
// parts and spaced; what it stops in, it or another server goes on with.
func Tell(ctx context.Context, tx *db.Tx, by access.Caller, id string, l Letter) error {
	r, err := View(ctx, tx, by, id)
	if err != nil {
		return err
	}
	if err := audit.Check(ctx, tx, by, access.ManageDevices, r.Org, "", r.object(), audit.Note("mail", mail.SecurityReset)); err != nil {
		return err
	}
	if r.StartedAt.IsZero() {
		return errs.New(errs.Conflict, "reset.state", "state", string(r.State))
	}
	if err := l.Check(); err != nil {
		return err
	}
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("writing to the users of reset %s: %w", id, err)
	}
	_, err = tx.Exec(ctx, "UPDATE resets SET letter = $2, told_by = $3 WHERE id = $1", id, string(text), by.Name)
	if err != nil {
		return fmt.Errorf("writing to the users of reset %s: %w", id, err)
	}
	return r.due(ctx, tx, mailTell, " AND x.told_at = 0")
}

// remindAfter is how long after a mail its users are reminded at the earliest.
const remindAfter = 24 * time.Hour

// Remind has the letter sent once more, as a reminder, to everybody whose device
// is still not back. Once a day is enough.
func Remind(ctx context.Context, tx *db.Tx, by access.Caller, id string) error {
	r, err := View(ctx, tx, by, id)
	if err != nil {
		return err
	}
	if err := audit.Check(ctx, tx, by, access.ManageDevices, r.Org, "", r.object(), audit.Note("mail", mailRemind)); err != nil {
		return err
	}
	switch {
	case r.Letter == nil:
		return errs.New(errs.Conflict, "reset.untold")
	case tx.Now().Sub(r.RemindedAt) < remindAfter:
		return errs.New(errs.Conflict, "reset.reminded", "at", r.RemindedAt.Add(remindAfter))
	}
	if _, err := tx.Exec(ctx, "UPDATE resets SET reminded_at = $2 WHERE id = $1", id, db.Micros(tx.Now())); err != nil {
		return fmt.Errorf("reminding the users of reset %s: %w", id, err)
	}
	return r.due(ctx, tx, mailRemind, "")
}

// due notes that a mail is due to the users of devices that are not back.
func (r Reset) due(ctx context.Context, tx *db.Tx, what, and string) error {
	_, err := tx.Exec(ctx, "UPDATE reset_devices SET mailed = $2 WHERE reset = $1 AND mailed = '' AND device IN (SELECT x.device"+joined+" AND "+isAffected+and+")", r.ID, what)
	if err != nil {
		return fmt.Errorf("writing to the users of reset %s: %w", r.ID, err)
	}
	return nil
}

// write queues mails that are due, one to each user, and reports whether more
// are.
func write(ctx context.Context, tx *db.Tx, ring *keys.Ring, r Reset) (more bool, err error) {
	if r.Letter == nil {
		return false, nil
	}
	type item struct {
		user accounts.User
		what string
		told int64 // when this reset last wrote to the user
	}
	list, err := db.All(ctx, tx, func(row db.Row) (i item, err error) {
		err = row.Scan(&i.user.ID, &i.user.Org, &i.user.Username, &i.user.Email, &i.user.Language, &i.user.State, &i.what, &i.told)
		return i, err
	}, "SELECT u.id, u.org, u.username, u.email, u.language, u.state, max(x.mailed), (SELECT max(y.told_at) FROM reset_devices y WHERE y.reset = $1 AND y.user_id = u.id)"+joined+
		" AND x.mailed <> '' GROUP BY u.id, u.org, u.username, u.email, u.language, u.state ORDER BY u.id LIMIT $2", r.ID, atOnce)
	if err != nil || len(list) == 0 {
		return false, err
	}
	var mails []mail.Mail
	args := []any{r.ID, db.Micros(tx.Now())}
	for _, i := range list {
		first := i.what == mailTell && i.told == 0
		if i.user.State == accounts.Active && i.user.Email != "" && (first || i.what == mailRemind) {
			mails = append(mails, r.Letter.Mail(i.user, i.what == mailRemind))
		}
		args = append(args, string(i.user.ID))
	}
	if err := mail.QueueAll(ctx, tx, ring, mails); err != nil {
		return false, err
	}
	_, err = tx.Exec(ctx, `UPDATE reset_devices SET mailed = '', told_at = CASE WHEN EXISTS (SELECT 1 FROM users u WHERE u.id = user_id AND u.email <> '' AND u.state = 'active')
		THEN $2 ELSE told_at END WHERE reset = $1 AND mailed <> '' AND user_id IN (`+db.In(len(list), 3)+")", args...)
	return true, err
}
