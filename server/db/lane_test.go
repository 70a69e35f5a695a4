package db_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
)

// many is more transactions than there are connections.
const many = 40

// busy has transactions of one kind hold all the connections that they may have
// until the test ends, and others wait.
func busy(t *testing.T, run func(context.Context, func(*db.Tx) error) error) {
	t.Helper()
	free := make(chan struct{})
	var all sync.WaitGroup
	t.Cleanup(func() { close(free); all.Wait() })
	var begun sync.WaitGroup
	begun.Add(many)
	in := make(chan struct{}, many)
	for range many {
		all.Go(func() {
			begun.Done()
			err := run(context.WithoutCancel(t.Context()), func(*db.Tx) error {
				in <- struct{}{}
				<-free
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	begun.Wait()
	<-in
}

func TestPeekDoesNotWaitForTransactions(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	put(t, d, "a", "1")
	busy(t, d.Read)
	var value string
	err := d.Peek(t.Context(), func(tx *db.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT value FROM meta WHERE name = 'a'`).Scan(&value)
	})
	if err != nil || value != "1" {
		t.Errorf("a peek beside %d transactions read %q and failed with %v", many, value, err)
	}
}

func TestWaitingForATransactionEndsWithTheContext(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	busy(t, d.Write)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := d.Write(ctx, func(*db.Tx) error { t.Error("it ran"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a write whose context has ended failed with %v", err)
	}
}
