package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/wire"
)

// The types of ids by which the device map knows computers, the best first. A
// host name alone proves nothing: an administrator approves such a device.
const (
	ByUUID     = "uuid"
	BySerial   = "serial-number"
	ByHostname = "hostname"
)

var idTypes = []string{ByUUID, BySerial, ByHostname}

// Mapping is a row of the device map: which computer is whose. It is deleted
// when it was used.
type Mapping struct {
	Number    int64
	Org       orgs.ID
	User      accounts.ID
	Username  string
	Private   bool   // the user keeps administrators out, and has to sign in at the computer
	Type      string // ByUUID, BySerial or ByHostname
	Value     string // folded
	OSUser    string // "" for any
	OldDevice string // the name of the device that it follows, "" for none
	Restore   string // ALL, DATA, SYSTEM, or nothing
	CreatedBy string
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
}

const mapColumns = `m.number, m.org, m.user_id, u.username, u.privacy_on, m.id_type, m.id_value, m.os_user, m.old_device, m.restore, m.created_by, m.created_at, m.expires_at`

func scanMapping(row db.Row) (m Mapping, err error) {
	var created, expires int64
	err = row.Scan(&m.Number, &m.Org, &m.User, &m.Username, &m.Private, &m.Type, &m.Value, &m.OSUser, &m.OldDevice, &m.Restore, &m.CreatedBy, &created, &expires)
	m.CreatedAt, m.ExpiresAt = db.Time(created), db.Time(expires)
	return m, err
}

// mapped are the rows that mean a computer, the best first.
func mapped(ctx context.Context, tx *db.Tx, org orgs.ID, h wire.Hardware) ([]Mapping, error) {
	name := orgs.Fold(h.Hostname)
	short, _, _ := strings.Cut(name, ".")
	list, err := db.All(ctx, tx, scanMapping, "SELECT "+mapColumns+` FROM device_map m JOIN users u ON u.id = m.user_id
		WHERE m.org = $1 AND m.id_value <> '' AND (m.expires_at = 0 OR m.expires_at > $2)
			AND (m.id_type = 'uuid' AND m.id_value = $3 OR m.id_type = 'serial-number' AND m.id_value = $4 OR m.id_type = 'hostname' AND m.id_value IN ($5, $6))
		ORDER BY m.number`, org, db.Micros(tx.Now()), orgs.Fold(strings.TrimSpace(h.MachineID)), orgs.Fold(strings.TrimSpace(h.Serial)), name, short)
	if err != nil {
		return nil, fmt.Errorf("looking into the device map: %w", err)
	}
	list = slices.DeleteFunc(list, func(m Mapping) bool {
		return m.OSUser != "" && orgs.Fold(m.OSUser) != orgs.Fold(h.OSUser) && orgs.Fold(m.OSUser) != orgs.Fold(osUser(h.OSUser))
	})
	slices.SortStableFunc(list, func(a, b Mapping) int { return slices.Index(idTypes, a.Type) - slices.Index(idTypes, b.Type) })
	return list, nil
}

// forget deletes the rows that are used up.
func (c claim) forget(ctx context.Context, tx *db.Tx) error {
	for _, m := range c.rows {
		if _, err := tx.Exec(ctx, "DELETE FROM device_map WHERE number = $1", m.Number); err != nil {
			return fmt.Errorf("using a row of the device map up: %w", err)
		}
	}
	return nil
}
