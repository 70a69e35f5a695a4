package accounts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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
)

// Request is what a user asks of the administrators: to delete their account.
type Request struct {
	ID        string
	Org       orgs.ID
	User      ID
	Username  string
	CreatedAt time.Time
}

// Its kind and states, as they are stored.
const (
	deleteAccount = "delete_account"
	requestOpen   = "open"
	requestDone   = "done"
	requestNo     = "refused"
)

// RequestDeletion asks the administrators to delete the caller's own account;
// asking again changes nothing. console is where they reach this server. What it answers is the same whether or not a
// legal hold will keep them from doing it.
func RequestDeletion(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, console string) error {
	u, err := Find(ctx, tx, by.User)
	if err != nil {
		return err
	}
	if err := audit.Check(ctx, tx, by, access.ChangeAccount, u.Org, u.ID, object(u.ID), audit.Note("request", deleteAccount)); err != nil {
		return err
	}
	var open int
	err = tx.QueryRow(ctx, "SELECT count(*) FROM account_requests WHERE user_id = $1 AND kind = $2 AND state = $3", u.ID, deleteAccount, requestOpen).Scan(&open)
	if err != nil {
		return fmt.Errorf("looking for requests of account %s: %w", u.ID, err)
	}
	if open > 0 {
		return nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("asking for a deletion: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO account_requests (id, org, user_id, kind, state, created_at, closed_at, closed_by)
		VALUES ($1, $2, $3, $4, $5, $6, 0, '')`, id.String(), u.Org, u.ID, deleteAccount, requestOpen, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("asking for a deletion: %w", err)
	}
	return orgs.Notify(ctx, tx, ring, u.Org, mail.Mail{Template: mail.DeletionRequested, Values: map[string]string{
		"username": u.Username, "name": u.Name(), "link": strings.TrimRight(console, "/") + "/admin/users/" + string(u.ID)}})
}

// DeletionAsked is when an account asked to be deleted and got no answer yet;
// zero when it did not ask.
func DeletionAsked(ctx context.Context, tx *db.Tx, id ID) (time.Time, error) {
	var at int64
	err := tx.QueryRow(ctx, "SELECT coalesce(max(created_at), 0) FROM account_requests WHERE user_id = $1 AND kind = $2 AND state = $3",
		id, deleteAccount, requestOpen).Scan(&at)
	if err != nil {
		return time.Time{}, fmt.Errorf("looking for requests of account %s: %w", id, err)
	}
	return db.Time(at), nil
}

// Requests returns the open requests of an organisation, or of all, the oldest
// first.
func Requests(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID) ([]Request, error) {
	if err := audit.See(by, access.ViewUsers, org, "", "users"); err != nil {
		return nil, err
	}
	var list []Request
	err := each(ctx, tx, `SELECT r.id, r.org, r.user_id, u.username, r.created_at FROM account_requests r JOIN users u ON u.id = r.user_id
		WHERE r.state = $1 AND ($2 = '' OR r.org = $2) ORDER BY r.created_at, r.id`, []any{requestOpen, string(org)}, func(rows *sql.Rows) error {
		var r Request
		var at int64
		err := rows.Scan(&r.ID, &r.Org, &r.User, &r.Username, &at)
		r.CreatedAt = db.Time(at)
		list = append(list, r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing requests: %w", err)
	}
	return list, nil
}

// RefuseRequest closes a request and leaves the account as it is. Deleting the
// account closes it, too.
func RefuseRequest(ctx context.Context, tx *db.Tx, by access.Caller, id string) error {
	var user ID
	err := tx.QueryRow(ctx, "SELECT user_id FROM account_requests WHERE id = $1 AND state = $2", id, requestOpen).Scan(&user)
	if errors.Is(err, sql.ErrNoRows) {
		return errs.New(errs.NotFound, "user.request.unknown")
	}
	if err != nil {
		return fmt.Errorf("looking for request %s: %w", id, err)
	}
	u, err := Find(ctx, tx, user)
	if err != nil {
		return err
	}
	if err := manage(ctx, tx, by, u, audit.Note("request", requestNo)); err != nil {
		return err
	}
	return closeRequests(ctx, tx, by, user, requestNo)
}

func closeRequests(ctx context.Context, tx *db.Tx, by access.Caller, user ID, state string) error {
	_, err := tx.Exec(ctx, "UPDATE account_requests SET state = $3, closed_at = $4, closed_by = $5 WHERE user_id = $1 AND state = $2",
		user, requestOpen, state, db.Micros(tx.Now()), by.ID())
	if err != nil {
		return fmt.Errorf("closing the requests of account %s: %w", user, err)
	}
	return nil
}
