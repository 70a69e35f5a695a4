package console_test

import (
	"net/http"
	"testing"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/wire"
)

// stores notes what a device backed up, and how many of its files wait for room.
func (w *world) stores(d wire.Activated, bytes, waiting int64) {
	w.t.Helper()
	err := w.DB.Write(w.t.Context(), func(tx *db.Tx) error {
		return devices.Committed(w.t.Context(), tx, devices.ID(d.DeviceID), devices.Backup{At: tx.Now(), Status: "partial", Bytes: bytes, Waiting: waiting})
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// asked counts the backups that a device is asked for.
func (w *world) asked(d wire.Activated) (n int) {
	w.t.Helper()
	err := w.DB.Read(w.t.Context(), func(tx *db.Tx) error {
		return tx.QueryRow(w.t.Context(), "SELECT count(*) FROM device_requests WHERE device = $1 AND kind = $2", d.DeviceID, wire.RequestBackup).Scan(&n)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// F-12: an administrator gives a user a quota, in any unit, or the profile's
// again. What cannot be meant changes nothing and stays in the form; devices
// whose files wait go on.
func TestQuotaOfAUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.NewDevice(w.User, "LAPTOP").Activated
	w.stores(d, 40_000_000_000, 2)
	admin, at := w.as("orgadmin"), "/admin/users/"+string(w.User.ID)
	admin.get(at+"/quota").want(t, http.StatusOK, "40 GB", `name="own" value="" checked`)
	admin.done(admin.post(at+"/quota", "own", "yes", "quota", "1.5", "quota_unit", "TB"), "The storage of user was set.", "40 GB of 1.5 TB")
	if q := w.find("user").Quota; q == nil || *q != 1_500_000_000_000 {
		t.Errorf("the quota is %v", q)
	}
	if n := w.asked(d); n != 1 {
		t.Errorf("the device whose files wait is asked for %d backups, want 1", n)
	}
	for _, wrong := range []string{"", "-1", "NaN", "1e30", "much"} {
		admin.post(at+"/quota", "own", "yes", "quota", wrong, "quota_unit", "GB").want(t, http.StatusBadRequest, "This quota cannot be meant.", `value="`+wrong+`"`, "40 GB of 1.5 TB")
	}
	admin.post(at+"/quota", "own", "yes", "quota", "1", "quota_unit", "PB").want(t, http.StatusBadRequest)
	w.as("viewer").post(at+"/quota", "own", "yes", "quota", "1", "quota_unit", "GB").want(t, http.StatusForbidden)
	if q := w.find("user").Quota; q == nil || *q != 1_500_000_000_000 {
		t.Errorf("what was refused left a quota of %v", q)
	}
	admin.get(at+"/quota").want(t, http.StatusOK, `name="own" value="yes" checked`, `value="1.5"`)
	admin.done(admin.post(at+"/quota", "own", "yes", "quota", "0", "quota_unit", "GB"), "The storage of user was set.")
	if q := w.find("user").Quota; q == nil || *q != 0 {
		t.Errorf("without a limit, whatever the profile says: %v", q)
	}
	admin.done(admin.post(at+"/quota", "own", ""), "The storage of user was set.")
	if q := w.find("user").Quota; q != nil {
		t.Errorf("with the profile's again: %d", *q)
	}
}

// The organisation's bounds all its users, and its page says what messages say:
// also what is on its way.
func TestQuotaOfTheOrganisation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.NewDevice(w.User, "LAPTOP").Activated
	w.stores(d, 40_000_000_000, 2)
	admin, at := w.as("admin"), "/admin/settings/organisation"
	admin.get(at).want(t, http.StatusOK, "40 GB").lacks(t, "40 GB of")
	admin.done(admin.post(at, "name", "Example", "quota", "50", "quota_unit", "GB"), "Saved.", "40 GB of 50 GB")
	if n := w.asked(d); n != 1 {
		t.Errorf("the device whose files wait is asked for %d backups, want 1", n)
	}
	err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE devices SET claimed_bytes = 45000000000 WHERE id = $1", d.DeviceID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	admin.get(at).want(t, http.StatusOK, "45 GB of 50 GB")
	admin.post(at, "name", "Other", "quota", "-5", "quota_unit", "GB").want(t, http.StatusBadRequest, "This quota cannot be meant.", `value="-5"`, `value="Other"`)
	w.as("orgadmin").post(at, "name", "Example", "quota", "1", "quota_unit", "GB").want(t, http.StatusForbidden)
	err = w.DB.Read(t.Context(), func(tx *db.Tx) error {
		o, err := orgs.Find(t.Context(), tx, w.Org.ID)
		if o.Quota != 50_000_000_000 || o.Name != "Example" {
			t.Errorf("what was refused left %q, %d", o.Name, o.Quota)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
