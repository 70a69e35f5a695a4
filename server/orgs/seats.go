package orgs

import (
	"context"
	"fmt"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/settings"
)

// The rules of seats. They decide about what is new: who has a seat backs up
// and restores whatever happened to the licence.

// Why there is no seat, when it is another reason than that all are taken.
const (
	expired   = "expired"
	revoked   = "revoked"
	invalid   = "invalid"
	preserved = "preserved"
)

// Expired reports whether the licence is over.
func (l Licence) Expired(now time.Time) bool { return !l.ValidTo.IsZero() && !now.Before(l.ValidTo) }

// MayJoin says whether anybody new may be bound to the licence at all.
func (l Licence) MayJoin(now time.Time) error {
	switch {
	case l.State == LicenceInvalid:
		return errs.Of(errs.NoFreeSeat, "reason", invalid).Because(l.Fault)
	case l.State != LicenceActive:
		return errs.Of(errs.NoFreeSeat, "reason", revoked)
	case l.Expired(now):
		return errs.Of(errs.NoFreeSeat, "reason", expired, "date", l.ValidTo)
	}
	return nil
}

// MayRegister says whether somebody may come in by the serial number: one that
// no longer counts is E1302, one without a free seat or past its end E1301.
// There is no grace for those who invite themselves.
func (l Licence) MayRegister(taken int, now time.Time) error {
	if l.State != LicenceActive {
		return errs.Of(errs.BadSerial).Because(l.Fault)
	}
	return l.MayReturn(taken, now)
}

// MayReturn says whether an account that gave its seat up may have one again:
// one must be free.
func (l Licence) MayReturn(taken int, now time.Time) error {
	if err := l.MayJoin(now); err != nil {
		return err
	}
	if taken >= l.SeatsActive {
		return errs.Of(errs.NoFreeSeat)
	}
	return nil
}

// MayActivate says whether an account may take its seat, with taken ones
// besides it. More than there are may be taken during the grace, which begins
// with the first of them; then it is E1301.
func (l Licence) MayActivate(taken int, now time.Time, grace time.Duration) error {
	if err := l.MayJoin(now); err != nil {
		return err
	}
	if taken < l.SeatsActive || now.Before(l.graceEnd(now, grace)) {
		return nil
	}
	return errs.Of(errs.NoFreeSeat)
}

// graceEnd is when more seats than there are can no longer be taken, were one
// more of them taken now.
func (l Licence) graceEnd(now time.Time, grace time.Duration) time.Time {
	if l.OverSince.IsZero() {
		return now.Add(grace)
	}
	return l.OverSince.Add(grace)
}

// MayPreserve says whether one more account may be preserved.
func (l Licence) MayPreserve(taken int) error {
	if l.State != LicenceInvalid && taken >= l.SeatsPreserved {
		return errs.Of(errs.NoFreeSeat, "reason", preserved)
	}
	return nil
}

// PreservedShare is how many preserved seats come with a number of seats, when
// nobody says how many: percent of them, and at least one.
func PreservedShare(seats, percent int) int {
	if seats <= 0 || percent <= 0 {
		return 0
	}
	return (seats*percent + 99) / 100
}

// Seats is how many seats of a licence are taken.
func Seats(ctx context.Context, tx *db.Tx, id LicenceID) (active, preserved int, err error) {
	err = tx.QueryRow(ctx, `SELECT COALESCE(sum(CASE WHEN seat = 'active' THEN 1 ELSE 0 END), 0),
		COALESCE(sum(CASE WHEN seat = 'preserved' THEN 1 ELSE 0 END), 0) FROM users WHERE licence = $1 AND seat <> ''`, id).
		Scan(&active, &preserved)
	if err != nil {
		return 0, 0, fmt.Errorf("counting the seats of licence %s: %w", id, err)
	}
	return active, preserved, nil
}

// Recount notes since when more seats of a licence are taken than there are,
// and that it is over when they suffice again. It follows every change of what
// is taken, in the same transaction.
func Recount(ctx context.Context, tx *db.Tx, id LicenceID) error {
	active, _, err := Seats(ctx, tx, id)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE licences SET over_since = $2 WHERE id = $1 AND seats_active < $3 AND over_since = 0`, id, db.Micros(tx.Now()), active)
	if err == nil {
		_, err = tx.Exec(ctx, `UPDATE licences SET over_since = 0 WHERE id = $1 AND seats_active >= $2 AND over_since <> 0`, id, active)
	}
	if err != nil {
		return fmt.Errorf("counting the seats of licence %s: %w", id, err)
	}
	return nil
}

// AskSeat is MayActivate for a licence and what is taken of it now. The caller
// then takes the seat and calls Recount. Without a licence there is no limit.
func AskSeat(ctx context.Context, tx *db.Tx, ring *keys.Ring, id LicenceID, grace time.Duration) error {
	return ask(ctx, tx, ring, id, func(l Licence, active, _ int) error { return l.MayActivate(active, tx.Now(), grace) })
}

// AskReturn is MayReturn likewise, for an account that is there already. It
// sees that the row is what its document says, and leaves the signature to
// where somebody new comes in.
func AskReturn(ctx context.Context, tx *db.Tx, id LicenceID) error {
	return ask(ctx, tx, nil, id, func(l Licence, active, _ int) error { return l.MayReturn(active, tx.Now()) })
}

// AskPreserved is MayPreserve likewise.
func AskPreserved(ctx context.Context, tx *db.Tx, id LicenceID) error {
	return ask(ctx, tx, nil, id, func(l Licence, _, preserved int) error { return l.MayPreserve(preserved) })
}

func ask(ctx context.Context, tx *db.Tx, ring *keys.Ring, id LicenceID, may func(l Licence, active, preserved int) error) error {
	if id == "" {
		return nil
	}
	l, err := FindLicence(ctx, tx, ring, id)
	if err != nil {
		return err
	}
	active, preserved, err := Seats(ctx, tx, id)
	if err != nil {
		return err
	}
	return may(l, active, preserved)
}

// Choose is the licence for a user of org whom nobody gave one: the first with
// a free seat; else the first in which more may still be taken. Without any
// licence in the organisation it is none, and there are no limits. E1301 says
// why none of them will do.
func Choose(ctx context.Context, tx *db.Tx, ring *keys.Ring, org ID, grace time.Duration) (LicenceID, error) {
	list, err := licences(ctx, tx, ring, "org = $1", string(org))
	if err != nil || len(list) == 0 {
		return "", err
	}
	var grants LicenceID
	var refusal error
	for _, l := range list {
		taken, _, err := Seats(ctx, tx, l.ID)
		if err != nil {
			return "", err
		}
		if l.MayReturn(taken, tx.Now()) == nil {
			return l.ID, nil
		}
		if err := l.MayActivate(taken, tx.Now(), grace); err == nil && grants == "" {
			grants = l.ID
		} else if refusal == nil {
			refusal = err
		}
	}
	if grants != "" {
		return grants, nil
	}
	return "", refusal
}

// Standing is how a licence stands: what screens and reports show of it.
type Standing struct {
	Licence
	Taken     int       // active seats
	Preserved int       // preserved seats
	GraceEnd  time.Time // of a licence with too many seats taken; zero otherwise
	Key       string    // the message that says how it stands
	Args      []any     // for the message
	Bad       bool      // somebody should do something about it
}

// Stands says how a licence stands.
func (l Licence) Stands(taken, preserved int, now time.Time, rules settings.Licences) Standing {
	s := Standing{Licence: l, Taken: taken, Preserved: preserved, Bad: true}
	over := taken > l.SeatsActive
	if over {
		s.GraceEnd = l.graceEnd(now, days(rules.GraceDays))
	}
	say := func(key string, args ...any) Standing {
		s.Key, s.Args = key, args
		return s
	}
	switch {
	case l.State == LicenceInvalid:
		return say("licence.stands.invalid")
	case l.State == LicenceRevoked:
		return say("licence.stands.revoked")
	case l.Expired(now):
		return say("licence.stands.expired", "date", l.ValidTo)
	case over && !now.Before(s.GraceEnd):
		return say("licence.stands.stopped", "n", taken-l.SeatsActive)
	case over:
		return say("licence.stands.over", "n", taken-l.SeatsActive, "date", s.GraceEnd)
	case !l.ValidTo.IsZero() && !now.Before(l.ValidTo.Add(-days(rules.ExpiryDays))):
		return say("licence.stands.expiring", "date", l.ValidTo)
	}
	s.Bad = false
	if taken == l.SeatsActive {
		return say("licence.stands.full")
	}
	return say("licence.stands.free", "n", l.SeatsActive-taken)
}

// Overview returns the licences of an organisation and how they stand.
func Overview(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, org ID, rules settings.Licences) ([]Standing, error) {
	list, err := Licences(ctx, tx, by, ring, org)
	if err != nil {
		return nil, err
	}
	all := make([]Standing, 0, len(list))
	for _, l := range list {
		active, preserved, err := Seats(ctx, tx, l.ID)
		if err != nil {
			return nil, err
		}
		all = append(all, l.Stands(active, preserved, tx.Now(), rules))
	}
	return all, nil
}
