package server

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
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

// expire ends sessions, tokens, challenges and unfinished backups that are
// over, each kind in a transaction of its own.
func (s *Server) expire(ctx context.Context) error {
	var gone int64
	for _, kind := range []func(context.Context, *db.Tx) (int64, error){accounts.Expire, devices.Expire, vault.Expire} {
		err := s.DB.Write(ctx, func(tx *db.Tx) error {
			n, err := kind(ctx, tx)
			gone += n
			return err
		})
		if err != nil {
			return err
		}
	}
	s.cfg.Log.Debug("cleaned up", "rows", gone)
	return nil
}
