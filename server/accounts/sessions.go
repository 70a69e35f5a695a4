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
	"github.com/backstay/backstay/server/settings"
)

// limits are how long a session of a portal lasts without and with use.
func limits(s settings.SignIn, p Portal) (idle, absolute time.Duration) {
	if p == ToConsole {
		return time.Duration(s.AdminIdleMinutes) * time.Minute, time.Duration(s.AdminAbsoluteMinutes) * time.Minute
	}
	return time.Duration(s.UserIdleMinutes) * time.Minute, time.Duration(s.UserAbsoluteMinutes) * time.Minute
}

// touchEvery bounds the writes that following a session costs.
const touchEvery = time.Minute

const maxUserAgent = 200

// Stage is what a session may do yet.
type Stage string

// The stages. A session in one of them but the first is good for ending that
// stage, and for logging out.
const (
	StageDone     Stage = ""         // everything
	StagePassword Stage = "password" // set a new password
	StageFactor   Stage = "factor"   // give the second factor
	StageEnrol    Stage = "enrol"    // set a second factor up
)

// Session is somebody logged in to the portal or the console.
type Session struct {
	ID         string
	User       ID
	Portal     Portal
	IP         string
	UserAgent  string
	CreatedAt  time.Time
	LastSeenAt time.Time
	ExpiresAt  time.Time // whatever happens; earlier when nothing does

	Stage  Stage
	AuthAt time.Time // when its owner last proved who they are
	Factor string    // the strongest proof given: password, totp, recovery, passkey
}

// NewSession is what StartSession needs to know.
type NewSession struct {
	Portal    Portal
	UserAgent string
	Stage     Stage
	Factor    string // password when empty

	// Old is the token that the browser brought along, or "": its session
	// ends, so that nobody can have planted it.
	Old string
}

// StartSession begins a session for an account that was let in, and returns
// its token, of which only the hash is kept.
func StartSession(ctx context.Context, tx *db.Tx, by access.Caller, u User, n NewSession) (string, Session, error) {
	if n.Portal != ToPortal && n.Portal != ToConsole || u.Kind != n.Portal.Kind() {
		return "", Session{}, fmt.Errorf("starting a session: no %s in %s", u.Kind, n.Portal)
	}
	set, err := settings.Load(ctx, tx)
	if err != nil {
		return "", Session{}, err
	}
	_, absolute := limits(set.SignIn, n.Portal)
	if hash, ok := HashToken("", n.Old); ok {
		if _, err := tx.Exec(ctx, "DELETE FROM login_sessions WHERE token = $1", hash); err != nil {
			return "", Session{}, fmt.Errorf("ending the session of before: %w", err)
		}
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", Session{}, fmt.Errorf("starting a session: %w", err)
	}
	if n.Factor == "" {
		n.Factor = "password"
	}
	token, hash := NewToken("")
	s := Session{ID: id.String(), User: u.ID, Portal: n.Portal, IP: by.IP, UserAgent: shorten(n.UserAgent, maxUserAgent),
		CreatedAt: tx.Now(), LastSeenAt: tx.Now(), ExpiresAt: tx.Now().Add(absolute),
		Stage: n.Stage, AuthAt: tx.Now(), Factor: n.Factor}
	_, err = tx.Exec(ctx, `INSERT INTO login_sessions (id, token, user_id, portal, ip, user_agent, created_at, last_seen_at, expires_at, stage, auth_at, factor)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		s.ID, hash, s.User, s.Portal, s.IP, s.UserAgent, db.Micros(s.CreatedAt), db.Micros(s.LastSeenAt), db.Micros(s.ExpiresAt),
		s.Stage, db.Micros(s.AuthAt), s.Factor)
	if err != nil {
		return "", Session{}, fmt.Errorf("starting a session: %w", err)
	}
	return token, s, nil
}

// Advance moves a session from the stage it is in to another because its owner
// proved, by factor, who they are, and gives it another token: the one before is
// worth nothing.
func Advance(ctx context.Context, tx *db.Tx, s Session, to Stage, factor string) (string, Session, error) {
	token, hash := NewToken("")
	now := db.Micros(tx.Now())
	n, err := tx.Changed(ctx, `UPDATE login_sessions SET token = $2, stage = $3, auth_at = $4, factor = $5, last_seen_at = $4
		WHERE id = $1 AND user_id = $6 AND stage = $7 AND expires_at > $4`, s.ID, hash, to, now, factor, s.User, s.Stage)
	if err != nil {
		return "", Session{}, fmt.Errorf("moving session %s on: %w", s.ID, err)
	}
	if n == 0 {
		return "", Session{}, errs.New(errs.Unauthenticated, "login.session.ended")
	}
	s.Stage, s.AuthAt, s.LastSeenAt, s.Factor = to, tx.Now(), tx.Now(), factor
	return token, s, nil
}

// shorten cuts what a browser says of itself to n bytes of text that both
// databases keep.
func shorten(s string, n int) string {
	s = strings.ToValidUTF8(s[:min(len(s), n)], "")
	if !printable(s) {
		return ""
	}
	return s
}

const sessionColumns = "s.id, s.user_id, s.portal, s.ip, s.user_agent, s.created_at, s.last_seen_at, s.expires_at, s.stage, s.auth_at, s.factor"

func scanSession(row db.Row) (s Session, err error) {
	var created, seen, expires, auth int64
	err = row.Scan(&s.ID, &s.User, &s.Portal, &s.IP, &s.UserAgent, &created, &seen, &expires, &s.Stage, &auth, &s.Factor)
	s.CreatedAt, s.LastSeenAt, s.ExpiresAt, s.AuthAt = db.Time(created), db.Time(seen), db.Time(expires), db.Time(auth)
	return s, err
}

// FindSession returns the session that token belongs to and its account, and
// notes that it was used, at most once a minute. A session that is over, in a
// stage, of the other portal, or of an account that may not log in any more, is
// Unauthenticated.
func FindSession(ctx context.Context, d *db.DB, portal Portal, token string) (Session, User, error) {
	s, u, err := FindStaged(ctx, d, portal, token)
	if err == nil && s.Stage != StageDone {
		return Session{}, User{}, errs.New(errs.Unauthenticated, "login.session.staged")
	}
	return s, u, err
}

// FindStaged is FindSession for the pages by which stages end: its session may
// be in one, and is good for nothing else then.
func FindStaged(ctx context.Context, d *db.DB, portal Portal, token string) (Session, User, error) {
	ended := errs.New(errs.Unauthenticated, "login.session.ended")
	hash, ok := HashToken("", token)
	if !ok {
		return Session{}, User{}, ended
	}
	var s Session
	var u User
	var set settings.Settings
	var now time.Time
	err := d.Read(ctx, func(tx *db.Tx) (err error) {
		now = tx.Now()
		s, err = scanSession(tx.QueryRow(ctx, "SELECT "+sessionColumns+" FROM login_sessions s WHERE s.token = $1 AND s.portal = $2", hash, portal))
		if errors.Is(err, sql.ErrNoRows) {
			return ended
		}
		if err != nil {
			return fmt.Errorf("looking for a session: %w", err)
		}
		if u, err = Find(ctx, tx, s.User); err != nil {
			return err
		}
		set, err = settings.Load(ctx, tx)
		return err
	})
	if err != nil {
		return Session{}, User{}, err
	}
	idle, absolute := limits(set.SignIn, portal)
	unused := now.Sub(s.LastSeenAt)
	if !s.live(now, idle, absolute) || !u.mayHold(s) || u.Kind != portal.Kind() {
		return Session{}, User{}, ended
	}
	if unused < touchEvery {
		return s, u, nil
	}
	err = d.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE login_sessions SET last_seen_at = $2 WHERE id = $1", s.ID, db.Micros(tx.Now()))
		return err
	})
	if err != nil {
		return Session{}, User{}, fmt.Errorf("following a session: %w", err)
	}
	return s, u, nil
}

// mayHold reports whether an account in its state can have a session: an
// invited one came in by a temporary secret, and sets a password first.
func (u User) mayHold(s Session) bool {
	return u.State == Active || u.State == Invited && s.Stage != StageDone
}

// Sessions returns an account's sessions, the latest first, to itself and to
// administrators.
func Sessions(ctx context.Context, tx *db.Tx, by access.Caller, id ID) ([]Session, error) {
	u, err := View(ctx, tx, by, id)
	if err != nil {
		return nil, err
	}
	set, err := settings.Load(ctx, tx)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, "SELECT "+sessionColumns+" FROM login_sessions s WHERE s.user_id = $1 AND s.expires_at > $2 ORDER BY s.last_seen_at DESC, s.id",
		id, db.Micros(tx.Now()))
	if err != nil {
		return nil, fmt.Errorf("listing sessions: %w", err)
	}
	defer rows.Close()
	var list []Session
	for rows.Next() {
		s, err := scanSession(rows)
		if err != nil {
			return nil, fmt.Errorf("listing sessions: %w", err)
		}
		idle, absolute := limits(set.SignIn, s.Portal)
		if s.live(tx.Now(), idle, absolute) && u.mayHold(s) {
			list = append(list, s)
		}
	}
	return list, rows.Err()
}

// live reports whether a session is neither over nor has it been idle too long.
func (s Session) live(now time.Time, idle, absolute time.Duration) bool {
	return now.Before(s.ExpiresAt) && now.Before(s.CreatedAt.Add(absolute)) && now.Sub(s.LastSeenAt) < idle
}

// EndSession logs a session out: its owner's doing, or an administrator's.
func EndSession(ctx context.Context, tx *db.Tx, by access.Caller, session string) error {
	s, err := scanSession(tx.QueryRow(ctx, "SELECT "+sessionColumns+" FROM login_sessions s WHERE s.id = $1", session))
	if errors.Is(err, sql.ErrNoRows) {
		return nil // it is over, which is what was asked for
	}
	if err != nil {
		return fmt.Errorf("looking for session %s: %w", session, err)
	}
	u, err := Find(ctx, tx, s.User)
	if err != nil {
		return err
	}
	if by.User == u.ID {
		err = audit.Check(ctx, tx, by, access.Logout, u.Org, u.ID, "session/"+s.ID)
	} else {
		err = manage(ctx, tx, by, u, audit.Note("session", s.ID))
	}
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "DELETE FROM login_sessions WHERE id = $1", s.ID); err != nil {
		return fmt.Errorf("ending session %s: %w", session, err)
	}
	return nil
}

// endAll ends an account's sessions but one, and its user tokens.
func endAll(ctx context.Context, tx *db.Tx, id ID, keep string) error {
	if _, err := tx.Exec(ctx, "DELETE FROM login_sessions WHERE user_id = $1 AND id <> $2", id, keep); err != nil {
		return fmt.Errorf("ending the sessions of account %s: %w", id, err)
	}
	if _, err := tx.Exec(ctx, "DELETE FROM user_tokens WHERE user_id = $1", id); err != nil {
		return fmt.Errorf("ending the tokens of account %s: %w", id, err)
	}
	return nil
}

// endBegun ends the activations that somebody began by signing in and that came
// to nothing yet: who has another password now did not mean them.
func endBegun(ctx context.Context, tx *db.Tx, id ID) error {
	_, err := tx.Exec(ctx, "DELETE FROM activations WHERE user_id = $1 AND proof IN ('password', 'sso') AND device = ''", id)
	if err != nil {
		return fmt.Errorf("ending the activations of account %s: %w", id, err)
	}
	return nil
}
