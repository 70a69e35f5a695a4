package signin

import (
	"context"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
)

// Chosen is the end of a Login that left a Choice: id is one of its users, and
// the screen has made sure that the browser is the one that knew the password.
// Since then the account may have been stopped.
func (g *Gate) Chosen(ctx context.Context, from access.Caller, portal accounts.Portal, id accounts.ID) (accounts.User, error) {
	u, err := g.find(ctx, id)
	if err != nil {
		return accounts.User{}, err
	}
	known := []accounts.User{u}
	if _, err := choose(portal, known); err != nil {
		return accounts.User{}, g.refused(ctx, from, portal, known, known, err)
	}
	err = g.DB.Write(ctx, func(tx *db.Tx) error { return accounts.NoteLogin(ctx, tx, from, u, portal) })
	if err != nil {
		return accounts.User{}, err
	}
	return u, nil
}
