// Package admission lets a bounded number of devices back up at once, and tells
// the others when to come again (G-06). What a backup costs the server is what
// it sends; a thousand that begin together would all be slow, and each would
// hold up the restores.
//
// The words: a device that may send has a place. One that wants to and has none
// waits in a line, and is told when to ask again; when it does so in time it has
// kept its turn. Nothing that a device says enters here but who it is, so that
// there is nothing to lie about.
//
// All of it is rows of the database: it survives a restart, and holds for all
// servers of one database together, whose disk and database are what is scarce.
// A device's place costs a write when a backup begins, one a minute while it
// sends and one at its end, and none for what it sends.
package admission

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

// Line is who may back up, and who waits for it.
type Line struct {
	db        *db.DB
	places    int
	restoring atomic.Int64
}

// New is the line of a server that takes so many devices at once, or as many as
// its processors bear when that is 0.
func New(d *db.DB, places int) *Line {
	if places == 0 {
		places = max(16*runtime.GOMAXPROCS(0), 32)
	}
	return &Line{db: d, places: places}
}

// Enter gives a device a place, or keeps the one it has. When there is none the
// failure is E1402 with the time after which the device shall ask again.
func (l *Line) Enter(ctx context.Context, by access.Caller) error {
	for {
		v, holds, err := l.ask(ctx, by)
		if err != nil {
			return fmt.Errorf("asking for a place for device %s: %w", by.Device, err)
		}
		if !holds {
			continue // another was quicker
		}
		if !v.admitted {
			return errs.Of(errs.ServerBusy, "n", up(v.delay, time.Minute), "seconds", up(v.delay, time.Second))
		}
		return nil
	}
}

// ask decides about a device, and reports whether that still holds when it is
// written down. The line may be of ten thousand, so it is read apart: nobody else
// could write meanwhile.
func (l *Line) ask(ctx context.Context, by access.Caller) (v verdict, holds bool, err error) {
	var me turn
	places := l.free()
	err = l.db.Read(ctx, func(tx *db.Tx) error {
		var others []turn
		if me, others, err = read(ctx, tx, by); err != nil {
			return err
		}
		v = decide(tx.Now(), places, me, others)
		return nil
	})
	if err != nil || v.early {
		return v, true, err
	}
	err = l.db.Write(ctx, func(tx *db.Tx) (err error) {
		holds, err = v.write(ctx, tx, me, places)
		return err
	})
	return v, holds, err
}

// up is how many of unit make d, rounded up.
func up(d, unit time.Duration) int { return int((d + unit - 1) / unit) }

// Leave gives back the place of a device whose backup has ended, or its turn when
// it waits no longer.
func (l *Line) Leave(ctx context.Context, device access.DeviceID) error {
	err := l.db.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM turns WHERE device = $1`, string(device))
		return err
	})
	if err != nil {
		return fmt.Errorf("giving back the place of device %s: %w", device, err)
	}
	return nil
}

// Restoring notes that somebody gets files back from this server until done is
// called: as many fewer backups begin here. Restores themselves never wait.
func (l *Line) Restoring() (done func()) {
	l.restoring.Add(1)
	return func() { l.restoring.Add(-1) }
}

// free is how many places there are beside the restores. One is always left, so
// that nobody stops all backups by restoring for ever.
func (l *Line) free() int { return max(l.places-int(l.restoring.Load()), 1) }
