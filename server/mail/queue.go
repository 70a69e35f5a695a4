package mail

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/settings"
)

// Row is a mail in the queue, as administrators see it: without what it says.
type Row struct {
	Number    int64
	Org       access.OrgID
	User      access.UserID
	Template  Template
	Language  string
	To        string
	State     State
	Tries     int
	Err       *errs.Error // of the last try, nil when there was none
	CreatedAt time.Time
	NextAt    time.Time // when it is tried next, of a waiting one
	SentAt    time.Time
}

// Filter chooses mails.
type Filter struct {
	State  State         // "": all
	User   access.UserID // "": of all
	Before int64         // mails older than this one: the next page
	Limit  int           // 0 means 50, at most 500
}

const columns = "number, org, user_id, template, language, recipient, state, tries, error, created_at, next_at, sent_at"

func scan(row db.Row) (r Row, err error) {
	var problem string
	var created, next, sent int64
	err = row.Scan(&r.Number, &r.Org, &r.User, &r.Template, &r.Language, &r.To, &r.State, &r.Tries, &problem, &created, &next, &sent)
	r.Err = readProblem(problem)
	r.CreatedAt, r.NextAt, r.SentAt = db.Time(created), db.Time(next), db.Time(sent)
	return r, err
}

// List returns mails, newest first. Where there are more, the next page is
// before the last one's Number.
func List(ctx context.Context, tx *db.Tx, by access.Caller, f Filter) ([]Row, error) {
	if err := see(by); err != nil {
		return nil, err
	}
	where, args := []string{"number > 0"}, []any{}
	add := func(condition string, arg any) {
		args = append(args, arg)
		where = append(where, fmt.Sprintf(condition, len(args)))
	}
	if f.State != "" {
		add("state = $%d", f.State)
	}
	if f.User != "" {
		add("user_id = $%d", f.User)
	}
	if f.Before > 0 {
		add("number < $%d", f.Before)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 50
	}
	args = append(args, min(limit, 500))
	list, err := db.All(ctx, tx, scan, "SELECT "+columns+" FROM outbox WHERE "+strings.Join(where, " AND ")+
		fmt.Sprintf(" ORDER BY number DESC LIMIT $%d", len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("listing mails: %w", err)
	}
	return list, nil
}

// Counts is how many mails there are in each state.
func Counts(ctx context.Context, tx *db.Tx, by access.Caller) (map[State]int, error) {
	if err := see(by); err != nil {
		return nil, err
	}
	counts, err := db.Counts[State](ctx, tx, "SELECT state, count(*) FROM outbox GROUP BY state")
	if err != nil {
		return nil, fmt.Errorf("counting mails: %w", err)
	}
	return counts, nil
}

func see(by access.Caller) error {
	return audit.See(by, access.ManageSettings, "", "", "mail")
}

// Retry has a mail tried again at once, one that was given up too: as often as
// a new one.
func Retry(ctx context.Context, tx *db.Tx, by access.Caller, number int64) error {
	return change(ctx, tx, by, number, "retry", `UPDATE outbox SET state = 'waiting', tries = 0, next_at = $2
		WHERE number = $1 AND state IN ('waiting', 'failed') AND body IS NOT NULL`, number, db.Micros(tx.Now()))
}

// Drop takes a mail out of the queue unsent, and forgets what it says.
func Drop(ctx context.Context, tx *db.Tx, by access.Caller, number int64) error {
	return change(ctx, tx, by, number, "drop", `UPDATE outbox SET state = 'dropped', body = NULL
		WHERE number = $1 AND state IN ('waiting', 'failed')`, number)
}

func change(ctx context.Context, tx *db.Tx, by access.Caller, number int64, what, update string, args ...any) error {
	if err := see(by); err != nil {
		return err
	}
	r, err := scan(tx.QueryRow(ctx, "SELECT "+columns+" FROM outbox WHERE number = $1", number))
	if errors.Is(err, sql.ErrNoRows) {
		return errs.New(errs.NotFound, "mail.unknown")
	}
	if err != nil {
		return fmt.Errorf("reading mail %d: %w", number, err)
	}
	changed, err := tx.Changed(ctx, update, args...)
	if err != nil {
		return fmt.Errorf("changing mail %d: %w", number, err)
	}
	if changed == 0 {
		return errs.New(errs.Conflict, "mail.settled")
	}
	return audit.Record(ctx, tx, by, audit.Event{Action: access.ManageSettings, Org: r.Org, Owner: r.User,
		Object: "mail/" + strconv.FormatInt(number, 10), Outcome: audit.Done,
		Details: []audit.Detail{audit.Note("change", what), audit.Note("template", r.Template), audit.Note("to", r.To)}})
}

// Failures are the users whose last mail did not get through so far, and why.
func Failures(ctx context.Context, tx *db.Tx, users []access.UserID) (map[access.UserID]*errs.Error, error) {
	failures := map[access.UserID]*errs.Error{}
	for part := range slices.Chunk(users, 500) {
		if err := failuresOf(ctx, tx, part, failures); err != nil {
			return nil, fmt.Errorf("looking for mails that failed: %w", err)
		}
	}
	return failures, nil
}

func failuresOf(ctx context.Context, tx *db.Tx, users []access.UserID, failures map[access.UserID]*errs.Error) error {
	rows, err := tx.Query(ctx, `SELECT user_id, error FROM outbox WHERE number IN
			(SELECT max(number) FROM outbox WHERE user_id IN (`+db.In(len(users), 1)+`) AND state <> 'dropped' GROUP BY user_id)
		AND error <> ''`, db.Args(users)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var user access.UserID
		var problem string
		if err := rows.Scan(&user, &problem); err != nil {
			return err
		}
		failures[user] = readProblem(problem)
	}
	return rows.Err()
}

// Works reports whether mail goes out: a server is set up, and has since taken
// a mail, the last one that was tried, or refused that for its recipient's sake
// alone. Until it does, people cannot be told anything, and an administrator
// must hand links over.
func Works(ctx context.Context, tx *db.Tx) (bool, error) {
	s, err := settings.Load(ctx, tx)
	if err != nil || !s.Mail.Configured() {
		return false, err
	}
	var problem string
	err = tx.QueryRow(ctx, `SELECT error FROM outbox WHERE claimed_at >= $1 AND state <> 'sending' AND state <> 'dropped'
		ORDER BY claimed_at DESC, number DESC LIMIT 1`, db.Micros(s.Mail.ChangedAt)).Scan(&problem)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking at the last mail: %w", err)
	}
	e := readProblem(problem)
	return e == nil || e.Key == recipientRefused || e.Key == badAddress, nil
}

// RecordTest writes down how Test ended: in the audit, and in the queue as a
// mail like any other, from which Works knows. Failure is what Test returned.
func RecordTest(ctx context.Context, tx *db.Tx, by access.Caller, to, language string, failure error) error {
	e := audit.Event{Action: access.ManageSettings, Object: "mail/" + string(TestMail), Outcome: audit.Done,
		Details: []audit.Detail{audit.Note("to", to)}}
	if err := see(by); err != nil {
		return err
	}
	state, text, sent := Sent, "", db.Micros(tx.Now())
	if failure != nil {
		state, sent, e.Outcome = Failed, 0, audit.Failed
		why := errs.Find(failure)
		if why == nil {
			return fmt.Errorf("testing mail: %w", failure)
		}
		text = problem(why)
		e.Details = append(e.Details, audit.Note("error", why.Key))
	}
	spoken, _ := locale.Parse(language)
	now := db.Micros(tx.Now())
	_, err := tx.Exec(ctx, `INSERT INTO outbox (org, user_id, template, language, recipient, body, state, tries, error,
			created_at, next_at, claimed_at, sent_at)
		VALUES ($1, $2, $3, $4, $5, NULL, $6, 1, $7, $8, $9, $10, $11)`,
		"", "", TestMail, spoken, to, state, text, now, now, now, sent)
	if err != nil {
		return fmt.Errorf("recording a test of mail: %w", err)
	}
	return audit.Record(ctx, tx, by, e)
}

// Expire gives up what could not even be tried for two days, and forgets what
// is long over. It returns how many rows it touched.
func Expire(ctx context.Context, tx *db.Tx) (int64, error) {
	ago := func(d time.Duration) int64 { return db.Micros(tx.Now().Add(-d)) }
	day := 24 * time.Hour
	late, err := tx.Changed(ctx, `UPDATE outbox SET state = 'failed', error = $1 WHERE state = 'waiting' AND next_at < $2`,
		problem(errs.New(errs.Gone, "mail.error.late")), ago(2*day))
	if err != nil {
		return 0, fmt.Errorf("giving up mails: %w", err)
	}
	// Its links are dead by now; until then an administrator may try again.
	bodies, err := tx.Changed(ctx, `UPDATE outbox SET body = NULL WHERE state = 'failed' AND body IS NOT NULL AND created_at < $1`, ago(7*day))
	if err != nil {
		return 0, fmt.Errorf("emptying mails: %w", err)
	}
	gone, err := tx.Changed(ctx, `DELETE FROM outbox WHERE created_at < $1 AND state IN ('sent', 'failed', 'dropped')`, ago(30*day))
	if err != nil {
		return 0, fmt.Errorf("deleting mails: %w", err)
	}
	return late + bodies + gone, nil
}

// stored is how a failure is kept, to be told in the reader's language.
type stored struct {
	Kind errs.Kind      `json:"kind"`
	Key  string         `json:"key"`
	Args map[string]any `json:"args,omitempty"`
}

func problem(e *errs.Error) string {
	text, err := json.Marshal(stored{e.Kind, e.Key, e.Args})
	if err != nil { // an argument that has no JSON: none of ours
		text, _ = json.Marshal(stored{Kind: e.Kind, Key: e.Key})
	}
	return string(text)
}

func readProblem(text string) *errs.Error {
	var s stored
	if text == "" || json.Unmarshal([]byte(text), &s) != nil {
		return nil
	}
	return &errs.Error{Kind: s.Kind, Key: s.Key, Args: s.Args}
}
