package signin

import (
	"context"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// Fix is what an administrator can do with one click about a line of an
// Explanation.
type Fix string

// The fixes.
const (
	NoFix           Fix = ""
	FixActivate     Fix = "activate"       // Activate the account
	FixUnlock       Fix = "unlock"         // Gate.Unlock
	FixInvite       Fix = "invite"         // accounts.Invite: another link or temporary secret
	FixReset        Fix = "reset"          // Gate.SendReset: mail a link for a new password
	FixWebRestore   Fix = "web_restore"    // turn "Allow restore from web browser" on, for Affects users
	FixSecondFactor Fix = "second_factors" // factors.Reset
	FixLicence      Fix = "licence"        // look at the licence
)

// Line is one line of the checklist.
type Line struct {
	Name string // state, lock, password, factor, web, seat, licence: stable, for tests
	OK   bool
	Key  string // of the sentence
	Args []any  // its values
	Fix  Fix
}

// Explanation says why an account can or cannot sign in (B-03).
type Explanation struct {
	Lines    []Line
	Attempts []audit.Row // the last ten, with their true reasons in the detail "reason"
	URL      string      // the address to send
}

// OK reports whether nothing stands in the way.
func (e Explanation) OK() bool {
	for _, l := range e.Lines {
		if !l.OK {
			return false
		}
	}
	return true
}

// Explain goes through what an account needs to sign in.
func (g *Gate) Explain(ctx context.Context, tx *db.Tx, by access.Caller, id accounts.ID) (Explanation, error) {
	_, err := accounts.View(ctx, tx, by, id)
	return Explanation{}, err
}
