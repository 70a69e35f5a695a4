// Package tokens knows the tokens by which programs use the API. An administrator
// makes one for some scopes, and a program that shows it acts in that
// administrator's place: within the scopes, in the organisation, and never beyond
// what the administrator may do at that moment. One whose account is disabled, or
// who lost a right, leaves no program behind that still has it.
package tokens

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
)

// Prefix begins every token: bsa1.ID.SECRET. What looks for secrets that leaked
// can look for it.
const Prefix = "bsa1."

// The bounds of a token's life. None is without end: programs are forgotten.
const (
	MinLife     = time.Hour
	MaxLife     = 365 * 24 * time.Hour
	DefaultLife = 90 * 24 * time.Hour
)

const (
	idSize  = 6
	maxName = 100
)

// Token is a token, without its secret.
type Token struct {
	ID         string // stands in the token
	Org        orgs.ID
	Name       string
	Scopes     access.Scopes
	Maker      accounts.ID
	MakerName  string // the username
	CreatedAt  time.Time
	ExpiresAt  time.Time
	RevokedAt  time.Time
	LastUsedAt time.Time
	LastIP     string

	secret []byte // SHA-256
	role   access.Role
	stands bool // the maker's account is active, and still an administrator's of the organisation
}

// State says what has become of a token.
type State string

// The states. Only an active token lets anything in.
const (
	Active  State = "active"
	Stopped State = "stopped" // who made it is no administrator any more, or not at the moment
	Expired State = "expired"
	Revoked State = "revoked"
)

// State is what has become of the token by now.
func (t Token) State(now time.Time) State {
	switch {
	case !t.RevokedAt.IsZero():
		return Revoked
	case !now.Before(t.ExpiresAt):
		return Expired
	case !t.stands:
		return Stopped
	}
	return Active
}

// Shown is what people see of a token to tell it from others.
func (t Token) Shown() string { return Prefix + t.ID + ".…" }

func (t Token) object() string { return "api-token/" + t.ID }

// caller is a program that shows the token, from where from came.
func (t Token) caller(from access.Caller) access.Caller {
	return access.Caller{Kind: access.TokenKind, User: t.Maker, Org: t.Org, Role: t.role, Token: t.ID, Scopes: t.Scopes, Name: t.Name,
		IP: from.IP, RequestID: from.RequestID}
}

// Create makes a token of the maker's organisation that lives so long. The secret
// is shown this once. The maker may do all that the scopes are for.
func Create(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, name string, scopes []string, life time.Duration) (Token, string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return Token{}, "", errs.New(errs.Invalid, "token.name.empty")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || utf8.RuneCountInString(name) > maxName:
		return Token{}, "", errs.New(errs.Invalid, "token.name.invalid", "n", maxName)
	case life < MinLife || life > MaxLife:
		return Token{}, "", errs.New(errs.Invalid, "token.life.invalid", "days", int(MaxLife/(24*time.Hour)))
	}
	t := Token{Org: org, Name: name, Scopes: access.Scopes(strings.Join(slices.Compact(slices.Sorted(slices.Values(scopes))), " ")), Maker: by.User,
		MakerName: by.Name, CreatedAt: tx.Now(), ExpiresAt: tx.Now().Add(life), role: by.Role, stands: true}
	actions, known := t.Scopes.Actions()
	if !known || len(actions) == 0 {
		return Token{}, "", errs.New(errs.Invalid, "token.scopes.none")
	}
	var id [idSize]byte
	rand.Read(id[:])
	t.ID = hex.EncodeToString(id[:])
	text, secret := accounts.NewToken(Prefix + t.ID + ".")
	t.secret = secret
	for _, a := range actions {
		if err := audit.See(by, a, org, "", t.object()); err != nil {
			return Token{}, "", err
		}
	}
	err := audit.Check(ctx, tx, by, access.ManageTokens, org, "", t.object(), audit.Change("name", nil, t.Name), audit.Note("scopes", t.Scopes), audit.Note("expires", t.ExpiresAt))
	if err != nil {
		return Token{}, "", err
	}
	if by.Kind != access.AdminKind {
		return Token{}, "", errs.New(errs.Forbidden, "access.denied").Because(&audit.Denial{Action: access.ManageTokens, Org: org, Object: t.object()})
	}
	return t, text, insert(ctx, tx, t)
}

// View returns a token to those who may manage them.
func View(ctx context.Context, tx *db.Tx, by access.Caller, id string) (Token, error) {
	t, err := find(ctx, tx, id)
	if errors.Is(err, sql.ErrNoRows) {
		return Token{}, errs.New(errs.NotFound, "token.unknown")
	}
	if err != nil {
		return Token{}, err
	}
	return t, audit.See(by, access.ManageTokens, t.Org, "", t.object())
}

// List returns an organisation's tokens, the newest first.
func List(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID) ([]Token, error) {
	if err := audit.See(by, access.ManageTokens, org, "", "api-tokens"); err != nil {
		return nil, err
	}
	list, err := db.All(ctx, tx, scan, "SELECT "+columns+" WHERE t.org = $1 ORDER BY t.created_at DESC, t.id", org)
	if err != nil {
		return nil, fmt.Errorf("listing API tokens: %w", err)
	}
	return list, nil
}

// Revoke ends a token with its next request.
func Revoke(ctx context.Context, tx *db.Tx, by access.Caller, id string) error {
	t, err := View(ctx, tx, by, id)
	if err != nil {
		return err
	}
	err = audit.Check(ctx, tx, by, access.ManageTokens, t.Org, "", t.object(), audit.Note("name", t.Name), audit.Change("state", t.State(tx.Now()), Revoked))
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at = 0", t.ID, db.Micros(tx.Now())); err != nil {
		return fmt.Errorf("revoking API token %s: %w", t.ID, err)
	}
	return nil
}

// touchEvery bounds the writes that following a token costs.
const touchEvery = time.Minute

// Verify returns the program that shows a token, as the caller that may what the
// token lets it, and notes that it was used, at most once a minute. What is no
// token is Unauthenticated; so is one that is good no more, of which the caller is
// known nevertheless, for the record.
func Verify(ctx context.Context, d *db.DB, token string, from access.Caller) (access.Caller, error) {
	id, secret, ok := parse(token)
	if !ok {
		return from, errs.New(errs.Unauthenticated, "token.wrong")
	}
	var t Token
	var now time.Time
	err := d.Peek(ctx, func(tx *db.Tx) (err error) {
		now = tx.Now()
		t, err = find(ctx, tx, id)
		return err
	})
	switch {
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return from, err
	case err != nil || subtle.ConstantTimeCompare(t.secret, secret) != 1:
		return from, errs.New(errs.Unauthenticated, "token.wrong")
	}
	by := t.caller(from)
	if state := t.State(now); state != Active {
		return by, errs.New(errs.Unauthenticated, "token."+string(state))
	}
	if now.Sub(t.LastUsedAt) < touchEvery && t.LastIP == by.IP {
		return by, nil
	}
	return by, d.Write(ctx, func(tx *db.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE api_tokens SET last_used_at = $2, last_ip = $3 WHERE id = $1", t.ID, db.Micros(tx.Now()), by.IP); err != nil {
			return fmt.Errorf("following an API token: %w", err)
		}
		return nil
	})
}

// parse takes a token apart: its id, and the hash of the whole.
func parse(token string) (id string, secret []byte, ok bool) {
	id, _, _ = strings.Cut(strings.TrimPrefix(token, Prefix), ".")
	secret, ok = accounts.HashToken(Prefix+id+".", token)
	return id, secret, ok && len(id) == hex.EncodedLen(idSize)
}
