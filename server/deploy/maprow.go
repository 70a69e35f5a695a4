package deploy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
)

// FindMapping returns a row of a device map to those who may see it.
func FindMapping(ctx context.Context, tx *db.Tx, by access.Caller, number int64) (Mapping, error) {
	m, err := scanMapping(tx.QueryRow(ctx, "SELECT "+mapColumns+" FROM device_map m JOIN users u ON u.id = m.user_id WHERE m.number = $1 AND (m.expires_at = 0 OR m.expires_at > $2)", number, db.Micros(tx.Now())))
	if errors.Is(err, sql.ErrNoRows) {
		return Mapping{}, errs.New(errs.NotFound, "access.not.found")
	}
	if err != nil {
		return Mapping{}, fmt.Errorf("looking into the device map: %w", err)
	}
	return m, audit.See(by, access.ViewMap, m.Org, "", "device-map")
}

// Values are those of MapColumns, as a file has them.
func (m Mapping) Values() map[string]string {
	v := map[string]string{"email": m.Username, "device_id": m.Value, "id_type": m.Type, "username": m.OSUser, "old_device_name": m.OldDevice, "data_restore": m.Restore}
	if !m.ExpiresAt.IsZero() {
		v["expires"] = m.LastDay().Format(time.DateOnly)
	}
	return v
}

// LastDay is the day, in UTC, through which a row that ends is good.
func (m Mapping) LastDay() time.Time { return m.ExpiresAt.UTC().AddDate(0, 0, -1) }

// Map puts a row into an organisation's device map, with the values of
// MapColumns, or changes the one of that number, 0 for none. A user who keeps
// administrators out is told, and so are the administrators.
func Map(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, org orgs.ID, number int64, values map[string]string) (Mapping, error) {
	if number != 0 {
		old, err := FindMapping(ctx, tx, by, number)
		if err != nil {
			return Mapping{}, err
		}
		org = old.Org
	}
	if err := audit.See(by, access.ManageMap, org, "", "device-map"); err != nil {
		return Mapping{}, err
	}
	for name, value := range values {
		values[name] = strings.TrimSpace(value)
	}
	drafts, err := check(ctx, tx, org, number, values)
	if err != nil {
		return Mapping{}, err
	}
	m := drafts[0].Mapping
	switch drafts[0].status {
	case RowBad:
		return Mapping{}, drafts[0].reason
	case RowExists:
		return Mapping{}, errs.New(errs.Conflict, "deploy.map.taken", "username", m.Username)
	}
	err = audit.Check(ctx, tx, by, access.ManageMap, org, "", "device-map", audit.Note("row", number), audit.Note("computer", m.Value), audit.Note("user", m.Username))
	if err != nil {
		return Mapping{}, err
	}
	if number == 0 {
		var numbers []int64
		if numbers, err = addRows(ctx, tx, by, org, []Mapping{m}); err != nil {
			return Mapping{}, err
		}
		number = numbers[0]
	} else {
		_, err = tx.Exec(ctx, `UPDATE device_map SET user_id = $2, id_type = $3, id_value = $4, os_user = $5, old_device = $6, restore = $7, expires_at = $8 WHERE number = $1`,
			number, m.User, m.Type, m.Value, m.OSUser, m.OldDevice, m.Restore, db.Micros(m.ExpiresAt))
		if err != nil {
			return Mapping{}, fmt.Errorf("changing the device map: %w", err)
		}
	}
	if err := tell(ctx, tx, by, ring, org, []Mapping{m}); err != nil {
		return Mapping{}, err
	}
	return FindMapping(ctx, tx, by, number)
}

// addRows adds rows to an organisation's map, and returns their numbers in no
// order that is promised.
func addRows(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, rows []Mapping) (numbers []int64, err error) {
	const columns = 10
	for part := range slices.Chunk(rows, 100) {
		var places strings.Builder
		var args []any
		for _, m := range part {
			places.WriteString(", (" + db.In(columns, len(args)+1) + ")")
			args = append(args, org, m.User, m.Type, m.Value, m.OSUser, m.OldDevice, m.Restore, by.Name, db.Micros(tx.Now()), db.Micros(m.ExpiresAt))
		}
		added, err := db.All(ctx, tx, db.Column[int64], `INSERT INTO device_map (org, user_id, id_type, id_value, os_user, old_device, restore, created_by,
			created_at, expires_at) VALUES `+places.String()[2:]+" RETURNING number", args...)
		if err != nil {
			return nil, fmt.Errorf("adding to the device map: %w", err)
		}
		numbers = append(numbers, added...)
	}
	return numbers, nil
}

// tell mails users who keep administrators out, and the administrators, which
// computers were said to be theirs: one mail for each user.
func tell(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, org orgs.ID, rows []Mapping) error {
	computers := map[accounts.ID][]string{}
	var private []accounts.ID // in the order of the rows
	for _, m := range rows {
		if m.Private && len(computers[m.User]) == 0 {
			private = append(private, m.User)
		}
		computers[m.User] = append(computers[m.User], m.Value)
	}
	if len(private) == 0 {
		return nil
	}
	o, err := orgs.Find(ctx, tx, org)
	if err != nil {
		return err
	}
	for _, id := range private {
		u, err := accounts.Find(ctx, tx, id)
		if err != nil {
			return err
		}
		m := mail.Mail{To: u.Email, Language: u.Language, User: u.ID, Org: org, Template: mail.DeviceMapped, Values: map[string]string{"username": u.Username,
			"computer": strings.Join(computers[id], ", "), "admin": by.Name, "org": o.Name, "at": tx.Now().UTC().Format(time.RFC3339)}}
		if err := mail.Queue(ctx, tx, ring, m); err != nil {
			return err
		}
		if err := orgs.Notify(ctx, tx, ring, org, m); err != nil {
			return err
		}
	}
	return nil
}

// Unmap deletes a row of a device map.
func Unmap(ctx context.Context, tx *db.Tx, by access.Caller, number int64) error {
	m, err := FindMapping(ctx, tx, by, number)
	if err != nil {
		return err
	}
	if err := audit.Check(ctx, tx, by, access.ManageMap, m.Org, "", "device-map", audit.Note("removed", number), audit.Note("computer", m.Value)); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "DELETE FROM device_map WHERE number = $1", number); err != nil {
		return fmt.Errorf("deleting from the device map: %w", err)
	}
	return nil
}
