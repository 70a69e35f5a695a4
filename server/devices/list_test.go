package devices_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/orgs"
)

func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	vic := w.user("vic")
	w.device(w.una, "b_1")
	w.device(w.una, "bx1")
	w.device(vic, "A")
	w.device(vic, "bx1") // the same name twice in a list
	gone, _ := w.device(vic, "gone")
	if err := w.setState(system, gone.ID, devices.Deleted); err != nil {
		t.Fatal(err)
	}
	list := func(by access.Caller, f devices.Filter) (names, after string, err error) {
		err = w.DB.Read(t.Context(), func(tx *db.Tx) error {
			all, next, err := devices.List(t.Context(), tx, by, f)
			if err != nil {
				return err
			}
			for _, d := range all {
				names += d.Username + ":" + d.Name + " "
			}
			after = next
			n, err := devices.Count(t.Context(), tx, by, f)
			if f.Limit == 0 && n != len(all) {
				t.Errorf("Count(%+v) = %d, the list has %d", f, n, len(all))
			}
			return err
		})
		return names, after, err
	}
	for _, c := range []struct {
		name string
		by   access.Caller
		f    devices.Filter
		want string
	}{
		{"all", system, devices.Filter{}, "vic:A una:b_1 una:bx1 vic:bx1 "},
		{"an organisation's", admin(w, access.Viewer), devices.Filter{Org: w.Org.ID}, "vic:A una:b_1 una:bx1 vic:bx1 "},
		{"a user's", admin(w, access.Viewer), devices.Filter{Org: w.Org.ID, User: vic.ID}, "vic:A vic:bx1 "},
		{"one's own", vic.Caller(from), devices.Filter{User: vic.ID}, "vic:A vic:bx1 "},
		{"deleted ones", system, devices.Filter{State: devices.Deleted}, "vic:gone "},
		{"by name", system, devices.Filter{Search: "B_1"}, "una:b_1 "},
		{"by user", system, devices.Filter{Search: "first vic"}, "vic:A vic:bx1 "},
		{"by both", system, devices.Filter{Search: "una x1"}, "una:bx1 "},
		{"by host", system, devices.Filter{Search: "a.example.org"}, "vic:A "},
	} {
		got, _, err := list(c.by, c.f)
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
	var all, after string
	for range 10 {
		names, next, err := list(system, devices.Filter{Limit: 1, After: after})
		if err != nil {
			t.Fatal(err)
		}
		all += names
		if after = next; after == "" {
			break
		}
	}
	if want := "vic:A una:b_1 una:bx1 vic:bx1 "; all != want {
		t.Errorf("page by page: %q, want %q", all, want)
	}
	for name, c := range map[string]struct {
		by access.Caller
		f  devices.Filter
	}{
		"a colleague's":      {vic.Caller(from), devices.Filter{User: w.una.ID}},
		"everybody's":        {vic.Caller(from), devices.Filter{}},
		"another's":          {access.Caller{Kind: access.AdminKind, User: "a", Org: "other", Role: access.OrgAdmin}, devices.Filter{Org: w.Org.ID}},
		"the whole server's": {admin(w, access.OrgAdmin), devices.Filter{}},
	} {
		if _, _, err := list(c.by, c.f); errs.KindOf(err) != errs.NotFound {
			t.Errorf("%s: %v, want NotFound", name, err)
		}
	}
}

func TestSums(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	vic := w.user("vic")
	one, _ := w.device(w.una, "one")
	two, _ := w.device(w.una, "two")
	w.device(w.una, "three")
	now := time.Now().UTC().Truncate(time.Microsecond)
	w.Write(func(tx *db.Tx) error {
		if err := devices.Committed(t.Context(), tx, one.ID, devices.Backup{At: now, Bytes: 5}); err != nil {
			return err
		}
		return devices.Committed(t.Context(), tx, two.ID, devices.Backup{At: now.Add(-48 * time.Hour), Bytes: 6})
	})
	w.Read(func(tx *db.Tx) error {
		all, err := devices.Summaries(t.Context(), tx, []accounts.ID{w.una.ID, vic.ID})
		if err != nil || len(all) != 1 || all[w.una.ID] != (devices.Summary{Devices: 3, LastBackupAt: now, StoredBytes: 11}) {
			t.Errorf("Summaries = %+v, %v", all, err)
		}
		if none, err := devices.Summaries(t.Context(), tx, nil); err != nil || len(none) != 0 {
			t.Errorf("Summaries of nobody = %+v, %v", none, err)
		}
		want := devices.Totals{Devices: 3, Recent: 1, Never: 1, StoredBytes: 11}
		for _, org := range []orgs.ID{w.Org.ID, ""} {
			if got, err := devices.Sum(t.Context(), tx, system, org); err != nil || got != want {
				t.Errorf("Sum(%q) = %+v, %v; want %+v", org, got, err, want)
			}
		}
		if got, err := devices.Sum(t.Context(), tx, system, "other"); err != nil || got != (devices.Totals{}) {
			t.Errorf("Sum of another = %+v, %v", got, err)
		}
		return nil
	})
}
