package approvals_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/accounts/accountstest"
	"github.com/backstay/backstay/server/approvals"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/settings"
)

const (
	act    = "test" // the kind of the tests: it counts how often it is done
	reason = "because it must be"
)

// world has two administrators, ada and bob, and an act that takes both.
type world struct {
	*accountstest.World
	desk     *approvals.Desk
	ada, bob access.Caller
	refuse   error // what the act fails with
	dropped  []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: accountstest.New(t)}
	w.Stop(time.Now().UTC().Truncate(time.Microsecond).Add(time.Minute))
	w.desk = w.newDesk()
	w.ada, w.bob = w.admin("ada", access.OrgAdmin), w.admin("bob", access.OrgAdmin)
	return w
}

func (w *world) newDesk() *approvals.Desk {
	return approvals.New(w.Ring, func() string { return accountstest.Address }, approvals.Kind{Name: act, Action: access.ManageDevices,
		Do: func(ctx context.Context, tx *db.Tx, by access.Caller, a approvals.Approval) error {
			if w.refuse != nil {
				return w.refuse
			}
			return audit.Check(ctx, tx, by, access.ManageDevices, a.Org, "", "deed/"+string(a.Data))
		},
		Drop: func(_ context.Context, _ *db.Tx, a approvals.Approval) error {
			w.dropped = append(w.dropped, string(a.State))
			return nil
		}})
}

func (w *world) admin(name string, role access.Role) access.Caller {
	w.Helper()
	u := w.Made(accounts.New{Kind: access.AdminKind, Role: role, Username: name, Email: name + "@example.org", PasswordHash: w.Hash(accountstest.Password)})
	return u.Caller(access.Caller{IP: "192.0.2.9"})
}

func (w *world) try(f func(tx *db.Tx) (approvals.Approval, error)) (a approvals.Approval, err error) {
	w.Helper()
	err = w.Try(func(tx *db.Tx) (err error) {
		a, err = f(tx)
		return err
	})
	return a, err
}

func (w *world) ask(by access.Caller, data string) (approvals.Approval, error) {
	w.Helper()
	return w.try(func(tx *db.Tx) (approvals.Approval, error) {
		return w.desk.Ask(w.Context(), tx, by, approvals.Request{Kind: act, Org: w.Org.ID, Data: data, Summary: map[string]any{"n": 3}, Reason: reason})
	})
}

func (w *world) asked(data string) approvals.Approval {
	w.Helper()
	a, err := w.ask(w.ada, data)
	if err != nil {
		w.Fatal(err)
	}
	return a
}

func (w *world) approve(by access.Caller, id string) error {
	w.Helper()
	_, err := w.try(func(tx *db.Tx) (approvals.Approval, error) { return w.desk.Approve(w.Context(), tx, by, id) })
	return err
}

func (w *world) state(id string) approvals.State {
	w.Helper()
	var a approvals.Approval
	w.Read(func(tx *db.Tx) (err error) {
		a, err = approvals.Find(w.Context(), tx, id)
		return err
	})
	return a.State
}

func (w *world) carry(id string) approvals.Approval {
	w.Helper()
	a, err := w.desk.CarryOut(w.Context(), w.DB, id)
	if err != nil {
		w.Fatal(err)
	}
	return a
}

// deeds is how often the act was done.
func (w *world) deeds() int {
	w.Helper()
	n := 0
	for _, row := range w.Audit(audit.Filter{Limit: 500}) {
		if row.ObjectKind == "deed" {
			n++
		}
	}
	return n
}

func key(err error) string {
	if e := errs.Find(err); e != nil {
		return e.Key
	}
	return ""
}

func TestTwo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.asked("x")
	if a.State != approvals.Waiting || !a.ExpiresAt.Equal(w.DB.Now().Add(approvals.Life)) {
		t.Errorf("asked: %s until %s", a.State, a.ExpiresAt)
	}
	if w.carry(a.ID); w.deeds() != 0 {
		t.Error("it was done before anybody approved it")
	}
	if err := w.approve(w.bob, a.ID); err != nil {
		t.Fatal(err)
	}
	if got := w.carry(a.ID); got.State != approvals.Done || got.DecidedName != "bob" || w.deeds() != 1 {
		t.Errorf("approved and carried out: %s by %s, done %d times", got.State, got.DecidedName, w.deeds())
	}
	if w.carry(a.ID); w.deeds() != 1 {
		t.Error("it was done twice")
	}
	// Every step is recorded, and told to both administrators.
	var steps []string
	for _, row := range w.Audit(audit.Filter{Limit: 500}) {
		if row.ObjectKind == "approval" {
			steps = append(steps, row.ActorName)
		}
	}
	if slices.Reverse(steps); !slices.Equal(steps, []string{"ada", "bob", "approval of ada and bob"}) {
		t.Errorf("recorded: %q", steps)
	}
	var told []string
	for _, m := range w.Mails() {
		if m.Template != mail.Approval || m.Values["link"] != accountstest.Address+"/admin/approvals/"+a.ID {
			t.Errorf("mail: %+v", m)
		}
		told = append(told, m.Values["state"]+" "+m.To)
	}
	want := []string{"waiting ada@example.org", "waiting bob@example.org", "approved ada@example.org", "approved bob@example.org", "done ada@example.org", "done bob@example.org"}
	if !slices.Equal(told, want) {
		t.Errorf("told: %q, want %q", told, want)
	}
}

// Who may not approve, and why.
func TestApproveIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var elsewhere accounts.User
	w.Write(func(tx *db.Tx) error {
		o, err := orgs.Create(w.Context(), tx, accountstest.System, w.Ring, "Other")
		if err != nil {
			return err
		}
		elsewhere, err = accounts.Create(w.Context(), tx, accountstest.System, w.Ring, accounts.New{Org: o.ID, Kind: access.AdminKind, Role: access.OrgAdmin,
			Username: "elsewhere", PasswordHash: w.Hash("Long enough 1")})
		return err
	})
	second, err := w.Create(w.ada, accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "ada2", PasswordHash: w.Hash("Long enough 1")})
	if err != nil {
		t.Fatal(err)
	}
	reset := w.admin("carl", access.OrgAdmin)
	w.Write(func(tx *db.Tx) error {
		return accounts.SetPassword(w.Context(), tx, w.ada, reset.User, w.Hash("Long enough 2"), false)
	})
	user := w.User("una").Caller(access.Caller{})
	a := w.asked("x")
	for _, c := range []struct {
		name string
		by   access.Caller
		want string
	}{
		{"who asked", w.ada, "approval.own"},
		{"an account that who asked has made", second.Caller(access.Caller{}), "approval.unsettled"},
		{"an account whose password who asked has set", reset, "approval.unsettled"},
		{"a viewer", w.admin("vic", access.Viewer), "access.denied"},
		{"another organisation", elsewhere.Caller(access.Caller{}), "access.not.found"},
		{"a user", user, "access.not.found"},
		{"nobody", access.Caller{}, "access.login.required"},
		{"the system", access.System("job"), "approval.own"},
	} {
		if err := w.approve(c.by, a.ID); key(err) != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	if got := w.state(a.ID); got != approvals.Waiting {
		t.Errorf("after refusals it is %s", got)
	}
	// Three days later somebody would have noticed.
	w.Move(73 * time.Hour)
	a = w.asked("y")
	if err := w.approve(second.Caller(access.Caller{}), a.ID); err != nil {
		t.Errorf("a settled account: %v", err)
	}
}

func TestAskIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.ask(w.admin("vic", access.Viewer), "x"); key(err) != "access.denied" {
		t.Errorf("a viewer asks: %v", err)
	}
	if _, err := w.ask(w.User("una").Caller(access.Caller{}), "x"); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a user asks: %v", err)
	}
	if _, err := w.ask(access.System("job"), "x"); key(err) != "access.denied" {
		t.Errorf("the system asks: %v", err)
	}
	_, err := w.try(func(tx *db.Tx) (approvals.Approval, error) {
		return w.desk.Ask(w.Context(), tx, w.ada, approvals.Request{Kind: act, Org: w.Org.ID, Data: "x", Reason: "short"})
	})
	if key(err) != "user.reason.invalid" {
		t.Errorf("without a reason: %v", err)
	}
	w.asked("x")
	if _, err := w.ask(w.bob, "x"); key(err) != "approval.asked" {
		t.Errorf("the same twice: %v", err)
	}
}

// Where nobody could approve, asking says what to do instead of waiting.
func TestAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Put(w.bob.User, accounts.Disabled)
	if _, err := w.ask(w.ada, "x"); key(err) != "approval.alone" {
		t.Errorf("the only administrator asks: %v", err)
	}
	if _, err := w.Create(w.ada, accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "eve", PasswordHash: w.Hash("Long enough 1")}); err != nil {
		t.Fatal(err)
	}
	_, err := w.ask(w.ada, "x")
	if e := errs.Find(err); e == nil || e.Key != "approval.alone.until" || !e.Args["until"].(time.Time).Equal(w.DB.Now().Add(72*time.Hour)) {
		t.Errorf("with one that was just made: %v", err)
	}
	w.admin("root", access.ServerAdmin) // made at the command line of the server
	if _, err := w.ask(w.ada, "x"); err != nil {
		t.Errorf("with a server administrator: %v", err)
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	end := func(f func(context.Context, *db.Tx, access.Caller, string) (approvals.Approval, error), by access.Caller, id string) error {
		_, err := w.try(func(tx *db.Tx) (approvals.Approval, error) { return f(w.Context(), tx, by, id) })
		return err
	}
	a := w.asked("x")
	if err := end(w.desk.Withdraw, w.bob, a.ID); key(err) != "access.denied" {
		t.Errorf("another withdraws: %v", err)
	}
	if err := end(w.desk.Refuse, w.ada, a.ID); key(err) != "approval.own" {
		t.Errorf("who asked refuses: %v", err)
	}
	if err := end(w.desk.Refuse, w.bob, a.ID); err != nil || w.state(a.ID) != approvals.Refused {
		t.Errorf("refused: %v", err)
	}
	a = w.asked("x") // may be asked again
	if err := end(w.desk.Withdraw, w.ada, a.ID); err != nil || w.state(a.ID) != approvals.Withdrawn {
		t.Errorf("withdrawn: %v", err)
	}
	a = w.asked("x")
	w.Move(approvals.Life)
	if err := w.approve(w.bob, a.ID); key(err) != "approval.over" {
		t.Errorf("approved after a day: %v", err)
	}
	w.Write(func(tx *db.Tx) error {
		n, err := w.desk.Expire(w.Context(), tx)
		if n != 1 {
			t.Errorf("expired: %d", n)
		}
		return err
	})
	if got := w.state(a.ID); got != approvals.Expired {
		t.Errorf("after a day it is %s", got)
	}
	for _, id := range []string{a.ID} {
		for _, f := range []func(context.Context, *db.Tx, access.Caller, string) (approvals.Approval, error){w.desk.Approve, w.desk.Refuse} {
			if err := end(f, w.bob, id); key(err) != "approval.over" {
				t.Errorf("decided again: %v", err)
			}
		}
	}
	if want := []string{"refused", "withdrawn", "expired"}; !slices.Equal(w.dropped, want) {
		t.Errorf("dropped: %q, want %q", w.dropped, want)
	}
	if w.deeds() != 0 {
		t.Error("something was done")
	}
}

// Approved acts can be made to wait, and be stopped by both until they are done.
func TestDelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Set(func(s *settings.Settings) { s.Approvals.DelayMinutes = 60 })
	due := func() (ids []string) {
		w.Read(func(tx *db.Tx) (err error) {
			ids, err = approvals.Due(w.Context(), tx)
			return err
		})
		return ids
	}
	first, second, third := w.asked("1"), w.asked("2"), w.asked("3")
	for _, a := range []approvals.Approval{first, second, third} {
		if err := w.approve(w.bob, a.ID); err != nil {
			t.Fatal(err)
		}
	}
	w.Move(59 * time.Minute)
	if w.carry(first.ID); w.deeds() != 0 || len(due()) != 0 {
		t.Error("it was done before its time")
	}
	if _, err := w.try(func(tx *db.Tx) (approvals.Approval, error) { return w.desk.Withdraw(w.Context(), tx, w.ada, first.ID) }); err != nil {
		t.Error(err)
	}
	if _, err := w.try(func(tx *db.Tx) (approvals.Approval, error) { return w.desk.Refuse(w.Context(), tx, w.bob, second.ID) }); err != nil {
		t.Error(err)
	}
	w.Move(time.Minute)
	if got := due(); !slices.Equal(got, []string{third.ID}) {
		t.Errorf("due: %q", got)
	}
	for _, a := range []approvals.Approval{first, second, third} {
		w.carry(a.ID)
	}
	if w.deeds() != 1 {
		t.Errorf("done %d times, want once", w.deeds())
	}
}

// What has changed between asking and doing keeps the act from being done.
func TestFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Set(func(s *settings.Settings) { s.Approvals.DelayMinutes = 60 })
	held := errs.Of(errs.LegalHold)
	for _, c := range []struct {
		name   string
		change func(id string)
		want   string
	}{
		{"on hold meanwhile", func(string) { w.refuse = held }, held.Key},
		{"other data", func(id string) {
			w.refuse = nil
			w.Write(func(tx *db.Tx) error {
				_, err := tx.Exec(w.Context(), `UPDATE approvals SET data = '"everything"' WHERE id = $1`, id)
				return err
			})
		}, "approval.changed"},
		{"another summary", func(id string) {
			w.Write(func(tx *db.Tx) error {
				_, err := tx.Exec(w.Context(), `UPDATE approvals SET summary = '{"n":1}' WHERE id = $1`, id)
				return err
			})
		}, "approval.changed"},
		{"who approved is no administrator any more", func(string) { w.Put(w.bob.User, accounts.Disabled) }, "approval.person"},
	} {
		a := w.asked(c.name)
		if err := w.approve(w.bob, a.ID); err != nil {
			t.Fatal(err)
		}
		c.change(a.ID)
		w.Move(time.Hour)
		got := w.carry(a.ID)
		if got.State != approvals.Failed || got.Failure == nil || got.Failure.Key != c.want || w.state(a.ID) != approvals.Failed {
			t.Errorf("%s: %s, %v; want failed, %s", c.name, got.State, got.Failure, c.want)
		}
	}
	if w.deeds() != 0 || len(w.dropped) != 4 {
		t.Errorf("done %d times, dropped %d times", w.deeds(), len(w.dropped))
	}
	// Changed before it is approved, it is not approved.
	w.Put(w.bob.User, accounts.Active)
	a := w.asked("y")
	w.Write(func(tx *db.Tx) error {
		_, err := tx.Exec(w.Context(), `UPDATE approvals SET data = '"everything"' WHERE id = $1`, a.ID)
		return err
	})
	if err := w.approve(w.bob, a.ID); key(err) != "approval.changed" {
		t.Errorf("approving what was changed: %v", err)
	}
	// A database that is away is no failure of the act.
	w.refuse = errs.New(errs.Unavailable, "error.away")
	b := w.asked("z")
	if err := w.approve(w.bob, b.ID); err != nil {
		t.Fatal(err)
	}
	w.Move(time.Hour)
	if _, err := w.desk.CarryOut(w.Context(), w.DB, b.ID); !errors.Is(err, w.refuse) || w.state(b.ID) != approvals.Approved {
		t.Errorf("away: %v, %s", err, w.state(b.ID))
	}
	w.refuse = nil
	if w.carry(b.ID); w.deeds() != 1 {
		t.Error("it was not done when the database was back")
	}
}

// Ten approve at once, and two servers carry it out: it is approved and done
// once.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	beside := dbtest.Open(t, w.DSN)
	beside.Now = w.DB.Now
	var admins []access.Caller
	for i := range 10 {
		admins = append(admins, w.admin("admin"+string(rune('a'+i)), access.OrgAdmin))
	}
	a := w.asked("x")
	var all sync.WaitGroup
	var mu sync.Mutex
	approved := 0
	for i, by := range admins {
		store := []*db.DB{w.DB, beside}[i%2]
		all.Go(func() {
			err := store.Write(t.Context(), func(tx *db.Tx) error {
				_, err := w.desk.Approve(t.Context(), tx, by, a.ID)
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				approved++
			} else if key(err) != "approval.over" {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range 10 {
		all.Go(func() {
			if _, err := w.desk.CarryOut(t.Context(), []*db.DB{w.DB, beside}[i%2], a.ID); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if approved != 1 || w.deeds() != 1 {
		t.Errorf("approved %d times and done %d times, want once each", approved, w.deeds())
	}
}

// That an act takes two is itself taken away by two only.
func TestRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	root, boss := w.admin("root", access.ServerAdmin), w.admin("boss", access.ServerAdmin)
	set := func(by access.Caller, rules settings.Approvals) (a approvals.Approval, asked bool, err error) {
		err = w.Try(func(tx *db.Tx) (err error) {
			a, asked, err = w.desk.SetRules(w.Context(), tx, by, rules, reason)
			return err
		})
		return a, asked, err
	}
	rules := func() settings.Approvals {
		var s settings.Settings
		w.Read(func(tx *db.Tx) (err error) {
			s, err = settings.Load(w.Context(), tx)
			return err
		})
		return s.Approvals
	}
	if _, asked, err := set(root, settings.Approvals{DelayMinutes: 60}); asked || err != nil || rules().DelayMinutes != 60 {
		t.Errorf("a delay: asked %v, %v, %+v", asked, err, rules())
	}
	if _, _, err := set(w.ada, settings.Approvals{DelayMinutes: 0}); errs.KindOf(err) != errs.NotFound && errs.KindOf(err) != errs.Forbidden {
		t.Errorf("an organisation's administrator: %v", err)
	}
	a, asked, err := set(root, settings.Approvals{Alone: []string{act}})
	if !asked || err != nil || len(rules().Alone) != 0 {
		t.Fatalf("fewer acts: asked %v, %v, %+v", asked, err, rules())
	}
	for _, l := range locale.Langs() {
		if words := a.Words(locale.For(l)); words == "" {
			t.Error("it cannot be said")
		}
	}
	// Not by any other way either.
	err = w.Try(func(tx *db.Tx) error {
		return settings.Change(w.Context(), tx, root, func(s *settings.Settings) error {
			s.Approvals = settings.Approvals{Alone: []string{act}}
			return nil
		})
	})
	if key(err) != "settings.approvals.two" {
		t.Errorf("past the approval: %v", err)
	}
	if err := w.approve(w.bob, a.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("an organisation's administrator approves: %v", err)
	}
	if err := w.approve(boss, a.ID); err != nil {
		t.Fatal(err)
	}
	w.Move(time.Hour)
	if w.carry(a.ID); !slices.Equal(rules().Alone, []string{act}) || rules().DelayMinutes != 0 {
		t.Errorf("rules: %+v", rules())
	}
	b := w.asked("alone")
	if b.State != approvals.Approved {
		t.Errorf("alone: %s", b.State)
	}
	if w.carry(b.ID); w.deeds() != 1 {
		t.Error("it was not done")
	}
	if _, asked, err := set(root, settings.Approvals{}); asked || err != nil || len(rules().Alone) != 0 {
		t.Errorf("more acts: asked %v, %v, %+v", asked, err, rules())
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.asked("1")
	w.asked("2")
	list := func(by access.Caller, open bool) (n int, err error) {
		err = w.DB.Read(t.Context(), func(tx *db.Tx) error {
			list, err := w.desk.List(t.Context(), tx, by, w.Org.ID, open)
			n = len(list)
			return err
		})
		return n, err
	}
	if _, err := w.try(func(tx *db.Tx) (approvals.Approval, error) { return w.desk.Refuse(t.Context(), tx, w.bob, a.ID) }); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		by   access.Caller
		open bool
		want int
	}{{w.bob, true, 1}, {w.bob, false, 2}, {w.admin("vic", access.Viewer), false, 0}, {w.admin("root", access.ServerAdmin), true, 1}} {
		if got, err := list(c.by, c.open); got != c.want || err != nil {
			t.Errorf("%s sees %d, %v; want %d", c.by.Name, got, err, c.want)
		}
	}
	if _, err := list(w.User("una").Caller(access.Caller{}), true); err == nil {
		t.Error("a user sees the list")
	}
	w.Move(approvals.Life)
	if got, _ := list(w.bob, true); got != 0 {
		t.Errorf("%d wait after their time", got)
	}
}

// An act is said with its numbers as the language counts.
func TestWords(t *testing.T) {
	t.Parallel()
	for lang, want := range map[locale.Lang][2]string{
		locale.English: {"of 1 device (users: 1)", "of 1,234 devices (users: 1)"},
		locale.French:  {"de 1 appareil (utilisateurs : 1)", "de 1 234 appareils (utilisateurs : 1)"},
	} {
		for i, n := range []float64{1, 1234} {
			words := approvals.Approval{Kind: "reset", Summary: map[string]any{"name": "November", "n": n, "users": 1.0}}.Words(locale.For(lang))
			words = strings.NewReplacer("\u00a0", " ", "\u202f", " ").Replace(words)
			if !strings.HasSuffix(words, want[i]) {
				t.Errorf("%v devices are %q, want %q", n, words, want[i])
			}
		}
	}
}
