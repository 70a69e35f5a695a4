package accounts

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/settings"
)

// importLife is how long a checked file waits to be imported.
const importLife = 24 * time.Hour

// RowStatus says what becomes of a row.
type RowStatus string

// What becomes of a row.
const (
	RowGood   RowStatus = "good"   // will be made
	RowExists RowStatus = "exists" // is there already, and stays as it is
	RowBad    RowStatus = "bad"    // cannot be, for a reason
	RowMade   RowStatus = "made"
)

// Row is a user of an import.
type Row struct {
	Line      int    `json:"line"` // in the file
	Username  string `json:"username"`
	Email     string `json:"email"`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	Profile   string `json:"profile"` // its name, and so for the licence
	Licence   string `json:"licence"`
	Language  string `json:"language"`
	SendMail  string `json:"send_mail"` // as it stands in the file

	ProfileID access.ProfileID `json:"profile_id,omitempty"`
	LicenceID string           `json:"licence_id,omitempty"`
	Mail      bool             `json:"mail,omitempty"` // the invitation is sent

	Status RowStatus      `json:"status"`
	Reason string         `json:"reason,omitempty"` // of a bad row: the message's key
	Args   map[string]any `json:"args,omitempty"`
}

// refuse makes a row bad for an expected reason, and returns any other.
func (r *Row) refuse(err error) error {
	e := errs.Find(err)
	if e == nil {
		return err
	}
	r.Status, r.Reason, r.Args = RowBad, e.Key, e.Args
	return nil
}

// Import is a file of users that was checked.
type Import struct {
	ID        string
	Org       orgs.ID
	State     string // checked, done
	Rows      []Row
	CreatedAt time.Time
	ExpiresAt time.Time

	Good, Exists, Bad, Made int // rows of each status
}

// The states of an import.
const (
	importChecked = "checked"
	importDone    = "done"
)

// count counts the rows of each status.
func (i *Import) count() {
	i.Good, i.Exists, i.Bad, i.Made = 0, 0, 0, 0
	for _, r := range i.Rows {
		switch r.Status {
		case RowGood:
			i.Good++
		case RowExists:
			i.Exists++
		case RowBad:
			i.Bad++
		case RowMade:
			i.Made++
		}
	}
}

// ImportOptions are what a file cannot say itself.
type ImportOptions struct {
	Profiles map[string]access.ProfileID // by the folded name, as profiles.Names has them
	SendMail bool                        // send the invitations of rows that do not say
}

// CheckImport reads a file of users, says of each row whether it can be made,
// and keeps that for a day. Nothing is made yet.
//
// The file is CSV in UTF-8, with commas or semicolons, and names its columns in
// the first line: username, and of email, first_name, last_name, profile,
// licence, language and send_mail those that it has. What cannot be read at all
// is refused as a whole. The same file, mended, can be imported again: who is
// there already stays as they are.
func CheckImport(ctx context.Context, d *db.DB, by access.Caller, org orgs.ID, file io.Reader, opts ImportOptions) (Import, error) {
	if err := audit.See(by, access.ManageUsers, org, "", "users"); err != nil {
		return Import{}, err
	}
	rows, err := readRows(file)
	if err != nil {
		return Import{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Import{}, fmt.Errorf("checking an import: %w", err)
	}
	i := Import{ID: id.String(), Org: org, State: importChecked, Rows: rows}
	err = d.Write(ctx, func(tx *db.Tx) error {
		if err := check(ctx, tx, &i, opts); err != nil {
			return err
		}
		i.count()
		i.CreatedAt, i.ExpiresAt = tx.Now(), tx.Now().Add(importLife)
		return insertImport(ctx, tx, by, i)
	})
	return i, err
}

// check gives each row its status.
func check(ctx context.Context, tx *db.Tx, i *Import, opts ImportOptions) error {
	s, err := settings.Load(ctx, tx)
	if err != nil {
		return err
	}
	licences, err := licenceNames(ctx, tx, i.Org)
	if err != nil {
		return err
	}
	there, err := occupied(ctx, tx, i)
	if err != nil {
		return err
	}
	line := map[string]int{} // of a username in the file
	mails := map[string]bool{}
	for n := range i.Rows {
		r := &i.Rows[n]
		if r.Status == RowBad {
			continue // it could not be read
		}
		r.Status, r.Reason, r.Args = RowGood, "", nil
		if err := r.refuse(r.normalise(opts, licences)); err != nil {
			return err
		}
		key := orgs.Fold(r.Username)
		first, twice := line[key]
		if !twice {
			line[key] = r.Line
		}
		mail := orgs.Fold(r.Email)
		switch {
		case r.Status == RowBad:
		case twice:
			err = r.refuse(errs.New(errs.Conflict, "import.row.twice", "line", first))
		case there.ours[key]:
			r.Status = RowExists
		case there.names[key]:
			err = r.refuse(errs.New(errs.Conflict, "user.username.taken", "username", r.Username))
		case !s.Registration.SharedEmails && mail != "" && (there.mails[mail] || mails[mail]):
			err = r.refuse(errs.New(errs.Conflict, "user.email.taken"))
		}
		if err != nil {
			return err
		}
		if r.Status == RowGood {
			mails[mail] = true
		}
	}
	return nil
}

// normalise brings a row into the form its user is kept in.
func (r *Row) normalise(opts ImportOptions, licences map[string]string) error {
	u := User{Kind: access.UserKind, Username: r.Username, Email: r.Email, FirstName: r.FirstName, LastName: r.LastName,
		Language: strings.ToLower(r.Language)}
	if err := u.normalise(); err != nil {
		return err
	}
	r.Username, r.Email, r.FirstName, r.LastName, r.Language = u.Username, u.Email, u.FirstName, u.LastName, u.Language
	var known bool
	if r.ProfileID, known = opts.Profiles[orgs.Fold(r.Profile)]; r.Profile != "" && !known {
		return errs.New(errs.Invalid, "import.profile.unknown", "profile", r.Profile)
	}
	if r.LicenceID, known = licences[orgs.Fold(r.Licence)]; r.Licence != "" && !known {
		return errs.New(errs.Invalid, "import.licence.unknown", "licence", r.Licence)
	}
	switch strings.ToLower(r.SendMail) {
	case "":
		r.Mail = opts.SendMail && r.Email != ""
		return nil
	case "yes", "true", "1", "oui":
		r.Mail = true
	case "no", "false", "0", "non":
		r.Mail = false
	default:
		return errs.New(errs.Invalid, "import.send_mail.invalid", "value", r.SendMail)
	}
	if r.Mail && r.Email == "" {
		return errs.New(errs.Invalid, "user.email.none")
	}
	return nil
}

// licenceNames are the licences of an organisation by name and by serial number.
func licenceNames(ctx context.Context, tx *db.Tx, org orgs.ID) (map[string]string, error) {
	names := map[string]string{}
	err := each(ctx, tx, "SELECT id, name, serial FROM licences WHERE org = $1", []any{org}, func(rows *sql.Rows) error {
		var id, name, serial string
		err := rows.Scan(&id, &name, &serial)
		names[orgs.Fold(name)], names[orgs.Fold(serial)], names[orgs.Fold(orgs.FormatSerial(serial))] = id, id, id
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for licences: %w", err)
	}
	return names, nil
}

// taken is what stands in the way of rows.
type taken struct {
	ours  map[string]bool // usernames of the organisation's users
	names map[string]bool // other usernames
	mails map[string]bool
}

// occupied looks for the rows' names and addresses on the server, some hundred
// at a time.
func occupied(ctx context.Context, tx *db.Tx, i *Import) (taken, error) {
	t := taken{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	const atOnce = 500
	for from := 0; from < len(i.Rows); from += atOnce {
		part := i.Rows[from:min(from+atOnce, len(i.Rows))]
		var names, mails []any
		for _, r := range part {
			names = append(names, orgs.Fold(strings.TrimSpace(r.Username)))
			mails = append(mails, orgs.Fold(strings.TrimSpace(r.Email)))
		}
		err := each(ctx, tx, `SELECT username_key, email_key, org, kind, state FROM users
			WHERE username_key IN (`+db.In(len(part), 1)+`) OR email_key IN (`+db.In(len(part), len(part)+1)+`) AND email_key <> ''`,
			append(names, mails...), func(rows *sql.Rows) error {
				var name, mail string
				var u User
				if err := rows.Scan(&name, &mail, &u.Org, &u.Kind, &u.State); err != nil {
					return err
				}
				t.names[name] = true
				if u.State != Deleted && u.State != Purged {
					t.mails[mail] = true
					t.ours[name] = u.Org == i.Org && u.Kind == access.UserKind
				}
				return nil
			})
		if err == nil {
			err = each(ctx, tx, `SELECT username_key FROM reserved_usernames WHERE username_key IN (`+db.In(len(part), 1)+`) AND until > `+
				fmt.Sprintf("$%d", len(part)+1), append(names, db.Micros(tx.Now())), func(rows *sql.Rows) error {
				var name string
				err := rows.Scan(&name)
				t.names[name] = true
				return err
			})
		}
		if err != nil {
			return taken{}, fmt.Errorf("checking an import: %w", err)
		}
	}
	return t, nil
}

// each calls f for every row of a query.
func each(ctx context.Context, tx *db.Tx, query string, args []any, f func(*sql.Rows) error) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func insertImport(ctx context.Context, tx *db.Tx, by access.Caller, i Import) error {
	text, err := json.Marshal(i.Rows)
	if err == nil {
		_, err = tx.Exec(ctx, `INSERT INTO user_imports (id, org, created_by, rows, options, state, created_at, expires_at)
			VALUES ($1, $2, $3, $4, '', $5, $6, $7)`, i.ID, i.Org, by.ID(), string(text), i.State, db.Micros(i.CreatedAt), db.Micros(i.ExpiresAt))
	}
	if err != nil {
		return fmt.Errorf("keeping an import: %w", err)
	}
	return nil
}

// FindImport returns a file that was checked, until a day after.
func FindImport(ctx context.Context, tx *db.Tx, by access.Caller, id string) (Import, error) {
	i := Import{ID: id}
	var text string
	var created, expires int64
	err := tx.QueryRow(ctx, "SELECT org, rows, state, created_at, expires_at FROM user_imports WHERE id = $1 AND expires_at > $2", id, db.Micros(tx.Now())).
		Scan(&i.Org, &text, &i.State, &created, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return Import{}, errs.New(errs.NotFound, "import.unknown")
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &i.Rows)
	}
	if err != nil {
		return Import{}, fmt.Errorf("reading import %s: %w", id, err)
	}
	i.count()
	i.CreatedAt, i.ExpiresAt = db.Time(created), db.Time(expires)
	return i, audit.See(by, access.ManageUsers, i.Org, "", "users")
}

// RunOptions are what RunImport may be told.
type RunOptions struct {
	Command  func(username string) string // see InviteOptions
	Progress func(done, all int)          // hears now and then how many of the rows are done
}

// runAtOnce is how many users are made in one transaction: enough that the
// transactions cost little, and few enough that nobody waits for one.
const runAtOnce = 25

// RunImport makes the users of the good rows and returns the import as it
// stands then. Who has come since the check stays as they are, and a row that
// cannot be made any more is bad. It may be stopped and run again: what it made
// by then exists. address is the server's, for the links.
func RunImport(ctx context.Context, d *db.DB, by access.Caller, ring *keys.Ring, h *passwords.Hasher, address, id string, opts RunOptions) (Import, error) {
	run := running{d, by, ring, h, address, opts}
	var i Import
	err := d.Read(ctx, func(tx *db.Tx) (err error) {
		if i, err = FindImport(ctx, tx, by, id); err != nil {
			return err
		}
		if i.State == importDone {
			return errs.New(errs.Conflict, "import.done")
		}
		return nil
	})
	if err != nil {
		return Import{}, err
	}
	for from := 0; from < len(i.Rows); from += runAtOnce {
		part := i.Rows[from:min(from+runAtOnce, len(i.Rows))]
		if err := run.makeSome(ctx, i.Org, part); err != nil {
			return Import{}, err
		}
		if opts.Progress != nil {
			opts.Progress(from+len(part), len(i.Rows))
		}
	}
	return i, d.Write(ctx, func(tx *db.Tx) error { return finish(ctx, tx, by, &i) })
}

// running is an import on its way.
type running struct {
	d       *db.DB
	by      access.Caller
	ring    *keys.Ring
	hasher  *passwords.Hasher
	address string
	opts    RunOptions
}

// makeSome makes the users of some rows in one transaction.
func (run running) makeSome(ctx context.Context, org orgs.ID, part []Row) error {
	secrets := make([]InviteOptions, len(part))
	for n, r := range part {
		if r.Status == RowGood && r.Mail {
			secret := passwords.Readable()
			secrets[n] = InviteOptions{Secret: secret, Hash: run.hasher.HashRandom(secret)}
			if run.opts.Command != nil {
				secrets[n].Command = run.opts.Command(r.Username)
			}
		}
	}
	var made []Row
	err := run.d.Write(ctx, func(tx *db.Tx) error {
		made = slices.Clone(part)
		var mails []mail.Mail
		for n := range made {
			if made[n].Status != RowGood {
				continue
			}
			m, err := run.makeOne(ctx, tx, org, &made[n], secrets[n])
			if err != nil {
				return err
			}
			if m.To != "" {
				mails = append(mails, m)
			}
		}
		return mail.QueueAll(ctx, tx, run.ring, mails)
	})
	copy(part, made)
	return err
}

// makeOne makes a user who is not there yet: somebody may run the same file at
// the same time. Create refuses before it writes, so that a row that is refused
// leaves nothing in the transaction of the others. The mail is to be sent, when
// there is one.
func (run running) makeOne(ctx context.Context, tx *db.Tx, org orgs.ID, r *Row, opts InviteOptions) (m mail.Mail, err error) {
	u, err := FindByUsername(ctx, tx, r.Username)
	if err == nil && u.Org == org && u.Kind == access.UserKind && u.State != Deleted {
		r.Status = RowExists
		return m, nil
	}
	if err != nil && errs.KindOf(err) != errs.NotFound {
		return m, err
	}
	u, err = Create(ctx, tx, run.by, run.ring, New{Org: org, Kind: access.UserKind, Username: r.Username, Email: r.Email,
		FirstName: r.FirstName, LastName: r.LastName, Language: r.Language, Profile: r.ProfileID, Licence: r.LicenceID})
	if err != nil {
		return m, r.refuse(err)
	}
	r.Status = RowMade
	if r.Mail {
		_, m, err = invite(ctx, tx, run.by, run.address, u, opts)
	}
	return m, err
}

// finish keeps what has become of the rows, for those who fetch the bad ones.
func finish(ctx context.Context, tx *db.Tx, by access.Caller, i *Import) error {
	i.State = importDone
	i.count()
	err := audit.Check(ctx, tx, by, access.ManageUsers, i.Org, "", "import/"+i.ID,
		audit.Note("made", i.Made), audit.Note("exist", i.Exists), audit.Note("bad", i.Bad))
	if err != nil {
		return err
	}
	text, err := json.Marshal(i.Rows)
	if err == nil {
		_, err = tx.Exec(ctx, "UPDATE user_imports SET rows = $2, state = $3 WHERE id = $1", i.ID, string(text), i.State)
	}
	if err != nil {
		return fmt.Errorf("keeping import %s: %w", i.ID, err)
	}
	return nil
}
