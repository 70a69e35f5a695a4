package accounts

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/server/db"
)

// Seat is what an account takes of its licence.
type Seat string

// The seats.
const (
	NoSeat        Seat = ""
	ActiveSeat    Seat = "active"    // from the first device on
	PreservedSeat Seat = "preserved" // of a preserved account
)

// TakeSeat gives u an active seat of its licence; devices.Activate calls it
// with the first device. E1301 says that there is none.
func TakeSeat(ctx context.Context, tx *db.Tx, u User) error {
	if u.Seat == ActiveSeat {
		return nil
	}
	return setSeat(ctx, tx, u.ID, ActiveSeat, NoSeat)
}

// FreeSeat gives back what an account takes of its licence, since its last
// device is gone. The account stays as it is.
func FreeSeat(ctx context.Context, tx *db.Tx, id ID) error {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	seat := u.Seat
	if seat == ActiveSeat {
		seat = NoSeat
	}
	return setSeat(ctx, tx, id, seat, NoSeat)
}

func setSeat(ctx context.Context, tx *db.Tx, id ID, seat, before Seat) error {
	_, err := tx.Exec(ctx, "UPDATE users SET seat = $2, seat_before = $3, updated_at = $4 WHERE id = $1", id, seat, before, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("changing the seat of account %s: %w", id, err)
	}
	return nil
}

// Seats is how many seats of a licence are taken.
func Seats(ctx context.Context, tx *db.Tx, licence string) (active, preserved int, err error) {
	err = tx.QueryRow(ctx, `SELECT COALESCE(sum(CASE WHEN seat = 'active' THEN 1 ELSE 0 END), 0),
		COALESCE(sum(CASE WHEN seat = 'preserved' THEN 1 ELSE 0 END), 0) FROM users WHERE licence = $1 AND seat <> ''`, licence).
		Scan(&active, &preserved)
	if err != nil {
		return 0, 0, fmt.Errorf("counting the seats of licence %s: %w", licence, err)
	}
	return active, preserved, nil
}

// moveSeat is what the step to a state does to the seat. A disabled account
// keeps it, so that activating it cannot fail. One that leaves the active seat
// remembers it, and needs a free one to come back.
func moveSeat(ctx context.Context, tx *db.Tx, u *User, to State) error {
	if u.Seat == ActiveSeat && (to == Preserved || to == Deleted) {
		u.SeatBefore = ActiveSeat
	}
	switch {
	case to == Preserved:
		u.Seat = PreservedSeat
	case to == Deleted || to == Purged:
		u.Seat = NoSeat
	case u.Seat == ActiveSeat || u.SeatBefore == ActiveSeat:
		u.Seat, u.SeatBefore = ActiveSeat, NoSeat
	default:
		u.Seat = NoSeat
	}
	return nil
}
