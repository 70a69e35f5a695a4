package deploy

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
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
	if err := audit.See(by, access.ManageMap, org, "", "device-map"); err != nil {
		return MapFile{}, err
	}
	records, err := accounts.ReadTable(file, MapColumns(), "email")
	if err != nil {
		return MapFile{}, err
	}
	values := make([]map[string]string, len(records))
	for n, record := range records {
		values[n] = record.Values
	}
	drafts, err := check(ctx, tx, org, 0, values...)
	if err != nil {
		return MapFile{}, err
	}
	var f MapFile
	taken := map[string]int{} // lines
	for n, record := range records {
		d := drafts[n]
		if record.Extra {
			d.refuse(errs.New(errs.Invalid, "import.row.fields", "n", record.Columns))
		} else if first, twice := taken[d.key()]; twice && d.read {
			d.refuse(errs.New(errs.Conflict, "deploy.map.twice", "line", first))
		} else if d.read {
			taken[d.key()] = record.Line
		}
		f.add(MapRow{Line: record.Line, Values: record.Values, Status: d.status, Reason: d.reason, mapping: d.Mapping})
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
	err = audit.Check(ctx, tx, by, access.ManageMap, org, "", "device-map", audit.Note("added", f.Good), audit.Note("bad", f.Bad))
	if err != nil {
		return f, err
	}
	var added []Mapping
	for _, r := range f.Rows {
		if r.Status == RowGood {
			added = append(added, r.mapping)
		}
	}
	if _, err := addRows(ctx, tx, by, org, added); err != nil {
		return f, err
	}
	return f, tell(ctx, tx, by, ring, org, added)
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
// most limit of those before a number, 0 for all, and how many there are in all.
func Mappings(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, before int64, limit int) (list []Mapping, total int64, err error) {
	if err := audit.See(by, access.ViewMap, org, "", "device-map"); err != nil {
		return nil, 0, err
	}
	const of = " FROM device_map m JOIN users u ON u.id = m.user_id WHERE m.org = $1 AND (m.expires_at = 0 OR m.expires_at > $2)"
	if err := tx.QueryRow(ctx, "SELECT count(*)"+of, org, db.Micros(tx.Now())).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("counting the device map: %w", err)
	}
	if before == 0 {
		before = math.MaxInt64
	}
	list, err = db.All(ctx, tx, scanMapping, "SELECT "+mapColumns+of+" AND m.number < $3 ORDER BY m.number DESC LIMIT $4", org, db.Micros(tx.Now()), before, limit)
	if err != nil {
		return nil, 0, fmt.Errorf("listing the device map: %w", err)
	}
	return list, total, nil
}
