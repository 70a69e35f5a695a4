package server

import (
	"context"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
)

// EnsureOrg returns the organisation of this name, and makes it when there is
// none, with the profile that its users get.
func (s *Server) EnsureOrg(ctx context.Context, by access.Caller, name string) (o orgs.Org, made bool, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) (err error) {
		o, err = orgs.FindByName(ctx, tx, name)
		made = errs.KindOf(err) == errs.NotFound
		if !made {
			return err
		}
		if o, err = orgs.Create(ctx, tx, by, s.Keys, name); err != nil {
			return err
		}
		_, err = profiles.Create(ctx, tx, by, o.ID, firstProfile, "", profile.Defaults())
		return err
	})
	return o, made, err
}

// firstProfile is the name of the profile that a new organisation has.
const firstProfile = "Default"

// NewAccount makes an account that can log in with password.
func (s *Server) NewAccount(ctx context.Context, by access.Caller, n accounts.New, password string) (u accounts.User, err error) {
	if n.PasswordHash, err = s.Hasher.Hash(ctx, password); err != nil {
		return u, err
	}
	err = s.DB.Write(ctx, func(tx *db.Tx) (err error) {
		u, err = accounts.Create(ctx, tx, by, s.Keys, n)
		return err
	})
	return u, err
}

// EnsureAccount returns the account of this name, and makes it when there is
// none.
func (s *Server) EnsureAccount(ctx context.Context, by access.Caller, n accounts.New, password string) (u accounts.User, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) (err error) {
		u, err = accounts.FindByUsername(ctx, tx, n.Username)
		return err
	})
	if errs.KindOf(err) == errs.NotFound {
		return s.NewAccount(ctx, by, n, password)
	}
	return u, err
}
