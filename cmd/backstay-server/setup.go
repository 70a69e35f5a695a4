package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/wire"
)

// accounts makes the organisation, the administrator and the user once. The
// passwords are written down before they are of use, so that a crash between
// leaves nobody locked out.
func (q *quickstart) accounts(ctx context.Context, cfg server.Config) error {
	c := &q.credentials
	if c.UserPassword == "" {
		c.User, c.UserPassword = "user", passwords.Readable()
		c.Administrator, c.AdministratorPassword = "administrator", passwords.Readable()
	}
	chain, err := server.Chain(cfg)
	if err != nil {
		return err
	}
	c.Portal, c.Console = q.url+"/", q.url+"/admin/"
	c.CAFingerprint = wire.Fingerprint(chain[0])
	c.DeviceState = filepath.Join(q.data, "device")
	if err := c.write(q.data); err != nil {
		return err
	}
	return q.makeAccounts(ctx)
}

// makeAccounts makes what the credentials name, where it is not there yet.
func (q *quickstart) makeAccounts(ctx context.Context) error {
	by := access.System("backstay-server quickstart")
	org, _, err := q.server.EnsureOrg(ctx, by, "Quickstart")
	if err != nil {
		return err
	}
	if err := q.leaveOut(ctx, by, org.ID); err != nil {
		return err
	}
	c := q.credentials
	_, err = q.server.EnsureAccount(ctx, by, accounts.New{Org: org.ID, Kind: access.AdminKind, Role: access.ServerAdmin,
		Username: c.Administrator}, c.AdministratorPassword)
	if err != nil {
		return err
	}
	_, err = q.server.EnsureAccount(ctx, by, accounts.New{Org: org.ID, Kind: access.UserKind, Username: c.User}, c.UserPassword)
	return err
}

// leaveOut keeps a backup of, say, the home folder from swallowing the vault
// that it is being written to.
func (q *quickstart) leaveOut(ctx context.Context, by access.Caller, org access.OrgID) error {
	return q.server.DB.Write(ctx, func(tx *db.Tx) error {
		p, err := profiles.Default(ctx, tx, org)
		if err != nil {
			return err
		}
		pattern := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(filepath.ToSlash(q.data))
		if slices.Contains(p.Settings.Exclude, pattern) {
			return nil
		}
		p.Settings.Exclude = append(p.Settings.Exclude, pattern)
		_, err = profiles.Save(ctx, tx, by, p.ID, p.Revision, profiles.Changes{Settings: &p.Settings})
		return err
	})
}

// stored is how many bytes the vault's packs hold.
func (q *quickstart) stored(ctx context.Context) (n int64, err error) {
	err = q.server.DB.Read(ctx, func(tx *db.Tx) error {
		var stats vault.Stats
		stats, err = q.server.Vault.Stats(ctx, tx)
		n = stats.StoredBytes
		return err
	})
	return n, err
}
