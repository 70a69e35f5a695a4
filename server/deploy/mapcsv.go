package deploy

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/orgs"
)

// MapColumns are the columns of a file for the device map.
func MapColumns() []string {
	return []string{"email", "hostname", "device_id", "id_type", "username", "old_device_name", "data_restore", "expires"}
}

// What becomes of a row of a file.
const (
	RowGood   = "good"   // is put into the map
	RowExists = "exists" // is there already
	RowBad    = "bad"    // cannot be, for a reason
)

// MapRow is a line of a file for the device map.
type MapRow struct {
	Line    int
	Values  map[string]string
	Status  string
	Reason  error // of a bad row
	mapping Mapping
}

// MapFile is a file for the device map that was looked at.
type MapFile struct {
	Rows              []MapRow
	Good, Exists, Bad int64
}

// CheckMap reads a file for the device map and says of each row whether it can
// be used. Nothing is changed.
func CheckMap(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, file io.Reader) (MapFile, error) {
	if err := audit.See(by, access.Deploy, org, "", "device-map"); err != nil {
		return MapFile{}, err
	}
	records, err := accounts.ReadTable(file, MapColumns(), "email")
	if err != nil {
		return MapFile{}, err
	}
	var f MapFile
	taken := map[string]int{} // lines
	for _, record := range records {
		r := MapRow{Line: record.Line, Values: record.Values, Status: RowGood}
		if record.Extra {
			err = errs.New(errs.Invalid, "import.row.fields", "n", record.Columns)
		} else {
			r.mapping, err = mappingOf(ctx, tx, org, record.Values)
		}
		if err == nil {
			key := r.mapping.key()
			if first, twice := taken[key]; twice {
				err = errs.New(errs.Conflict, "deploy.map.twice", "line", first)
			} else {
				taken[key] = r.Line
				r.Status, err = r.mapping.beside(ctx, tx, org)
			}
		}
		if errs.Find(err) != nil {
			r.Status, r.Reason, err = RowBad, err, nil
		}
		if err != nil {
			return MapFile{}, err
		}
		f.add(r)
	}
	return f, nil
}

func (f *MapFile) add(r MapRow) {
	f.Rows = append(f.Rows, r)
	switch r.Status {
	case RowGood:
		f.Good++
	case RowExists:
		f.Exists++
	case RowBad:
		f.Bad++
	}
}

// ImportMap puts the good rows of a file into the device map, as they are by
// now. Users who keep administrators out are told whose computers are said to be
// theirs, and so are the administrators.
func ImportMap(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, org orgs.ID, file io.Reader) (MapFile, error) {
	f, err := CheckMap(ctx, tx, by, org, file)
	if err != nil {
		return f, err
	}
	err = audit.Check(ctx, tx, by, access.Deploy, org, "", "device-map", audit.Note("added", f.Good), audit.Note("bad", f.Bad))
	if err != nil {
		return f, err
	}
	var added []Mapping
	for _, r := range f.Rows {
		if r.Status != RowGood {
			continue
		}
		if err := r.mapping.insert(ctx, tx, by, org); err != nil {
			return f, err
		}
		added = append(added, r.mapping)
	}
	return f, tell(ctx, tx, by, ring, org, added)
}

// mappingOf reads one row.
func mappingOf(ctx context.Context, tx *db.Tx, org orgs.ID, v map[string]string) (m Mapping, err error) {
	m = Mapping{Type: strings.ToLower(v["id_type"]), Value: orgs.Fold(v["device_id"]), OSUser: v["username"],
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
		if err != nil || !day.After(tx.Now()) {
			return m, errs.New(errs.Invalid, "deploy.map.expires", "value", text)
		}
		m.ExpiresAt = day
	}
	return m, m.findUser(ctx, tx, org, v["email"])
}

// findUser finds whose computer a row says that it is, and the device that it
// follows.
func (m *Mapping) findUser(ctx context.Context, tx *db.Tx, org orgs.ID, email string) error {
	found, err := accounts.Identified(ctx, tx, email)
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(u accounts.User) bool { return u.Org != org || u.Kind != access.UserKind })
	switch {
	case len(found) == 0:
		return errs.New(errs.NotFound, "deploy.map.user", "email", email)
	case len(found) > 1:
		return errs.Of(errs.AmbiguousAccount)
	case !works(found[0]):
		return errs.New(errs.Conflict, "deploy.map.state", "username", found[0].Username)
	}
	m.User, m.Username, m.Private = found[0].ID, found[0].Username, found[0].PrivacyOn
	if m.OldDevice == "" {
		return nil
	}
	have, err := devices.LiveOf(ctx, tx, m.User)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(have, func(d devices.Device) bool { return orgs.Fold(d.Name) == orgs.Fold(m.OldDevice) }) {
		return errs.New(errs.NotFound, "deploy.map.old", "name", m.OldDevice, "username", m.Username)
	}
	return nil
}

// key is the same for rows that mean the same computer.
func (m Mapping) key() string { return m.Type + "\n" + m.Value + "\n" + orgs.Fold(m.OSUser) }

// beside compares a row with the others of the map for the same computer.
func (m Mapping) beside(ctx context.Context, tx *db.Tx, org orgs.ID) (string, error) {
	there, err := db.All(ctx, tx, scanMapping, "SELECT "+mapColumns+` FROM device_map m JOIN users u ON u.id = m.user_id
		WHERE m.org = $1 AND m.id_type = $2 AND m.id_value = $3 AND (m.expires_at = 0 OR m.expires_at > $4)`, org, m.Type, m.Value, db.Micros(tx.Now()))
	if err != nil {
		return "", fmt.Errorf("looking into the device map: %w", err)
	}
	for _, o := range there {
		switch {
		case orgs.Fold(o.OSUser) != orgs.Fold(m.OSUser), o.Number == m.Number:
		case o.User == m.User:
			return RowExists, nil
		default:
			return "", errs.New(errs.Conflict, "deploy.map.taken", "username", o.Username)
		}
	}
	return RowGood, nil
}

// FailedMapRows writes the bad rows of a file, with a column that says what is
// wrong about each. Mended, it can be used as it is.
func FailedMapRows(w io.Writer, f MapFile, say func(error) string) error {
	return accounts.WriteTable(w, append(MapColumns(), "error"), func(write func(...string) error) error {
		for _, r := range f.Rows {
			if r.Status != RowBad {
				continue
			}
			var cells []string
			for _, name := range MapColumns() {
				cells = append(cells, r.Values[name])
			}
			if err := write(append(cells, say(r.Reason))...); err != nil {
				return err
			}
		}
		return nil
	})
}

// Mappings are the rows of an organisation's device map, the newest first, at
// most limit, and how many there are.
func Mappings(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, limit int) (list []Mapping, total int64, err error) {
	if err := audit.See(by, access.Deploy, org, "", "device-map"); err != nil {
		return nil, 0, err
	}
	const of = " FROM device_map m JOIN users u ON u.id = m.user_id WHERE m.org = $1 AND (m.expires_at = 0 OR m.expires_at > $2)"
	if err := tx.QueryRow(ctx, "SELECT count(*)"+of, org, db.Micros(tx.Now())).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("counting the device map: %w", err)
	}
	list, err = db.All(ctx, tx, scanMapping, "SELECT "+mapColumns+of+" ORDER BY m.number DESC LIMIT $3", org, db.Micros(tx.Now()), limit)
	if err != nil {
		return nil, 0, fmt.Errorf("listing the device map: %w", err)
	}
	return list, total, nil
}
