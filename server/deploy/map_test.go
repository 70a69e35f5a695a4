package deploy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/accounts/accountstest"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/settings"
)

func (w *world) mapRow(by access.Caller, number int64, values map[string]string) error {
	w.Helper()
	return w.DB.Write(w.Context(), func(tx *db.Tx) error {
		_, err := deploy.Map(w.Context(), tx, by, w.Ring, w.Org.ID, number, values)
		return err
	})
}

func (w *world) mapped() []deploy.Mapping {
	w.Helper()
	var list []deploy.Mapping
	w.Read(func(tx *db.Tx) (err error) {
		list, _, err = deploy.Mappings(w.Context(), tx, w.admin, w.Org.ID, 0, 10)
		return err
	})
	return list
}

// A row of the device map is made, changed and deleted by itself, by the rules
// of a file.
func TestMapRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("una")
	w.user("otto")
	row := func(email, id string) map[string]string {
		return map[string]string{"email": email, "device_id": id, "id_type": "uuid", "expires": w.DB.Now().AddDate(0, 0, 2).Format(time.DateOnly)}
	}
	if err := w.mapRow(w.admin, 0, row("una", " 4C4C-1 ")); err != nil {
		t.Fatal(err)
	}
	list := w.mapped()
	if len(list) != 1 || list[0].Value != "4c4c-1" || list[0].Username != "una" || list[0].ExpiresAt.IsZero() {
		t.Fatalf("the map is %+v", list)
	}
	for name, c := range map[string]struct {
		by     access.Caller
		number int64
		values map[string]string
		want   errs.Kind
	}{
		"a computer that somebody has":       {w.admin, 0, row("otto", "4c4c-1"), errs.Conflict},
		"the same row again":                 {w.admin, 0, row("una", "4c4c-1"), errs.Conflict},
		"nobody":                             {w.admin, 0, row("nobody", "4c4c-2"), errs.NotFound},
		"an id that many computers have":     {w.admin, 0, map[string]string{"email": "una", "device_id": "To be filled by O.E.M.", "id_type": "serial-number"}, errs.Invalid},
		"no such row":                        {w.admin, list[0].Number + 1, row("una", "4c4c-1"), errs.NotFound},
		"by a viewer":                        {access.Caller{Kind: access.AdminKind, User: "v", Org: w.Org.ID, Role: access.Viewer}, 0, row("una", "4c4c-3"), errs.Forbidden},
		"by another organisation's, to ours": {access.Caller{Kind: access.AdminKind, User: "o", Org: "other", Role: access.OrgAdmin}, list[0].Number, row("una", "4c4c-1"), errs.NotFound},
	} {
		if err := w.mapRow(c.by, c.number, c.values); errs.KindOf(err) != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := w.mapRow(w.admin, list[0].Number, row("otto", "4c4c-1")); err != nil {
		t.Error(err)
	}
	if list = w.mapped(); len(list) != 1 || list[0].Username != "otto" {
		t.Errorf("changed, the map is %+v", list)
	}
	// What is written into the form again is the same row.
	if err := w.mapRow(w.admin, list[0].Number, list[0].Values()); err != nil {
		t.Error(err)
	}
}

// E-07: who keeps administrators out signs in at the computer all the same, and is
// told, as the administrators are.
func TestMapToPrivate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una := w.user("una")
	w.Write(func(tx *db.Tx) error { return accounts.SetPrivacy(w.Context(), tx, una.Caller(from), true) })
	w.Made(accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "ada", Email: "ada@example.org", PasswordHash: w.Hash(accountstest.Password)})
	w.Write(func(tx *db.Tx) error {
		_, err := deploy.ImportMap(w.Context(), tx, w.admin, w.Ring, w.Org.ID, strings.NewReader("email,device_id,id_type\nuna,m-one,uuid\nuna,m-two,uuid\n"))
		return err
	})
	for _, to := range []string{"una@example.org", "ada@example.org"} {
		var n int
		w.Read(func(tx *db.Tx) error {
			return tx.QueryRow(w.Context(), "SELECT count(*) FROM outbox WHERE template = $1 AND recipient = $2", mail.DeviceMapped, to).Scan(&n)
		})
		if n != 1 {
			t.Errorf("%s got %d mails, want 1 for both rows", to, n)
		}
	}
	_, asks := w.create(deploy.Rules{Prompt: true})
	_, err := w.begin(w.computer("one", asks, ""))
	if e := errs.Find(err); e == nil || e.Key != "deploy.prompt" || e.Args["email"] != "una" {
		t.Errorf("where users are asked: %v, want deploy.prompt for una", err)
	}
	_, refuses := w.create(deploy.Rules{})
	_, err = w.begin(w.computer("one", refuses, ""))
	wantCode(t, "where nobody is asked", err, errs.NoDeviceMapping)
	if len(w.mapped()) != 2 {
		t.Error("a row was used up")
	}
}

// J-02: an account that a token makes takes its seat with its first device; when
// there is none, no account is left behind, and who knocked says why.
func TestSeatOfDeployed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Set(func(s *settings.Settings) { s.Licences.GraceDays = 0 })
	l := w.Licence("Fleet", 1, 1)
	_, secret := w.create(deploy.Rules{CreateUsers: true, Domains: []string{"example.org"}})
	d, err := w.enrol(w.computer("one", secret, "email:one@example.org"))
	if err != nil {
		t.Fatal(err)
	}
	w.Read(func(tx *db.Tx) error {
		u, err := accounts.Find(w.Context(), tx, d.User)
		if u.Seat != accounts.ActiveSeat || u.Licence != string(l.ID) {
			t.Errorf("the user has seat %q of licence %q", u.Seat, u.Licence)
		}
		return err
	})
	_, err = w.begin(w.computer("two", secret, "email:two@example.org"))
	wantCode(t, "without a seat", err, errs.NoFreeSeat)
	w.Read(func(tx *db.Tx) error {
		if _, err := accounts.FindByUsername(w.Context(), tx, "two@example.org"); errs.KindOf(err) != errs.NotFound {
			t.Errorf("the account that has no seat: %v", err)
		}
		return nil
	})
	if k := w.knocks(); len(k) != 1 || k[0].Code != string(errs.NoFreeSeat) {
		t.Errorf("who knocked: %+v", k)
	}
}

// A row is good through the day on which it ends, in UTC, as people read a date,
// and not a moment longer.
func TestMapRowEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("una")
	row := func(day time.Time) map[string]string {
		return map[string]string{"email": "una", "device_id": "4c4c-1", "id_type": "uuid", "expires": day.Format(time.DateOnly)}
	}
	w.Stop(time.Date(2027, 1, 31, 23, 59, 0, 0, time.UTC))
	today := w.DB.Now().UTC()
	if err := w.mapRow(w.admin, 0, row(today.AddDate(0, 0, -1))); errs.KindOf(err) != errs.Invalid {
		t.Errorf("ends yesterday: %v, want it refused", err)
	}
	if err := w.mapRow(w.admin, 0, row(today)); err != nil {
		t.Fatalf("ends today: %v", err)
	}
	list := w.mapped()
	if len(list) != 1 || list[0].Values()["expires"] != "2027-01-31" {
		t.Fatalf("on its last day the map is %+v", list)
	}
	w.Move(time.Minute)
	if list = w.mapped(); len(list) != 0 {
		t.Errorf("a day later the map is %+v", list)
	}
}

// A file of more rows than are looked up at once is the same file: what stands in
// the map, what stands in it twice and who is named in two ways is found wherever
// it stands.
func TestMapFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("una")
	w.user("zoe")
	if err := w.mapRow(w.admin, 0, map[string]string{"email": "zoe", "device_id": "c-00599", "id_type": "uuid"}); err != nil {
		t.Fatal(err)
	}
	var file strings.Builder
	file.WriteString("email,device_id,id_type,old_device_name\n")
	for n := range 600 {
		fmt.Fprintf(&file, "%s,c-%05d,uuid,\n", []string{"una", " UNA@example.org"}[n%2], n)
	}
	file.WriteString("zoe,c-00007,uuid,\nzoe,c-00599,uuid,\nzoe,c-00600,uuid,none\nnobody,c-00601,uuid,\n")
	for n := range 300 { // between whom others are looked for
		fmt.Fprintf(&file, "nobody-%d,n-%05d,uuid,\n", n, n)
	}
	var f deploy.MapFile
	w.Write(func(tx *db.Tx) (err error) {
		f, err = deploy.ImportMap(w.Context(), tx, w.admin, w.Ring, w.Org.ID, strings.NewReader(file.String()))
		return err
	})
	if f.Good != 599 || f.Exists != 0 || f.Bad != 305 {
		t.Errorf("of the file %d are good, %d there and %d bad, want 599, 0 and 305", f.Good, f.Exists, f.Bad)
	}
	for line, key := range map[int]string{599: "deploy.map.taken", 600: "deploy.map.twice", 601: "deploy.map.twice", 602: "deploy.map.old", 603: "deploy.map.user"} {
		if e := errs.Find(f.Rows[line].Reason); e == nil || e.Key != key {
			t.Errorf("line %d of the file: %v, want %s", f.Rows[line].Line, f.Rows[line].Reason, key)
		}
	}
	w.Read(func(tx *db.Tx) (err error) {
		f, err = deploy.CheckMap(w.Context(), tx, w.admin, w.Org.ID, strings.NewReader(file.String()))
		return err
	})
	if f.Good != 0 || f.Exists != 599 {
		t.Errorf("a second time %d are good and %d there, want 0 and 599", f.Good, f.Exists)
	}
}
