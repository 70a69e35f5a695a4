package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/settings"
)

func (w *world) check(file string, opts accounts.ImportOptions) (accounts.Import, error) {
	w.Helper()
	return accounts.CheckImport(w.Context(), w.DB, system, w.Org.ID, strings.NewReader(file), opts)
}

func (w *world) run(id string) (accounts.Import, error) {
	w.Helper()
	run, err := w.beginImport(id)
	if err != nil {
		return accounts.Import{}, err
	}
	err = run.Finish(w.Context())
	return run.Import, err
}

func activate(username string) string { return "activate " + username }

func (w *world) beginImport(id string) (*accounts.Run, error) {
	w.Helper()
	return accounts.BeginImport(w.Context(), w.DB, system, w.Ring, w.Hasher, server, id, activate)
}

// imported is what is kept of an import.
func (w *world) imported(id string) (i accounts.Import) {
	w.Helper()
	w.Write(func(tx *db.Tx) (err error) {
		i, err = accounts.FindImport(w.Context(), tx, system, id)
		return err
	})
	return i
}

// outcome is a row in short.
func outcome(i accounts.Import) (lines []string) {
	for _, r := range i.Rows {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%d %s %s %s", r.Line, r.Username, r.Status, r.Reason)))
	}
	return lines
}

// The column of quotas: as people write sizes, nothing for the profile's.
func TestImportedQuotas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var file strings.Builder
	file.WriteString("username,quota\n")
	cells := []struct {
		text string
		want int64 // -1: the profile's, -2: refused
	}{
		{"", -1}, {"0", 0}, {"50 GB", 50_000_000_000}, {"500MB", 500_000_000}, {" 1.5 tb ", 1_500_000_000_000}, {`"1,5 TB"`, 1_500_000_000_000}, {"0.5 MB", 500_000},
		{"50", -2}, {"GB", -2}, {"-1 GB", -2}, {"1 PB", -2}, {"NaN", -2}, {"inf GB", -2}, {"1e30 TB", -2}, {"5 GB 2", -2},
	}
	for n, c := range cells {
		fmt.Fprintf(&file, "u%02d,%s\n", n, c.text)
	}
	i, err := w.check(file.String(), accounts.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if i, err = w.run(i.ID); err != nil || i.Made != 7 || i.Bad != 8 {
		t.Fatalf("made %d, bad %d, %v: %q", i.Made, i.Bad, err, outcome(i))
	}
	for n, c := range cells {
		name := fmt.Sprintf("u%02d", n)
		if c.want == -2 {
			if r := i.Rows[n]; r.Status != "bad" || !strings.HasPrefix(r.Reason, "import.quota.invalid") {
				t.Errorf("%q is %s, %s", c.text, r.Status, r.Reason)
			}
			continue
		}
		got := int64(-1)
		if q := w.Named(name).Quota; q != nil {
			got = *q
		}
		if got != c.want {
			t.Errorf("%q is %d, want %d", c.text, got, c.want)
		}
	}
}

func (w *world) users() int {
	w.Helper()
	n := 0
	w.Write(func(tx *db.Tx) (err error) {
		n, err = accounts.Count(w.Context(), tx, system, accounts.Filter{Org: w.Org.ID, Kind: access.UserKind})
		return err
	})
	return n
}

const goodFile = `username,email,first_name,last_name,profile,licence,language,send_mail
una,una@example.org,Una,Nemo,Staff,One,fr,yes
vic,vic@example.org,"Vic, the second",,,,,
wil,,,,,,,
`

func TestImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.Licence("One", 5, 0)
	profile := w.profile("Staff")
	opts := accounts.ImportOptions{Profiles: map[string]access.ProfileID{"staff": profile}, SendMail: true}
	i, err := w.check(goodFile, opts)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"2 una good", "3 vic good", "4 wil good"}
	if got := outcome(i); !slices.Equal(got, want) || i.Good != 3 || i.Bad+i.Exists+i.Made != 0 || i.State != "checked" {
		t.Errorf("checked %q, %+v", got, i)
	}
	if n := w.users(); n != 0 {
		t.Errorf("the check made %d users", n)
	}
	i, err = w.run(i.ID)
	if err != nil || i.Made != 3 || i.Good != 0 || i.State != "done" {
		t.Fatalf("made %d, %v: %q", i.Made, err, outcome(i))
	}
	una := w.Named("una")
	if una.Name() != "Una Nemo" || una.Email != "una@example.org" || una.Language != "fr" || una.Profile != profile || orgs.LicenceID(una.Licence) != l.ID ||
		una.State != accounts.Invited || una.Org != w.Org.ID || len(una.Keys.Wrapped) == 0 {
		t.Errorf("made %+v", una)
	}
	if vic := w.Named("vic"); vic.FirstName != "Vic, the second" {
		t.Errorf("made %+v", vic)
	}
	// The invitations say all that a single one says. Who has no address has none.
	mails := w.Mails()
	if len(mails) != 2 || mails[0].To != "una@example.org" || mails[0].Values["command"] != "activate una" {
		t.Fatalf("mailed %+v", mails)
	}
	if ok, err := una.Knows(t.Context(), w.Hasher, mails[0].Values["secret"]); !ok || err != nil {
		t.Errorf("the mailed secret is good %v, %v", ok, err)
	}
	if !w.goodLink(accounts.ForActivation, w.Token(mails[0].Values["link"], "/password")) {
		t.Error("the mailed link is not good")
	}
	// Many mails at once are sent one after another.
	w.Write(func(tx *db.Tx) error {
		var first, last int64
		err := tx.QueryRow(t.Context(), "SELECT min(next_at), max(next_at) FROM outbox").Scan(&first, &last)
		if last <= first {
			t.Errorf("all mails are due at once")
		}
		return err
	})
	if w.Named("wil").HasPassword() {
		t.Error("who was sent no secret has one")
	}
	rows := w.Audit(audit.Filter{Object: "import/" + i.ID})
	if len(rows) != 1 || rows[0].Details[0] != (audit.Detail{Name: "made", After: float64(3)}) {
		t.Errorf("recorded %+v", rows)
	}
	if _, err := w.run(i.ID); errs.KindOf(err) != errs.Conflict {
		t.Errorf("run twice: %v, want Conflict", err)
	}

	// Again, with a row more: only that one is made, and nobody is mailed twice.
	i, err = w.check(goodFile+"xenia,xenia@example.org,,,,,,no\n", opts)
	if err != nil || i.Exists != 3 || i.Good != 1 {
		t.Fatalf("again: %v, %q", err, outcome(i))
	}
	if i, err = w.run(i.ID); err != nil || i.Made != 1 || i.Exists != 3 || len(w.Mails()) != 2 || w.users() != 4 {
		t.Errorf("again: %v, %q, %d mails, %d users", err, outcome(i), len(w.Mails()), w.users())
	}
}

// profile makes a row that a user can refer to.
func (w *world) profile(name string) access.ProfileID {
	w.Helper()
	id := access.ProfileID("profile-" + name)
	w.Write(func(tx *db.Tx) error {
		_, err := tx.Exec(w.Context(), `INSERT INTO profiles (id, org, name, name_key, description, is_default, revision, settings, created_at, updated_at)
			VALUES ($1, $2, $3, $4, '', FALSE, 1, '{}', 0, 0)`, id, w.Org.ID, name, orgs.Fold(name))
		return err
	})
	return id
}

func TestImportRefusesRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock()
	w.User("there")
	w.Admin("boss", access.Viewer)
	gone := w.User("gone")
	if err := w.setState(gone.ID, accounts.Deleted); err != nil {
		t.Fatal(err)
	}
	old := w.User("old")
	renamed := "renamed"
	w.Write(func(tx *db.Tx) error {
		_, err := accounts.Update(t.Context(), tx, system, old.ID, accounts.Changes{Username: &renamed})
		return err
	})
	i, err := w.check(strings.Join([]string{"UserName;EMAIL;language;profile;licence;send_mail;error",
		"good;good@example.org;EN;;;oui;",
		"GOOD;;;;;;",
		"There;other@example.org;;;;;",
		"BOSS;;;;;;",
		"gone;;;;;;",
		"old;;;;;;",
		";x@example.org;;;;;",
		"a;no address;;;;;",
		"b;;de;;;;",
		"c;;;Nobody's;;;",
		"d;;;;Nobody's;;",
		"e;e@example.org;;;;maybe;",
		"f;;;;;yes;",
		"g;;;;;;;one;more",
		"\"tab\there\";;;;;;",
		strings.Repeat("x", 65) + ";;;;;;",
		";;;;;;",
		"",
		"h;;;;;;was wrong before",
	}, "\r\n"), accounts.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"2 good good", "3 GOOD bad import.row.twice", "4 There exists", "5 BOSS bad user.username.taken", "6 gone bad user.username.taken",
		"7 old bad user.username.taken", "8  bad user.username.empty", "9 a bad user.email.invalid", "10 b bad user.language.unknown",
		"11 c bad import.profile.unknown", "12 d bad import.licence.unknown", "13 e bad import.send_mail.invalid", "14 f bad user.email.none",
		"15 g bad import.row.fields", "16 tab\there bad user.username.characters", "17 " + strings.Repeat("x", 65) + " bad user.username.long", "20 h good"}
	if got := outcome(i); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if i.Good != 2 || i.Exists != 1 || i.Bad != 14 {
		t.Errorf("counted %d good, %d there, %d bad", i.Good, i.Exists, i.Bad)
	}
	if i, err = w.run(i.ID); err != nil || i.Made != 2 || i.Bad != 14 {
		t.Errorf("run: %v, %q", err, outcome(i))
	}
	if got := w.Find(w.Named("good").ID); got.Language != "en" {
		t.Errorf("made %+v", got)
	}
}

func TestImportKeepsAddressesApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	const file = "username,email\na,una@example.org\nb,b@example.org\nc,B@example.org\n"
	if i, err := w.check(file, accounts.ImportOptions{}); err != nil || i.Good != 3 {
		t.Errorf("where they are shared: %v, %q", err, outcome(i))
	}
	w.Set(func(s *settings.Settings) { s.Registration.SharedEmails = false })
	i, err := w.check(file, accounts.ImportOptions{})
	if got := outcome(i); err != nil || !slices.Equal(got, []string{"2 a bad user.email.taken", "3 b good", "4 c bad user.email.taken"}) {
		t.Errorf("where they are not: %v, %q", err, got)
	}
}

func TestWhoMayImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	i, err := w.check("username\nx\n", accounts.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	org := w.Admin("org", access.OrgAdmin)
	var other orgs.Org
	w.Write(func(tx *db.Tx) (err error) {
		other, err = orgs.Create(t.Context(), tx, system, w.Ring, "Other")
		return err
	})
	stranger := org.Caller(from)
	stranger.Org = other.ID
	for name, c := range map[string]struct {
		by   access.Caller
		want errs.Kind
	}{
		"a user": {w.User("una").Caller(from), errs.NotFound}, "a viewer": {w.Admin("viewer", access.Viewer).Caller(from), errs.Forbidden},
		"another organisation's": {stranger, errs.NotFound}, "nobody": {access.Caller{}, errs.Unauthenticated},
	} {
		if _, err := accounts.CheckImport(t.Context(), w.DB, c.by, w.Org.ID, strings.NewReader("username\ny\n"), accounts.ImportOptions{}); errs.KindOf(err) != c.want {
			t.Errorf("%s checks: %v, want kind %d", name, err, c.want)
		}
		if _, err := accounts.BeginImport(t.Context(), w.DB, c.by, w.Ring, w.Hasher, server, i.ID, nil); errs.KindOf(err) != c.want {
			t.Errorf("%s runs: %v, want kind %d", name, err, c.want)
		}
	}
	move(day)
	if _, err := w.run(i.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a day later: %v, want NotFound", err)
	}
}

// What fails when it is run fails for its row alone, and leaves nothing behind.
func TestImportWhenThingsHaveChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Licence("One", 1, 0)
	w.hard()
	i, err := w.check("username\na\nb\nc\nd\n", accounts.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.User("b")                 // who came in between
	w.Admin("c", access.Viewer) // and took a name
	w.Set(func(s *settings.Settings) { s.Licences.ReserveOnInvite = true })
	i, err = w.run(i.ID)
	want := []string{"2 a made", "3 b exists", "4 c bad user.username.taken", "5 d bad error.E1301"}
	if got := outcome(i); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %q, want %q", err, got, want)
	}
	for _, r := range w.Audit(audit.Filter{Action: access.ManageUsers, Limit: 500}) {
		if s := fmt.Sprint(r.Details); strings.Contains(s, "username <nil> d") {
			t.Errorf("a user who was not made is recorded: %s", s)
		}
	}
	w.Write(func(tx *db.Tx) error {
		again, err := accounts.FindImport(t.Context(), tx, system, i.ID)
		if got := outcome(again); !slices.Equal(got, want) {
			t.Errorf("kept is %q", got)
		}
		return err
	})
}

func names(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint("n", i))
	}
	return list
}

// Ten thousand users come in well within the patience of who waits, and the
// others get their turn all the while.
func TestImportOfTenThousand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var b strings.Builder
	b.WriteString("username,email,first_name,last_name,send_mail\n")
	for n := range manyRows {
		fmt.Fprintf(&b, "u%d,u%d@example.org,First %d,Last %d,%s\n", n, n, n, n, []string{"yes", "no"}[n%2])
	}
	began := time.Now()
	i, err := accounts.CheckImport(t.Context(), w.DB, system, w.Org.ID, io.LimitReader(strings.NewReader(b.String()), 1<<30), accounts.ImportOptions{})
	if err != nil || i.Good != manyRows {
		t.Fatalf("checked %d, %v", i.Good, err)
	}
	t.Logf("checked in %v", time.Since(began))
	began = time.Now()
	stop, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		var most time.Duration
		for {
			select {
			case <-stop:
				longest <- most
				return
			case <-time.After(50 * time.Millisecond):
			}
			start := time.Now()
			err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
				_, err := tx.Exec(t.Context(), "UPDATE orgs SET updated_at = updated_at WHERE id = $1", w.Org.ID)
				return err
			})
			if err != nil {
				t.Error(err)
			}
			most = max(most, time.Since(start))
		}
	}()
	run, err := w.beginImport(i.ID)
	if err != nil {
		t.Fatal(err)
	}
	err = run.Finish(t.Context())
	i = run.Import
	took := time.Since(began)
	close(stop)
	waited := <-longest
	if err != nil || i.Made != manyRows {
		t.Fatalf("made %d, %v", i.Made, err)
	}
	if kept := w.imported(i.ID); kept.State != accounts.ImportDone || kept.Done != manyRows || kept.Total != manyRows {
		t.Errorf("kept as %s, %d of %d", kept.State, kept.Done, kept.Total)
	}
	t.Logf("made in %v; somebody else waited at most %v", took, waited)
	if took > 3*time.Minute || waited > 5*time.Second {
		t.Errorf("it took %v, and somebody else waited %v", took, waited)
	}
	if n := w.users(); n != manyRows {
		t.Errorf("%d users", n)
	}
	began = time.Now()
	again, err := w.check(b.String(), accounts.ImportOptions{})
	if err != nil || again.Exists != manyRows {
		t.Errorf("again: %d are there, %v", again.Exists, err)
	}
	t.Logf("checked again in %v", time.Since(began))
}

// Two who run the same file at once make everybody once.
func TestImportRunTwiceAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i, err := w.check("username\n"+strings.Join(names(60), "\n"), accounts.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		i   accounts.Import
		err error
	}
	results := make(chan result)
	for range 2 {
		go func() {
			i, err := w.run(i.ID)
			results <- result{i, err}
		}()
	}
	made := 0
	for range 2 {
		r := <-results
		if errs.KindOf(r.err) == errs.Conflict && r.i.ID == "" {
			continue // the other has it
		}
		if r.err != nil || r.i.Bad > 0 || r.i.Made+r.i.Exists != 60 {
			t.Errorf("%v, %d made, %d there, %d bad", r.err, r.i.Made, r.i.Exists, r.i.Bad)
		}
		made += r.i.Made
	}
	if made != 60 || w.users() != 60 {
		t.Errorf("%d made, %d users", made, w.users())
	}
}

// Who looks meanwhile sees how far a run is, and nobody else begins it. One that
// was stopped can be begun again, whether it said so or fell silent.
func TestImportIsStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	var file strings.Builder
	file.WriteString("username,email\n")
	for _, name := range names(60) {
		fmt.Fprintf(&file, "%s,%s@example.org\n", name, name)
	}
	i, err := w.check(file.String(), accounts.ImportOptions{SendMail: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.beginImport(i.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.beginImport(i.ID); errs.KindOf(err) != errs.Conflict || errs.Find(err).Key != "import.running" {
		t.Errorf("begun twice: %v", err)
	}
	move(3 * time.Minute)
	ctx, stop := context.WithCancel(t.Context())
	run, err := accounts.BeginImport(t.Context(), w.DB, system, w.Ring, w.Hasher, server, i.ID, func(username string) string {
		if username == "n30" {
			if seen := w.imported(i.ID); seen.State != accounts.ImportRunning || seen.Done != 25 || seen.Total != 60 {
				t.Errorf("on the way it is %s with %d of %d", seen.State, seen.Done, seen.Total)
			}
			stop()
		}
		return ""
	})
	if err != nil {
		t.Fatalf("begun after one that fell silent: %v", err)
	}
	if err := run.Finish(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped on its way: %v", err)
	}
	if kept := w.imported(i.ID); kept.State != accounts.ImportChecked || kept.Done != 25 || w.users() != 25 {
		t.Errorf("stopped, it is %s with %d of %d; there are %d users", kept.State, kept.Done, kept.Total, w.users())
	}
	if again, err := w.run(i.ID); err != nil || again.Exists != 25 || again.Made != 35 {
		t.Errorf("run again: %v, %d there, %d made", err, again.Exists, again.Made)
	}
	var list []accounts.Import
	w.Write(func(tx *db.Tx) (err error) {
		list, err = accounts.Imports(t.Context(), tx, system, w.Org.ID)
		return err
	})
	if len(list) != 1 || list[0].ID != i.ID || list[0].State != accounts.ImportDone || list[0].Done != 60 {
		t.Errorf("listed %+v", list)
	}
}
