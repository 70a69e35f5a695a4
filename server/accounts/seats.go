package accounts

import (
	"context"
	"fmt"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/settings"
)

// Seat is what an account takes of its licence.
type Seat string

// The seats.
const (
	NoSeat        Seat = ""
	ActiveSeat    Seat = "active"    // from the first device on
	PreservedSeat Seat = "preserved" // of a preserved account
)

// TakeSeat gives an account an active seat of its licence; devices.Activate
// calls it with the first device. Who has no licence gets the one of the
// organisation that has room. E1301 says that there is no seat.
func TakeSeat(ctx context.Context, tx *db.Tx, ring *keys.Ring, id ID) error {
	u, err := Find(ctx, tx, id)
	if err != nil || u.Seat == ActiveSeat {
		return err
	}
	s, err := settings.Load(ctx, tx)
	if err != nil {
		return err
	}
	if err := takeSeat(ctx, tx, ring, &u, s); err != nil {
		return err
	}
	if err := writeSeat(ctx, tx, u); err != nil {
		return err
	}
	return recount(ctx, tx, u.Licence)
}

// AskSeat reports, as TakeSeat would, that an account can have no seat.
func AskSeat(ctx context.Context, tx *db.Tx, ring *keys.Ring, id ID) error {
	u, err := Find(ctx, tx, id)
	if err != nil || u.Seat == ActiveSeat {
		return err
	}
	s, err := settings.Load(ctx, tx)
	if err != nil {
		return err
	}
	return takeSeat(ctx, tx, ring, &u, s)
}

// takeSeat asks for the seat. Who calls it writes u and counts again.
func takeSeat(ctx context.Context, tx *db.Tx, ring *keys.Ring, u *User, s settings.Settings) error {
	grace := time.Duration(s.Licences.GraceDays) * 24 * time.Hour
	if u.Licence == "" {
		id, err := orgs.Choose(ctx, tx, ring, u.Org, grace)
		if err != nil {
			return err
		}
		u.Licence = string(id)
	} else if err := orgs.AskSeat(ctx, tx, ring, orgs.LicenceID(u.Licence), grace); err != nil {
		return err
	}
	u.Seat, u.SeatBefore = ActiveSeat, NoSeat
	return nil
}

// reserveSeat takes the seat of a user who is being made, where an invitation
// takes one.
func reserveSeat(ctx context.Context, tx *db.Tx, ring *keys.Ring, u *User) error {
	if u.Kind != access.UserKind || u.State == Active {
		return nil
	}
	s, err := settings.Load(ctx, tx)
	if err != nil || !s.Licences.ReserveOnInvite {
		return err
	}
	return takeSeat(ctx, tx, ring, u, s)
}

// FreeSeat gives back the active seat of an account, since its last device is
// gone. The account stays as it is; a preserved one keeps its other seat and
// comes back without.
func FreeSeat(ctx context.Context, tx *db.Tx, id ID) error {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	if u.Seat == ActiveSeat {
		u.Seat = NoSeat
	}
	u.SeatBefore = NoSeat
	if err := writeSeat(ctx, tx, u); err != nil {
		return err
	}
	return recount(ctx, tx, u.Licence)
}

// ReturnSeat gives an account the active seat again that FreeSeat took, since a
// device came back. A preserved one notes that it needs one to be active.
func ReturnSeat(ctx context.Context, tx *db.Tx, id ID) error {
	u, err := Find(ctx, tx, id)
	if err != nil || u.Seat == ActiveSeat {
		return err
	}
	if u.State == Preserved {
		u.SeatBefore = ActiveSeat
		return writeSeat(ctx, tx, u)
	}
	if err := orgs.AskReturn(ctx, tx, orgs.LicenceID(u.Licence)); err != nil {
		return err
	}
	u.Seat, u.SeatBefore = ActiveSeat, NoSeat
	if err := writeSeat(ctx, tx, u); err != nil {
		return err
	}
	return recount(ctx, tx, u.Licence)
}

func writeSeat(ctx context.Context, tx *db.Tx, u User) error {
	_, err := tx.Exec(ctx, "UPDATE users SET licence = $2, seat = $3, seat_before = $4, updated_at = $5 WHERE id = $1",
		u.ID, db.Null(u.Licence), u.Seat, u.SeatBefore, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("changing the seat of account %s: %w", u.ID, err)
	}
	return nil
}

// recount lets a licence note whether its seats suffice, after what is taken of
// it has changed.
func recount(ctx context.Context, tx *db.Tx, licence string) error {
	if licence == "" {
		return nil
	}
	return orgs.Recount(ctx, tx, orgs.LicenceID(licence))
}

// moveSeat is what the step to a state does to the seat; who calls it writes u
// and counts again. A disabled account keeps its seat, so that activating it
// cannot fail. One that leaves an active seat remembers it, and needs a free one
// to come back. Without a seat of its licence the step is E1301.
func moveSeat(ctx context.Context, tx *db.Tx, u *User, to State) error {
	licence := orgs.LicenceID(u.Licence)
	if u.Seat == ActiveSeat && (to == Preserved || to == Deleted) {
		u.SeatBefore = ActiveSeat
	}
	switch {
	case to == Preserved:
		if err := orgs.AskPreserved(ctx, tx, licence); err != nil {
			return err
		}
		u.Seat = PreservedSeat
	case to == Deleted || to == Purged:
		u.Seat = NoSeat
	case u.Seat == ActiveSeat:
	case u.SeatBefore == ActiveSeat:
		if err := orgs.AskReturn(ctx, tx, licence); err != nil {
			return err
		}
		u.Seat, u.SeatBefore = ActiveSeat, NoSeat
	default:
		u.Seat = NoSeat
	}
	return nil
}

// SetLicence moves a user to another licence of their organisation, "" for
// none. A seat that the user takes must be free there: E1301.
func SetLicence(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, id ID, licence string) error {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	if u.Licence == licence {
		return nil
	}
	if err := manage(ctx, tx, by, u, audit.Change("licence", u.Licence, licence)); err != nil {
		return err
	}
	if err := checkLicence(ctx, tx, ring, u, licence); err != nil {
		return err
	}
	switch u.Seat {
	case ActiveSeat:
		err = orgs.AskReturn(ctx, tx, orgs.LicenceID(licence))
	case PreservedSeat:
		err = orgs.AskPreserved(ctx, tx, orgs.LicenceID(licence))
	}
	if err != nil {
		return err
	}
	before := u.Licence
	u.Licence = licence
	if err := writeSeat(ctx, tx, u); err != nil {
		return err
	}
	if err := recount(ctx, tx, before); err != nil {
		return err
	}
	return recount(ctx, tx, licence)
}

// checkLicence refuses a licence that is not of the user's organisation, and
// one that takes nobody new.
func checkLicence(ctx context.Context, tx *db.Tx, ring *keys.Ring, u User, licence string) error {
	if licence == "" {
		return nil
	}
	l, err := orgs.FindLicence(ctx, tx, ring, orgs.LicenceID(licence))
	if err == nil && (l.Org != u.Org || u.Kind != access.UserKind) {
		err = errs.New(errs.NotFound, "licence.unknown")
	}
	if err != nil {
		return err
	}
	return l.MayJoin(tx.Now())
}
