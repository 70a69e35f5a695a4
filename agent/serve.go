package agent

import (
	"context"
	"errors"
	"log/slog"

	"github.com/backstay/backstay/agent/state"
)

// Serve runs the agent of a state folder, which it locks, until ctx ends: to be
// told to stop is how an agent ends well.
func Serve(ctx context.Context, st *state.State, log *slog.Logger) error {
	if _, err := st.Device(); err != nil {
		return err
	}
	if err := st.Lock(); err != nil {
		return err
	}
	defer st.Unlock()
	a, err := New(Config{State: st, Log: log})
	if err != nil {
		return err
	}
	defer a.Client().Close()
	err = a.Run(ctx)
	if ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, context.Canceled)) {
		return nil
	}
	return err
}
