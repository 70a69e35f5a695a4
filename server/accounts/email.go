package accounts

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/settings"
)

const (
	// undoHours is how long the old address can take a change back.
	undoHours = 72

	// emailPause is between two codes for one account, and emailsADay how many
	// there are, so that nobody floods the mailbox of somebody else.
	emailPause = time.Minute
	emailsADay = 10
)

// address is what a code or link for an address keeps with it.
type address struct {
	Email string `json:"email"`
	At    int64  `json:"at,omitempty"` // when it was changed
}

// BeginEmail is an account's own wish for another address: a code goes there,
// and nothing changes until ConfirmEmail is given it. Whether somebody else has
// that address is told only to who reads its mail.
func BeginEmail(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, email string) error {
	u, err := Find(ctx, tx, by.User)
	if err != nil {
		return err
	}
	if err := audit.Check(ctx, tx, by, access.ChangeAccount, u.Org, u.ID, object(u.ID), audit.Note("email", "asked")); err != nil {
		return err
	}
	email, ok := normaliseEmail(email)
	if !ok || email == "" {
		return errs.New(errs.Invalid, "user.email.invalid")
	}
	if email == u.Email {
		return errs.New(errs.Invalid, "user.email.same")
	}
	wait, err := nextCode(ctx, tx, u.ID)
	if err != nil {
		return err
	}
	if wait > 0 {
		return errs.Of(errs.TooManyAttempts, "n", int((wait+time.Second-1)/time.Second))
	}
	s, err := settings.Load(ctx, tx)
	if err != nil {
		return err
	}
	life := time.Duration(s.SignIn.CodeMinutes) * time.Minute
	code, err := NewCode(ctx, tx, ring, ForEmail, u.ID, life, address{Email: email})
	if err != nil {
		return err
	}
	return mail.Queue(ctx, tx, ring, mail.Mail{To: email, Language: u.Language, User: u.ID, Org: u.Org, Template: mail.EmailConfirm,
		Values: map[string]string{"username": u.Username, "code": code, "minutes": strconv.Itoa(s.SignIn.CodeMinutes)}})
}

// nextCode is how long an account must wait for another code.
func nextCode(ctx context.Context, tx *db.Tx, id ID) (time.Duration, error) {
	const day = 24 * time.Hour
	sent, err := mail.Count(ctx, tx, id, mail.EmailConfirm, tx.Now().Add(-day))
	if err != nil {
		return 0, err
	}
	if sent >= emailsADay {
		return day, nil
	}
	var at int64
	err = tx.QueryRow(ctx, "SELECT created_at FROM one_time_secrets WHERE user_id = $1 AND purpose = $2", id, ForEmail).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("looking for the last code of account %s: %w", id, err)
	}
	return emailPause - tx.Now().Sub(db.Time(at)), nil
}

// ConfirmEmail sets the address that the code was sent to. The old address is
// told, with a link that undoes it for 72 hours; links that were sent there are
// void. server is the server's address. A wrong code is E1108, one that is over
// E1107.
func ConfirmEmail(ctx context.Context, d *db.DB, by access.Caller, ring *keys.Ring, server, code string) error {
	return UseCode(ctx, d, ring, ForEmail, by.User, code, func(tx *db.Tx, data json.RawMessage) error {
		var a address
		if err := json.Unmarshal(data, &a); err != nil {
			return fmt.Errorf("reading the new address of account %s: %w", by.User, err)
		}
		u, err := Find(ctx, tx, by.User)
		if err != nil {
			return err
		}
		old := u.Email
		u.Email = a.Email
		if err := freeEmail(ctx, tx, u); err != nil {
			return err
		}
		if err := changeEmail(ctx, tx, by, u, old); err != nil {
			return err
		}
		return TellOld(ctx, tx, ring, server, u, old)
	})
}

// changeEmail writes u with its new address, and the record.
func changeEmail(ctx context.Context, tx *db.Tx, by access.Caller, u User, old string) error {
	if err := audit.Check(ctx, tx, by, access.ChangeAccount, u.Org, u.ID, object(u.ID), audit.Change("email", old, u.Email)); err != nil {
		return err
	}
	if err := EndSecrets(ctx, tx, u.ID, ForReset, ForActivation); err != nil {
		return err
	}
	u.UpdatedAt = tx.Now()
	if err := update(ctx, tx, u); err != nil {
		return fmt.Errorf("changing the address of account %s: %w", u.ID, err)
	}
	return nil
}

// TellOld mails the old address of u what has happened to it, and how to undo
// it. server is the server's address.
func TellOld(ctx context.Context, tx *db.Tx, ring *keys.Ring, server string, u User, old string) error {
	if old == "" {
		return nil
	}
	token, err := NewLink(ctx, tx, ForEmailUndo, u.ID, undoHours*time.Hour, address{old, db.Micros(tx.Now())})
	if err != nil {
		return err
	}
	return mail.Queue(ctx, tx, ring, mail.Mail{To: old, Language: u.Language, User: u.ID, Org: u.Org, Template: mail.EmailChanged,
		Values: map[string]string{"username": u.Username, "email": u.Email, "link": LinkOf(server, u, "email/undo", token),
			"hours": strconv.Itoa(undoHours)}})
}

// UndoEmail gives an account the address back that the link was mailed to, and
// ends its sessions, tokens and other links: somebody else may have changed it.
// Links of changes before that one stay good.
func UndoEmail(ctx context.Context, tx *db.Tx, from access.Caller, token string) (User, error) {
	u, data, err := UseLink(ctx, tx, ForEmailUndo, token)
	if err != nil {
		return User{}, err
	}
	var a address
	if err := json.Unmarshal(data, &a); err != nil {
		return User{}, fmt.Errorf("reading the old address of account %s: %w", u.ID, err)
	}
	_, err = tx.Exec(ctx, "DELETE FROM one_time_secrets WHERE user_id = $1 AND purpose = $2 AND created_at > $3", u.ID, ForEmailUndo, a.At)
	if err != nil {
		return User{}, fmt.Errorf("undoing a change of account %s: %w", u.ID, err)
	}
	if err := endAll(ctx, tx, u.ID, ""); err != nil {
		return User{}, err
	}
	if err := endBegun(ctx, tx, u.ID); err != nil {
		return User{}, err
	}
	if err := EndSecrets(ctx, tx, u.ID, ForEmail); err != nil {
		return User{}, err
	}
	old := u.Email
	u.Email = a.Email
	return u, changeEmail(ctx, tx, u.Caller(from), u, old)
}
