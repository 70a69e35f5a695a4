package signin

import (
	"context"
	"encoding/json"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
)

// Started is a session that began or moved on.
type Started struct {
	Token   string // of the session, for its cookie; the one before is worth nothing
	Known   string // of the browser, for a cookie that stays; "" to leave that as it is
	Session accounts.Session
}

// Start begins a session for an account that Login let in, in the stage that it
// has to pass first. oldToken is what the browser brought along: that session
// ends. known is its token as a known browser, and language what was chosen on
// the page of the login, "" for nothing.
func (g *Gate) Start(ctx context.Context, from access.Caller, u accounts.User, portal accounts.Portal, userAgent, oldToken, known, language string) (Started, error) {
	stage := accounts.StageDone
	if u.MustChangePassword {
		stage = accounts.StagePassword
	}
	var out Started
	err := g.DB.Write(ctx, func(tx *db.Tx) (err error) {
		out.Token, out.Session, err = accounts.StartSession(ctx, tx, caller(u, from), u, accounts.NewSession{
			Portal: portal, UserAgent: userAgent, Old: oldToken, Stage: stage})
		if err != nil || language == "" || stage != accounts.StageDone {
			return err
		}
		return accounts.SetLanguage(ctx, tx, caller(u, from), language)
	})
	return out, err
}

// Prove checks a code of the second factor, of an app or for recovery: it ends
// StageFactor, and refreshes the proof of a session that is past it.
func (g *Gate) Prove(ctx context.Context, by access.Caller, s accounts.Session, code string) (Started, error) {
	return Started{}, errs.Of(errs.ServerBusy, "n", 1)
}

// BeginPasskey asks for one of the account's passkeys: what it returns is for
// the browser's navigator.credentials.get.
func (g *Gate) BeginPasskey(ctx context.Context, by access.Caller, s accounts.Session) (json.RawMessage, error) {
	return g.Factors.BeginProof(ctx, s.User, s.ID)
}

// ProvePasskey is Prove with the browser's answer to BeginPasskey.
func (g *Gate) ProvePasskey(ctx context.Context, by access.Caller, s accounts.Session, response []byte) (Started, error) {
	return Started{}, errs.Of(errs.ServerBusy, "n", 1)
}

// Enrolled ends StageEnrol when the account has a second factor now.
func (g *Gate) Enrolled(ctx context.Context, by access.Caller, s accounts.Session) (Started, error) {
	return Started{}, errs.Of(errs.ServerBusy, "n", 1)
}

// StepUp proves again who holds a session: by the code of a second factor when
// the account has one, for which the password alone does not do; otherwise by
// the password. A passkey is asked for by BeginPasskey and ProvePasskey.
func (g *Gate) StepUp(ctx context.Context, by access.Caller, s accounts.Session, password, code string) (Started, error) {
	return Started{}, errs.Of(errs.ServerBusy, "n", 1)
}

// Fresh reports whether the session's owner has proved who they are within the
// last minutes, by the strongest that the account has. Otherwise it fails with
// login.stepup, and the screens ask for StepUp and come back.
func (g *Gate) Fresh(ctx context.Context, tx *db.Tx, s accounts.Session) error {
	return nil
}
