package accounts

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
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
	Quota     string `json:"quota"`
	Language  string `json:"language"`
	SendMail  string `json:"send_mail"` // as it stands in the file

	ProfileID access.ProfileID `json:"profile_id,omitempty"`
	LicenceID string           `json:"licence_id,omitempty"`

	QuotaBytes *int64 `json:"quota_bytes,omitempty"`
	Mail       bool   `json:"mail,omitempty"` // the invitation is sent

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
	State     string // checked, running, done
	Rows      []Row
	CreatedAt time.Time
	ExpiresAt time.Time

	Total, Done int       // rows, and how many of them the run has dealt with
	RunAt       time.Time // when it last did

	Good, Exists, Bad, Made int // rows of each status
}

// The states of an import. One that was stopped is checked again: what it made
// by then is there.
const (
	ImportChecked = "checked"
	ImportRunning = "running"
	ImportDone    = "done"
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
	i := Import{ID: id.String(), Org: org, State: ImportChecked, Rows: rows, Total: len(rows)}
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
	quota, err := parseQuota(r.Quota)
	if err != nil {
		return err
	}
	r.QuotaBytes = quota
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

// parseQuota reads a quota as people write it, "500 MB", "1.5 TB"; 0 is no limit,
// and nothing is the profile's.
func parseQuota(text string) (*int64, error) {
	if text == "" {
		return nil, nil
	}
	number := strings.TrimRight(strings.ToUpper(text), "BGMT ")
	unit := map[string]float64{"": 0, "MB": 1e6, "GB": 1e9, "TB": 1e12}
	factor, known := unit[strings.TrimSpace(strings.ToUpper(text)[len(number):])]
	amount, err := strconv.ParseFloat(strings.ReplaceAll(number, ",", "."), 64)
	bytes := amount * factor
	if err != nil || !known || !(bytes >= 0 && bytes <= profile.MaxQuotaBytes) || factor == 0 && amount != 0 {
		return nil, errs.New(errs.Invalid, "import.quota.invalid", "value", text)
	}
	whole := int64(math.Round(bytes))
	return &whole, nil
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
		_, err = tx.Exec(ctx, `INSERT INTO user_imports (id, org, created_by, rows, total, done, state, run_at, created_at, expires_at)
			VALUES ($1, $2, $3, $4, $5, 0, $6, 0, $7, $8)`, i.ID, i.Org, by.ID(), string(text), i.Total, i.State, db.Micros(i.CreatedAt), db.Micros(i.ExpiresAt))
	}
	if err != nil {
		return fmt.Errorf("keeping an import: %w", err)
	}
	return nil
}

const importColumns = "id, org, total, done, state, run_at, created_at, expires_at"

// scanImport reads importColumns, and what comes after them into more.
func scanImport(row interface{ Scan(...any) error }, more ...any) (i Import, err error) {
	var run, created, expires int64
	err = row.Scan(append([]any{&i.ID, &i.Org, &i.Total, &i.Done, &i.State, &run, &created, &expires}, more...)...)
	i.RunAt, i.CreatedAt, i.ExpiresAt = db.Time(run), db.Time(created), db.Time(expires)
	return i, err
}

// FindImport returns a file that was checked, until a day after.
func FindImport(ctx context.Context, tx *db.Tx, by access.Caller, id string) (Import, error) {
	var text string
	i, err := scanImport(tx.QueryRow(ctx, "SELECT "+importColumns+", rows FROM user_imports WHERE id = $1 AND expires_at > $2", id, db.Micros(tx.Now())), &text)
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
	i.halt(tx.Now())
	return i, audit.See(by, access.ManageUsers, i.Org, "", "users")
}

// Imports are an organisation's files of the last day, the newest first and at
// most ten, without their rows.
func Imports(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID) (list []Import, err error) {
	if err := audit.See(by, access.ManageUsers, org, "", "users"); err != nil {
		return nil, err
	}
	err = each(ctx, tx, "SELECT "+importColumns+" FROM user_imports WHERE org = $1 AND expires_at > $2 ORDER BY id DESC LIMIT 10", []any{org, db.Micros(tx.Now())},
		func(rows *sql.Rows) error {
			i, err := scanImport(rows)
			i.halt(tx.Now())
			list = append(list, i)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("listing imports: %w", err)
	}
	return list, nil
}
