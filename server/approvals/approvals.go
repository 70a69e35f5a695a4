// Package approvals keeps what one administrator asks for and another has to
// allow: acts that cannot be taken back, or that stop many people at once. Who
// asks says why; within a day another administrator, who could do the act
// themselves, approves or refuses it. Then it is carried out, once, in the
// transaction that says so. What was asked cannot be changed on the way.
//
// The acts are Kinds. Each feature has its own, and the Desk knows them all.
package approvals

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/settings"
)

const (
	// Life is how long an act waits for a second administrator.
	Life = 24 * time.Hour

	// settled is for how long an account must have been left alone by other
	// administrators before it approves anything: long enough for somebody to
	// notice one that was made, or whose password was reset, for the purpose.
	settled = 72 * time.Hour
)

// State says what has become of an act.
type State string

// The states.
const (
	Waiting   State = "waiting"
	Approved  State = "approved" // and will be carried out
	Refused   State = "refused"
	Withdrawn State = "withdrawn"
	Expired   State = "expired"
	Done      State = "done"
	Failed    State = "failed" // approved, and could not be carried out
)

// Open reports whether it may still be carried out.
func (s State) Open() bool { return s == Waiting || s == Approved }

// Kind is an act that takes two administrators.
type Kind struct {
	Name   string        // it is stored, and stands in the keys of its messages
	Action access.Action // that both of them may do
	Always bool          // no setting lets one administrator do it alone

	// Do carries the act out. It fails when that is no longer possible, and
	// then nothing has happened.
	Do func(ctx context.Context, tx *db.Tx, by access.Caller, a Approval) error

	// Drop undoes what was prepared for an act that comes to nothing; nil when
	// nothing is.
	Drop func(ctx context.Context, tx *db.Tx, a Approval) error
}

// Desk is where acts are asked for and decided.
type Desk struct {
	keys    *keys.Ring
	console func() string // where administrators reach this server
	kinds   []Kind
}

// New makes a desk for these kinds of acts.
func New(ring *keys.Ring, console func() string, kinds ...Kind) *Desk {
	d := &Desk{keys: ring, console: console}
	d.kinds = append(slices.Clone(kinds), d.rules())
	return d
}

// Kinds are those that the settings may leave to one administrator.
func (d *Desk) Kinds() []string {
	var names []string
	for _, k := range d.kinds {
		if !k.Always {
			names = append(names, k.Name)
		}
	}
	return names
}

func (d *Desk) kind(name string) (Kind, error) {
	for _, k := range d.kinds {
		if k.Name == name {
			return k, nil
		}
	}
	return Kind{}, fmt.Errorf("nobody knows how to do %q", name)
}

// Request is what an administrator asks for.
type Request struct {
	Kind    string
	Org     orgs.ID // empty: the server's
	Data    any     // what the act needs to know; its Do gets it in JSON
	Summary map[string]any
	Reason  string // 10 to 150 characters
}

// Approval is an act that was asked for. Summary are the values of the message
// that says it in words, approval.act.KIND; n, if it is there, is counted.
type Approval struct {
	ID      string
	Org     orgs.ID
	Kind    string
	Data    json.RawMessage
	Summary map[string]any
	Reason  string
	State   State

	AskedBy   accounts.ID
	AskedName string
	AskedAt   time.Time
	ExpiresAt time.Time

	DecidedBy   accounts.ID
	DecidedName string
	DecidedAt   time.Time
	NotBefore   time.Time // when an approved act is carried out
	EndedAt     time.Time
	Failure     *errs.Error // why it failed, nil when it did not

	summary string
	seal    []byte
}

func (a Approval) object() string { return "approval/" + a.ID }

// Read puts what the act needs to know into data.
func (a Approval) Read(data any) error {
	if err := json.Unmarshal(a.Data, data); err != nil {
		return fmt.Errorf("reading what approval %s is about: %w", a.ID, err)
	}
	return nil
}

// mac is the seal of everything that whoever approves it has read.
func (a Approval) mac(ring *keys.Ring) []byte {
	var parts [][]byte
	for _, s := range []string{a.ID, string(a.Org), a.Kind, string(a.Data), a.summary, a.Reason, string(a.AskedBy)} {
		parts = append(parts, []byte(s))
	}
	return ring.MAC("approval", parts...)
}

// intact refuses an act that is no longer what was asked for.
func (d *Desk) intact(a Approval) error {
	if !bytes.Equal(a.seal, a.mac(d.keys)) {
		return errs.New(errs.Conflict, "approval.changed").Because(a.denial(""))
	}
	return nil
}

func (a Approval) denial(action access.Action) *audit.Denial {
	return &audit.Denial{Action: action, Org: a.Org, Object: a.object()}
}

// Ask asks for an act. An administrator who could do it must be there besides
// by, or it would wait in vain. Where the settings leave the act to one
// administrator it is approved already, and CarryOut does it.
func (d *Desk) Ask(ctx context.Context, tx *db.Tx, by access.Caller, r Request) (Approval, error) {
	kind, err := d.kind(r.Kind)
	if err != nil {
		return Approval{}, err
	}
	a, err := d.draft(tx, by, r)
	if err != nil {
		return Approval{}, err
	}
	err = audit.Check(ctx, tx, by, kind.Action, a.Org, "", a.object(), audit.Note("act", a.Kind), audit.Note("state", a.State),
		audit.Note("reason", a.Reason), audit.Note("summary", a.Summary))
	if err != nil {
		return Approval{}, err
	}
	if by.Kind != access.AdminKind {
		return Approval{}, errs.New(errs.Forbidden, "access.denied").Because(a.denial(kind.Action))
	}
	if err := accounts.CheckReason(a.Reason); err != nil {
		return Approval{}, err
	}
	if err := d.notYet(ctx, tx, a); err != nil {
		return Approval{}, err
	}
	set, err := settings.Load(ctx, tx)
	if err != nil {
		return Approval{}, err
	}
	if !kind.Always && slices.Contains(set.Approvals.Alone, kind.Name) {
		a.approve(by, tx.Now(), set.Approvals)
	} else if err := d.second(ctx, tx, by, kind, a.Org); err != nil {
		return Approval{}, err
	}
	if err := insert(ctx, tx, a); err != nil {
		return Approval{}, err
	}
	return a, d.tell(ctx, tx, a)
}

func (d *Desk) draft(tx *db.Tx, by access.Caller, r Request) (a Approval, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Approval{}, fmt.Errorf("naming an approval: %w", err)
	}
	a = Approval{ID: id.String(), Org: r.Org, Kind: r.Kind, Summary: r.Summary, Reason: strings.TrimSpace(r.Reason), State: Waiting,
		AskedBy: by.User, AskedName: by.Name, AskedAt: tx.Now(), ExpiresAt: tx.Now().Add(Life)}
	if a.Data, err = json.Marshal(r.Data); err != nil {
		return Approval{}, fmt.Errorf("asking for %s: %w", r.Kind, err)
	}
	summary, err := json.Marshal(r.Summary)
	if err != nil {
		return Approval{}, fmt.Errorf("asking for %s: %w", r.Kind, err)
	}
	a.summary = string(summary)
	a.seal = a.mac(d.keys)
	a.Summary = nil
	return a, json.Unmarshal(summary, &a.Summary) // as everybody will read it
}

// approve is what becomes of an act that by allows.
func (a *Approval) approve(by access.Caller, now time.Time, rules settings.Approvals) {
	a.State, a.DecidedBy, a.DecidedName, a.DecidedAt = Approved, by.User, by.Name, now
	a.NotBefore = now.Add(time.Duration(rules.DelayMinutes) * time.Minute)
}

// Approve allows what another administrator asked for; by has just proved who
// they are, which the screens see to. CarryOut does it, when its time has come.
//
// By could do the act themselves, is not who asked, and is nobody's second
// account: no other administrator has made or changed the account for 72 hours.
func (d *Desk) Approve(ctx context.Context, tx *db.Tx, by access.Caller, id string) (Approval, error) {
	a, kind, err := d.see(ctx, tx, by, id)
	if err != nil {
		return Approval{}, err
	}
	if by.Kind != access.AdminKind || by.User == a.AskedBy {
		return Approval{}, errs.New(errs.Forbidden, "approval.own").Because(a.denial(kind.Action))
	}
	if a.State != Waiting {
		return Approval{}, over(a)
	}
	if until, err := unsettled(ctx, tx, by.User); err != nil {
		return Approval{}, err
	} else if !until.IsZero() {
		return Approval{}, errs.New(errs.Forbidden, "approval.unsettled", "until", until).Because(a.denial(kind.Action))
	}
	if err := d.intact(a); err != nil {
		return Approval{}, err
	}
	if err := stands(ctx, tx, a.AskedBy, a.AskedName, kind, a.Org); err != nil {
		return Approval{}, err
	}
	set, err := settings.Load(ctx, tx)
	if err != nil {
		return Approval{}, err
	}
	a.approve(by, tx.Now(), set.Approvals)
	return a, d.decide(ctx, tx, by, kind, a, Waiting)
}

// Refuse ends what another administrator asked for, also when it was approved
// and has not been carried out.
func (d *Desk) Refuse(ctx context.Context, tx *db.Tx, by access.Caller, id string) (Approval, error) {
	a, kind, err := d.see(ctx, tx, by, id)
	if err != nil {
		return Approval{}, err
	}
	if by.User == a.AskedBy {
		return Approval{}, errs.New(errs.Forbidden, "approval.own").Because(a.denial(kind.Action))
	}
	return d.end(ctx, tx, by, kind, a, Refused)
}

// Withdraw takes back what by asked for, until it has been carried out.
func (d *Desk) Withdraw(ctx context.Context, tx *db.Tx, by access.Caller, id string) (Approval, error) {
	a, kind, err := d.see(ctx, tx, by, id)
	if err != nil {
		return Approval{}, err
	}
	if by.User != a.AskedBy {
		return Approval{}, errs.New(errs.Forbidden, "access.denied").Because(a.denial(kind.Action))
	}
	return d.end(ctx, tx, by, kind, a, Withdrawn)
}

// see finds an act for somebody who could do it.
func (d *Desk) see(ctx context.Context, tx *db.Tx, by access.Caller, id string) (Approval, Kind, error) {
	a, err := Find(ctx, tx, id)
	if err != nil {
		return Approval{}, Kind{}, err
	}
	kind, err := d.kind(a.Kind)
	if err != nil {
		return Approval{}, Kind{}, err
	}
	return a, kind, audit.See(by, kind.Action, a.Org, "", a.object())
}

// end ends an act that comes to nothing.
func (d *Desk) end(ctx context.Context, tx *db.Tx, by access.Caller, kind Kind, a Approval, to State) (Approval, error) {
	before := a.State
	if !before.Open() {
		return Approval{}, over(a)
	}
	a.State, a.DecidedBy, a.DecidedName, a.DecidedAt = to, by.User, by.Name, tx.Now()
	return a, d.decide(ctx, tx, by, kind, a, before)
}

// decide writes down where an act is now, records it and tells everybody.
func (d *Desk) decide(ctx context.Context, tx *db.Tx, by access.Caller, kind Kind, a Approval, before State) error {
	if err := move(ctx, tx, a, before); err != nil {
		return err
	}
	err := audit.Record(ctx, tx, by, audit.Event{Action: kind.Action, Org: a.Org, Object: a.object(), Outcome: audit.Done,
		Details: []audit.Detail{audit.Note("act", a.Kind), audit.Change("state", before, a.State), audit.Note("asked_by", a.AskedName)}})
	if err != nil {
		return err
	}
	if !a.State.Open() && a.State != Done && kind.Drop != nil {
		if err := kind.Drop(ctx, tx, a); err != nil {
			return err
		}
	}
	return d.tell(ctx, tx, a)
}

func over(a Approval) error {
	return errs.New(errs.Conflict, "approval.over", "state", string(a.State))
}

// View returns an act to those who could do it, or asked for it.
func (d *Desk) View(ctx context.Context, tx *db.Tx, by access.Caller, id string) (Approval, error) {
	a, _, err := d.see(ctx, tx, by, id)
	return a, err
}

// List returns the acts of an organisation and of the server that by could do,
// the newest first: those that are open, or those of the last year.
func (d *Desk) List(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, open bool) ([]Approval, error) {
	if err := audit.See(by, access.ViewUsers, org, "", "approvals"); err != nil {
		return nil, err
	}
	list, err := list(ctx, tx, org, open)
	return slices.DeleteFunc(list, func(a Approval) bool {
		kind, err := d.kind(a.Kind)
		return err != nil || !access.Allow(by, kind.Action, a.Org, "")
	}), err
}
