// Package resets is the security reset: the credentials of many devices are
// revoked, their users are told what to do, and somebody watches until all are
// back. A device that is reset is deactivated; its data and snapshots stay.
//
// Which devices it is about is fixed when it is asked for, so that what the
// second administrator approves is what is done.
package resets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/approvals"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
)

// Act is the kind of approval that a reset takes.
const Act = "reset"

const (
	maxName  = 100
	maxBatch = 100_000
)

// State says how far a reset is.
type State string

// The states.
const (
	Waiting   State = "waiting" // for a second administrator
	Running   State = "running"
	Paused    State = "paused"
	Revoked   State = "revoked"   // of all its devices; not all are back
	Done      State = "done"      // all are back
	Cancelled State = "cancelled" // what was revoked until then stays so
)

// Reset is one security reset.
type Reset struct {
	ID         string
	Org        orgs.ID
	Name       string
	Reason     string
	Filter     Filter
	Distrust   bool  // old keys do not let a device back by themselves
	Batch      int64 // devices a minute, 0: all at once
	State      State
	Approval   string
	CreatedBy  string
	CreatedAt  time.Time
	StartedAt  time.Time
	EndedAt    time.Time
	Letter     *Letter // what its users are told; nil: nothing yet
	ToldBy     string
	RemindedAt time.Time
}

func (r Reset) object() string { return "reset/" + r.ID }

// New is a reset to be asked for.
type New struct {
	Org      orgs.ID
	Name     string
	Reason   string
	Filter   Filter
	Distrust bool
	Batch    int64
	Expect   int // how many devices the preview had
}

func (n *New) normalise() error {
	n.Name = strings.TrimSpace(n.Name)
	switch {
	case n.Name == "":
		return errs.New(errs.Invalid, "reset.name.empty")
	case utf8.RuneCountInString(n.Name) > maxName || strings.ContainsFunc(n.Name, unicode.IsControl):
		return errs.New(errs.Invalid, "reset.name.long", "n", maxName)
	case n.Batch < 0 || n.Batch > maxBatch:
		return errs.New(errs.Invalid, "reset.batch", "to", maxBatch)
	}
	return nil
}

// asked is what the approval of a reset is about.
type asked struct {
	ID     string `json:"id"`
	Digest string `json:"digest"` // of what is revoked, and how
}

// Ask asks for the devices that the filter chooses now to be reset. When they
// are not as many as the preview had, it is refused: somebody should look again.
func Ask(ctx context.Context, tx *db.Tx, by access.Caller, desk *approvals.Desk, n New) (Reset, error) {
	if err := audit.See(by, access.ManageDevices, n.Org, "", "resets"); err != nil {
		return Reset{}, err
	}
	if err := n.normalise(); err != nil {
		return Reset{}, err
	}
	chosen, err := n.Filter.choose(ctx, tx, by, n.Org)
	if err != nil {
		return Reset{}, err
	}
	if len(chosen) == 0 {
		return Reset{}, errs.New(errs.Invalid, "reset.none")
	}
	if len(chosen) != n.Expect {
		return Reset{}, errs.New(errs.Conflict, "reset.others", "n", len(chosen), "before", n.Expect)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Reset{}, fmt.Errorf("naming a reset: %w", err)
	}
	r := Reset{ID: id.String(), Org: n.Org, Name: n.Name, Reason: strings.TrimSpace(n.Reason), Filter: n.Filter, Distrust: n.Distrust, Batch: n.Batch,
		State: Waiting, CreatedBy: by.Name, CreatedAt: tx.Now()}
	if err := insert(ctx, tx, r, chosen); err != nil {
		return Reset{}, err
	}
	digest, err := r.digest(ctx, tx)
	if err != nil {
		return Reset{}, err
	}
	users := map[accounts.ID]bool{}
	for _, c := range chosen {
		users[c.User] = true
	}
	a, err := desk.Ask(ctx, tx, by, approvals.Request{Kind: Act, Org: r.Org, Data: asked{r.ID, digest}, Reason: r.Reason,
		Summary: map[string]any{"name": r.Name, "n": len(chosen), "users": len(users)}})
	if err != nil {
		return Reset{}, err
	}
	r.Approval = a.ID
	_, err = tx.Exec(ctx, "UPDATE resets SET approval = $2 WHERE id = $1", r.ID, r.Approval)
	if err != nil {
		return Reset{}, fmt.Errorf("asking for reset %s: %w", r.ID, err)
	}
	return r, nil
}

// digest is of everything about a reset that decides what it does.
func (r Reset) digest(ctx context.Context, tx *db.Tx) (string, error) {
	ids, err := db.All(ctx, tx, db.Column[string], "SELECT device FROM reset_devices WHERE reset = $1 ORDER BY device", r.ID)
	if err != nil {
		return "", fmt.Errorf("reading the devices of reset %s: %w", r.ID, err)
	}
	sum := sha256.New()
	fmt.Fprintln(sum, r.Distrust, r.Batch)
	for _, id := range ids {
		fmt.Fprintln(sum, id)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Kind is the act of resetting: it begins it, and Run goes on.
func Kind() approvals.Kind {
	return approvals.Kind{Name: Act, Action: access.ManageDevices,
		Do: func(ctx context.Context, tx *db.Tx, by access.Caller, a approvals.Approval) error {
			r, what, err := of(ctx, tx, a)
			if err != nil {
				return err
			}
			digest, err := r.digest(ctx, tx)
			if err != nil {
				return err
			}
			if digest != what.Digest {
				return errs.New(errs.Conflict, "approval.changed")
			}
			return r.move(ctx, tx, by, Running, Waiting)
		},
		Drop: func(ctx context.Context, tx *db.Tx, a approvals.Approval) error {
			r, _, err := of(ctx, tx, a)
			if err != nil {
				return err
			}
			return r.move(ctx, tx, access.System("approvals"), Cancelled, Waiting)
		}}
}

// of is the reset that an approval is about.
func of(ctx context.Context, tx *db.Tx, a approvals.Approval) (r Reset, what asked, err error) {
	if err := a.Read(&what); err != nil {
		return Reset{}, what, err
	}
	r, err = find(ctx, tx, what.ID)
	return r, what, err
}

// move records that a reset goes from one of the states to another, and refuses
// when it is in none of them.
func (r Reset) move(ctx context.Context, tx *db.Tx, by access.Caller, to State, from ...State) error {
	err := audit.Check(ctx, tx, by, access.ManageDevices, r.Org, "", r.object(), audit.Change("state", r.State, to), audit.Note("name", r.Name))
	if err != nil {
		return err
	}
	if !slices.Contains(from, r.State) {
		return errs.New(errs.Conflict, "reset.state", "state", string(r.State))
	}
	return setState(ctx, tx, r.ID, to)
}

// Pause lets a reset rest: what was revoked stays so, nothing more is.
func Pause(ctx context.Context, tx *db.Tx, by access.Caller, id string) error {
	return change(ctx, tx, by, id, Paused, Running)
}

// Continue goes on with a reset that rests.
func Continue(ctx context.Context, tx *db.Tx, by access.Caller, id string) error {
	return change(ctx, tx, by, id, Running, Paused)
}

// Cancel ends a reset for good. What was revoked stays so.
func Cancel(ctx context.Context, tx *db.Tx, by access.Caller, id string) error {
	return change(ctx, tx, by, id, Cancelled, Running, Paused)
}

func change(ctx context.Context, tx *db.Tx, by access.Caller, id string, to State, from ...State) error {
	r, err := View(ctx, tx, by, id)
	if err != nil {
		return err
	}
	return r.move(ctx, tx, by, to, from...)
}

// View returns a reset to those who may see its devices.
func View(ctx context.Context, tx *db.Tx, by access.Caller, id string) (Reset, error) {
	r, err := find(ctx, tx, id)
	if err != nil {
		return Reset{}, err
	}
	return r, audit.See(by, access.ViewDevices, r.Org, "", r.object())
}

// List returns the resets of an organisation, the newest first.
func List(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID) ([]Reset, error) {
	if err := audit.See(by, access.ViewDevices, org, "", "resets"); err != nil {
		return nil, err
	}
	list, err := db.All(ctx, tx, scan, "SELECT "+columns+" FROM resets WHERE org = $1 ORDER BY created_at DESC, id DESC LIMIT 200", org)
	if err != nil {
		return nil, fmt.Errorf("listing resets: %w", err)
	}
	return list, nil
}
