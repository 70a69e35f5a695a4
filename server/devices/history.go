package devices

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/wire"
)

// Identity is a computer that a device is, or was before.
type Identity struct {
	Name     string
	Hardware wire.Hardware
	System   bool
	Key      string // tells its signing key from others
	Serial   uint64 // of its certificate
	From     time.Time
	To       time.Time // zero for the one that the device is
	Why      string    // what ended it: replaced, reactivated, undone
	By       string    // who did that, as people know them
	Undone   bool      // what replaced it was taken back
	LockedAt time.Time // of one that was replaced while it was locked, and is to this day; zero: it is not
	SeenAt   time.Time // when it last wanted to be the device again; zero: never
	SeenIP   string
}

// Identities are the computers that a device is and was, the newest first.
func Identities(ctx context.Context, tx *db.Tx, by access.Caller, id ID) ([]Identity, error) {
	d, err := View(ctx, tx, by, id)
	if err != nil {
		return nil, err
	}
	before, err := identities(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	list := []Identity{{Name: d.Name, Hardware: d.Hardware, System: d.System, Key: keyName(d.SigningKey), Serial: d.CertSerial, From: d.ActivatedAt}}
	for _, i := range before {
		x := Identity{Name: i.name, Hardware: i.hardware, System: i.system, Key: keyName(i.signingKey), Serial: i.certSerial,
			From: i.activated, To: i.ended, Why: i.why, By: i.by, Undone: i.undone}
		if i.shutOut() {
			x.LockedAt, x.SeenAt, x.SeenIP = i.locked, i.seen, i.seenIP
		}
		list = append(list, x)
	}
	return list, nil
}

// keyName is enough of a key's SHA-256 to tell it from another one's.
func keyName(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// Beside are the live devices of an organisation that are on the same computer:
// of its other users, each of whom has one of their own, and of the system.
func Beside(ctx context.Context, tx *db.Tx, by access.Caller, d Device) ([]Listed, error) {
	f := Filter{Org: d.Org, User: d.User}
	if by.Kind != access.UserKind {
		f.User = ""
	}
	if err := f.see(by); err != nil {
		return nil, err
	}
	where, args := f.where()
	var same []string
	for _, x := range []struct{ column, id string }{{"machine_id", d.Hardware.MachineID}, {"serial", d.Hardware.Serial}} {
		if Telling(x.id) {
			args = append(args, x.id)
			same = append(same, fmt.Sprintf("d.%s = $%d", x.column, len(args)))
		}
	}
	if len(same) == 0 {
		return nil, nil
	}
	args = append(args, d.ID)
	list, err := db.All(ctx, tx, scanListed, listedColumns+joined+where+" AND ("+strings.Join(same, " OR ")+
		fmt.Sprintf(") AND d.id <> $%d ORDER BY d.name_key, d.id LIMIT 50", len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("looking for devices beside %s: %w", d.ID, err)
	}
	return list, nil
}

// Succession is the device whose place d takes with its first complete backup,
// and the one that takes, or took, d's place; nil for none.
func Succession(ctx context.Context, tx *db.Tx, by access.Caller, d Device) (before, after *Device, err error) {
	find := func(where string, id any) (*Device, error) {
		o, err := findWhere(ctx, tx, "d.user_id = $1 AND "+where, d.User, id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		return &o, err
	}
	if err := audit.See(by, access.ViewDevices, d.Org, d.User, object(d.ID)); err != nil {
		return nil, nil, err
	}
	if d.Replaces != "" {
		before, err = find("d.id = $2", d.Replaces)
	}
	if err == nil && d.Successor != "" {
		after, err = find("d.id = $2", d.Successor)
	} else if err == nil {
		after, err = find("d.replaces = $2 AND "+live, d.ID)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("looking who takes the place of device %s: %w", d.ID, err)
	}
	return before, after, nil
}
