package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/orgs"
)

// draft is a row for the device map as somebody wrote it, and what is to be said
// of it.
type draft struct {
	Mapping
	email  string
	read   bool   // it says which computer it is about, and what of it
	status string // RowGood and so on
	reason error  // of a bad one
}

func (d *draft) refuse(reason error) { d.status, d.reason = RowBad, reason }

// check says of rows, by their values of MapColumns, whether each could stand in
// an organisation's map: in the place of the row of that number, or with 0 as one
// more. What the database knows about all of them is asked at once: asked row by
// row, ten thousand take ten seconds, in which nobody else can write.
func check(ctx context.Context, tx *db.Tx, org orgs.ID, number int64, values ...map[string]string) ([]draft, error) {
	drafts := make([]draft, len(values))
	for n, v := range values {
		d := &drafts[n]
		var err error
		if d.Mapping, err = readRow(tx.Now(), v); err != nil {
			d.refuse(err)
			continue
		}
		d.Number, d.email, d.read = number, v["email"], true
	}
	f, err := lookUp(ctx, tx, org, drafts)
	if err != nil {
		return nil, err
	}
	for n := range drafts {
		if d := &drafts[n]; d.read {
			d.judge(f)
		}
	}
	return drafts, nil
}

// readRow reads what a row says, but whose the computer is.
func readRow(now time.Time, v map[string]string) (Mapping, error) {
	m := Mapping{Type: strings.ToLower(v["id_type"]), Value: orgs.Fold(v["device_id"]), OSUser: v["username"],
		OldDevice: v["old_device_name"], Restore: strings.ToUpper(v["data_restore"])}
	if m.Type == "" || m.Type == ByHostname && m.Value == "" {
		m.Type, m.Value = ByHostname, orgs.Fold(v["hostname"])
	}
	if m.Type == "serial" {
		m.Type = BySerial
	}
	switch {
	case !slices.Contains(idTypes, m.Type):
		return m, errs.New(errs.Invalid, "deploy.map.type", "type", v["id_type"], "types", strings.Join(idTypes, ", "))
	case len(m.Value) < 3 || len(m.Value) > maxPattern || !printable(m.Value) || strings.Trim(m.Value, "0-f. ") == "",
		m.Type != ByHostname && !devices.Telling(m.Value):
		return m, errs.New(errs.Invalid, "deploy.map.id")
	case len(m.OSUser) > maxPattern || !printable(m.OSUser) || len(m.OldDevice) > maxPattern || !printable(m.OldDevice):
		return m, errs.New(errs.Invalid, "deploy.map.characters")
	case !slices.Contains([]string{"", "ALL", "DATA", "SYSTEM"}, m.Restore):
		return m, errs.New(errs.Invalid, "deploy.map.restore", "value", v["data_restore"])
	}
	if text := v["expires"]; text != "" {
		day, err := time.Parse(time.DateOnly, text)
		if m.ExpiresAt = day.AddDate(0, 0, 1); err != nil || !m.ExpiresAt.After(now) {
			return m, errs.New(errs.Invalid, "deploy.map.expires", "value", text)
		}
	}
	return m, nil
}

// facts are what the database knows about rows.
type facts struct {
	users map[string][]accounts.User // of the organisation, by what rows call them
	names map[accounts.ID][]string   // of the devices that users have, folded
	rows  map[string][]Mapping       // of the map, by their key
}

// lookUp finds out what is to be known about rows.
func lookUp(ctx context.Context, tx *db.Tx, org orgs.ID, drafts []draft) (f facts, err error) {
	var emails, values []string
	for _, d := range drafts {
		if d.read {
			emails, values = append(emails, d.email), append(values, d.Value)
		}
	}
	if f.users, err = accounts.IdentifiedAll(ctx, tx, emails); err != nil {
		return f, err
	}
	for email, found := range f.users {
		f.users[email] = slices.DeleteFunc(found, func(u accounts.User) bool { return u.Org != org || u.Kind != access.UserKind })
	}
	var replacing []accounts.ID
	for _, d := range drafts {
		if found := f.users[d.email]; d.read && d.OldDevice != "" && len(found) == 1 {
			replacing = append(replacing, found[0].ID)
		}
	}
	if f.names, err = devices.NamesOf(ctx, tx, replacing); err != nil {
		return f, err
	}
	f.rows, err = standing(ctx, tx, org, values)
	return f, err
}

// standing are the rows of an organisation's map about computers with these ids,
// by their keys.
func standing(ctx context.Context, tx *db.Tx, org orgs.ID, values []string) (map[string][]Mapping, error) {
	rows := map[string][]Mapping{}
	slices.Sort(values)
	for part := range slices.Chunk(slices.Compact(values), atOnce) {
		args := append([]any{org, db.Micros(tx.Now())}, db.Args(part)...)
		list, err := db.All(ctx, tx, scanMapping, "SELECT "+mapColumns+` FROM device_map m JOIN users u ON u.id = m.user_id
			WHERE m.org = $1 AND (m.expires_at = 0 OR m.expires_at > $2) AND m.id_type IN ('uuid', 'serial-number', 'hostname')
				AND m.id_value IN (`+db.In(len(part), 3)+")", args...)
		if err != nil {
			return nil, fmt.Errorf("looking into the device map: %w", err)
		}
		for _, m := range list {
			rows[m.key()] = append(rows[m.key()], m)
		}
	}
	return rows, nil
}

// atOnce is about how many rows one statement asks for, and bounds the transactions
// that change many: others wait for them.
const atOnce = 250

// judge says what becomes of a row that could be read.
func (d *draft) judge(f facts) {
	found := f.users[d.email]
	switch {
	case len(found) == 0:
		d.refuse(errs.New(errs.NotFound, "deploy.map.user", "email", d.email))
		return
	case len(found) > 1:
		d.refuse(errs.Of(errs.AmbiguousAccount))
		return
	case !works(found[0]):
		d.refuse(errs.New(errs.Conflict, "deploy.map.state", "username", found[0].Username))
		return
	}
	d.User, d.Username, d.Private = found[0].ID, found[0].Username, found[0].PrivacyOn
	if d.OldDevice != "" && !slices.Contains(f.names[d.User], orgs.Fold(d.OldDevice)) {
		d.refuse(errs.New(errs.NotFound, "deploy.map.old", "name", d.OldDevice, "username", d.Username))
		return
	}
	d.status = RowGood
	for _, other := range f.rows[d.key()] {
		switch {
		case other.Number == d.Number:
		case other.User == d.User:
			d.status = RowExists
			return
		default:
			d.refuse(errs.New(errs.Conflict, "deploy.map.taken", "username", other.Username))
			return
		}
	}
}

// key is the same for rows that mean the same computer.
func (m Mapping) key() string { return m.Type + "\n" + m.Value + "\n" + orgs.Fold(m.OSUser) }
