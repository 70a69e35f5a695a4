// Package signin is how people come in: by a password, with a second factor
// where they have one, by registering, or by a link that was mailed to those
// who forgot. It decides what is told to whom: before somebody has shown the
// right secret they learn nothing about any account, not even by how long an
// answer takes, and the audit learns the true reason.
package signin

import (
	"context"
	"log/slog"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/passwords"
)

// Gate lets people in. A server has one.
type Gate struct {
	DB      *db.DB
	Hasher  *passwords.Hasher
	Keys    *keys.Ring
	Factors *factors.Factors
	Log     *slog.Logger // slog.Default() when nil

	// URL is the server's public address, from its configuration, for links in
	// mails: never what a request calls it.
	URL func() string
	// Console is the address that administrators have instead, when theirs is
	// another one.
	Console func() string

	// PadTo is how long a failed login with an address takes at least, so that
	// its time does not tell how many accounts the address has: 1.5 seconds
	// when 0.
	PadTo time.Duration

	queue queue
}

// Address is where accounts of a kind reach this server.
func (g *Gate) Address(kind access.Kind) string {
	if kind == access.AdminKind && g.Console != nil {
		return g.Console()
	}
	return g.URL()
}

func (g *Gate) log() *slog.Logger {
	if g.Log == nil {
		return slog.Default()
	}
	return g.Log
}

func (g *Gate) find(ctx context.Context, id accounts.ID) (u accounts.User, err error) {
	err = g.DB.Read(ctx, func(tx *db.Tx) (err error) {
		u, err = accounts.Find(ctx, tx, id)
		return err
	})
	return u, err
}
