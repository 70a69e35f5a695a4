package vault

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// An owner's privacy keeps administrators out at once, also of what they opened
// before; the owner is never kept out.
func TestPrivacyShutsTheVault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.newUser(w.org)
	d := alice.newDevice()
	d.backup("a")
	admin := access.Caller{Kind: access.AdminKind, Role: access.ServerAdmin, Org: w.org, User: "a", Session: "a"}
	o, err := w.Opening(t.Context(), admin, d.head)
	if err != nil {
		t.Fatal(err)
	}
	w.write(`UPDATE users SET privacy_on = TRUE WHERE id = $1`, string(alice.ID))
	shut := func(what string, err error) {
		t.Helper()
		if e := errs.Find(err); e == nil || e.Kind != errs.Forbidden || e.Key != "data.private" || !errors.As(err, new(*audit.Denial)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = w.Opening(t.Context(), admin, d.head)
	shut("what was opened before", err)
	shut("a download from it", w.Took(t.Context(), admin, o, Taken{Folder: "/", Names: []string{"a"}}))
	again := admin
	again.Session = "b"
	_, err = w.Opening(t.Context(), again, d.head)
	shut("another log-in", err)
	_, err = w.OpeningFor(t.Context(), again, d.head, nil)
	shut("for a key", err)
	// Whoever is inside when it is shut: the record is not written either.
	w.write(`UPDATE users SET privacy_on = FALSE WHERE id = $1`, string(alice.ID))
	var s Snapshot
	err = w.db.Read(t.Context(), func(tx *db.Tx) (err error) {
		s, err = w.byHash(t.Context(), tx, again, d.head)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.write(`UPDATE users SET privacy_on = TRUE WHERE id = $1`, string(alice.ID))
	_, err = w.openNow(t.Context(), again, s)
	shut("shut between the question and the opening", err)
	if n := w.count(`SELECT count(*) FROM audit WHERE action = 'data.read.others'`); n != 1 {
		t.Errorf("%d openings by administrators are recorded, want 1", n)
	}
	if _, err := w.Opening(t.Context(), alice.caller("login"), d.head); err != nil {
		t.Errorf("the owner: %v", err)
	}
	w.write(`UPDATE users SET privacy_on = FALSE WHERE id = $1`, string(alice.ID))
	if _, err := w.Opening(t.Context(), again, d.head); err != nil {
		t.Errorf("after the owner let administrators in: %v", err)
	}
}

// Downloads are recorded once for an opening, and their names for the owner
// alone.
func TestTook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.newUser(w.org)
	d := alice.newDevice()
	d.backup("a")
	by := alice.caller("login")
	o, err := w.Opening(t.Context(), by, d.head)
	if err != nil {
		t.Fatal(err)
	}
	many := Taken{Folder: "/home", Archive: true}
	for i := range 30 {
		many.Names = append(many.Names, strings.Repeat("x", i+1))
	}
	for _, x := range []Taken{{Folder: "/home", Names: []string{"letter to my doctor.odt"}}, {Folder: "/home", Names: []string{"letter to my doctor.odt"}}, many} {
		if err := w.Took(t.Context(), by, o, x); err != nil {
			t.Fatal(err)
		}
	}
	other, err := w.Opening(t.Context(), alice.caller("another"), d.head)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Took(t.Context(), alice.caller("another"), other, Taken{Folder: "/home", Names: []string{"letter to my doctor.odt"}}); err != nil {
		t.Fatal(err)
	}
	var rows []audit.Row
	err = w.db.Read(t.Context(), func(tx *db.Tx) (err error) {
		rows, err = audit.List(t.Context(), tx, access.System("test"), audit.Filter{Action: access.Download})
		return err
	})
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d downloads are recorded, want 3: %v", len(rows), err)
	}
	text, _ := json.Marshal(rows)
	if strings.Contains(string(text), "doctor") || strings.Contains(string(text), "xxx") || strings.Contains(string(text), "/home") {
		t.Errorf("the audit tells names: %s", text)
	}
	if got, ok := w.TakenIn(by, rows[2]); !ok || got.Archive || got.Folder != "/home" || got.Names[0] != "letter to my doctor.odt" || got.Count != 1 {
		t.Errorf("the owner reads %+v, %v", got, ok)
	}
	if got, ok := w.TakenIn(by, rows[1]); !ok || !got.Archive || got.Count != 30 || len(got.Names) != 20 {
		t.Errorf("the owner reads of the archive %+v, %v", got, ok)
	}
	for name, x := range map[string]access.Caller{"an administrator": {Kind: access.AdminKind, Role: access.ServerAdmin, Org: w.org, User: "a"},
		"a colleague": w.newUser(w.org).caller("c"), "the device": d.caller, "the server": access.System("test"), "nobody": {}} {
		if got, ok := w.TakenIn(x, rows[2]); ok || got.Folder != "" {
			t.Errorf("%s reads %+v", name, got)
		}
	}
	// A record that was put under another owner does not open.
	rows[2].Owner = w.newUser(w.org).ID
	if _, ok := w.TakenIn(access.Caller{Kind: access.UserKind, Org: w.org, User: rows[2].Owner}, rows[2]); ok {
		t.Error("names open for another owner")
	}
}
