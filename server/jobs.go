package server

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/admission"
	"github.com/backstay/backstay/server/approvals"
	"github.com/backstay/backstay/server/console"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/resets"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/server/tokens"
	"github.com/backstay/backstay/server/vault"
)

// cleanUpEvery is how often what has expired is deleted. Nothing depends on it:
// what has expired is refused, deleted or not.
const cleanUpEvery = 5 * time.Minute

func (s *Server) cleanUp(ctx context.Context) {
	for {
		// Several servers on one database should not all come at once.
		pause := cleanUpEvery/2 + rand.N(cleanUpEvery)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if err := s.expire(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("clean-up failed", "error", err)
		}
	}
}

// remindEvery is how often somebody looks whether administrators must be told
// about a licence. They are told once a day, however many servers look.
const remindEvery = time.Hour

func (s *Server) remind(ctx context.Context) {
	wait := rand.N(time.Minute)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if err := s.remindOnce(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("looking after the licences failed", "error", err)
		}
		wait = remindEvery/2 + rand.N(remindEvery)
	}
}

// carryOutEvery is how often somebody looks for what administrators decided and
// that is still to be done.
const carryOutEvery = 2 * time.Second

func (s *Server) carryOut(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(carryOutEvery/2 + rand.N(carryOutEvery)):
		}
		if err := s.carryOutOnce(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("carrying out what was approved failed", "error", err)
		}
	}
}

func (s *Server) carryOutOnce(ctx context.Context) error {
	var due []string
	err := s.DB.Read(ctx, func(tx *db.Tx) (err error) {
		due, err = approvals.Due(ctx, tx)
		return err
	})
	for _, id := range due {
		_, failed := s.Desk.CarryOut(ctx, s.DB, id)
		err = errors.Join(err, failed)
	}
	return errors.Join(err, resets.Run(ctx, s.DB, s.Keys))
}

func (s *Server) remindOnce(ctx context.Context) error {
	var faulty []orgs.Licence
	err := s.DB.Write(ctx, func(tx *db.Tx) error {
		set, err := settings.Load(ctx, tx)
		if err == nil {
			faulty, err = orgs.Remind(ctx, tx, s.Keys, set.Licences, s.consoleURL()+console.Base+"/settings/licences")
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := devices.WarnOfQuotas(ctx, s.DB, s.Keys); err != nil {
		return err
	}
	for _, l := range faulty {
		s.cfg.Log.Error("a licence is not valid and takes no new users", "licence", string(l.ID), "org", string(l.Org), "fault", l.Fault)
	}
	return nil
}

// expire ends sessions, tokens, challenges and unfinished backups that are
// over, and goes on with accounts that end: preserved users whose time is up,
// deleted ones whose window is over, and then their devices and snapshots. Each
// takes some at a time, in transactions of their own, until none is left.
func (s *Server) expire(ctx context.Context) error {
	preserved := func(ctx context.Context, tx *db.Tx) (int64, error) { return profiles.DeletePreserved(ctx, tx, s.Keys) }
	inactive := func(ctx context.Context, tx *db.Tx) (int64, error) { return devices.Inactive(ctx, tx, s.Keys) }
	var gone int64
	for _, kind := range []func(context.Context, *db.Tx) (int64, error){accounts.Expire, factors.Expire, signin.Expire, devices.Expire, vault.Expire, admission.Expire, mail.Expire,
		deploy.Expire, tokens.Expire, s.Desk.Expire, accounts.Forget, preserved, inactive, accounts.Purge, devices.Purge, vault.Purge} {
		for {
			var n int64
			err := s.DB.Write(ctx, func(tx *db.Tx) (err error) {
				n, err = kind(ctx, tx)
				return err
			})
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			gone += n
		}
	}
	s.cfg.Log.Debug("cleaned up", "rows", gone)
	return nil
}
