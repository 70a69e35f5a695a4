// Package audit asks access and writes down what was done, in one call, beside
// the data: a change and its record are in one transaction, so that neither is
// there without the other. What was refused is recorded by Denied, after the
// transaction of the refusal was undone.
//
// An object is named "kind/id", such as "device/0190...".
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

// Outcome says how it ended.
type Outcome string

// The outcomes.
const (
	Done   Outcome = "done"
	Refuse Outcome = "denied" // not allowed, or not proved
	Failed Outcome = "failed" // allowed, and did not work
)

// Detail is one thing that an event changed or that explains it. It holds no
// secret, ever.
type Detail struct {
	Name   string `json:"name"`
	Before any    `json:"before,omitempty"`
	After  any    `json:"after,omitempty"`
}

// Change is the detail that a field had one value and has another now.
func Change(name string, before, after any) Detail {
	return Detail{Name: name, Before: before, After: after}
}

// Note is the detail that name is value.
func Note(name string, value any) Detail { return Detail{Name: name, After: value} }

// Event is what Record writes down.
type Event struct {
	Action  access.Action
	Org     access.OrgID
	Owner   access.UserID
	Object  string
	Outcome Outcome
	Code    errs.Code
	Details []Detail
}

// Denial is in the chain of every error that Check and See return, so that
// Denied knows what was refused.
type Denial struct {
	Action access.Action
	Org    access.OrgID
	Owner  access.UserID
	Object string
}

func (d *Denial) Error() string { return fmt.Sprintf("%s on %s refused", d.Action, d.Object) }

// Check allows an action and records it as done in tx, or refuses it. The
// refusal is NotFound when the caller must not know that the object exists.
func Check(ctx context.Context, tx *db.Tx, by access.Caller, action access.Action, org access.OrgID, owner access.UserID, object string, details ...Detail) error {
	if err := See(by, action, org, owner, object); err != nil {
		return err
	}
	return Record(ctx, tx, by, Event{Action: action, Org: org, Owner: owner, Object: object, Outcome: Done, Details: details})
}

// See allows an action or refuses it as Check does, and records nothing: for
// looking at lists and pages, and where the record says more and is written
// elsewhere.
func See(by access.Caller, action access.Action, org access.OrgID, owner access.UserID, object string) error {
	if access.Allow(by, action, org, owner) {
		return nil
	}
	denial := &Denial{Action: action, Org: org, Owner: owner, Object: object}
	switch {
	case by.Kind == access.Anonymous:
		return errs.New(errs.Unauthenticated, "access.login.required").Because(denial)
	case access.Sees(by, org, owner):
		return errs.New(errs.Forbidden, "access.denied").Because(denial)
	}
	return errs.New(errs.NotFound, "access.not.found").Because(denial)
}

// Record writes events down. Check does it for what is done; this is for what
// has no permission to ask, such as a login, for failures, and for many at once.
func Record(ctx context.Context, tx *db.Tx, by access.Caller, events ...Event) error {
	const columns = 15
	for part := range slices.Chunk(events, 100) {
		var rows strings.Builder
		var args []any
		for _, e := range part {
			details := ""
			if len(e.Details) > 0 {
				text, err := json.Marshal(e.Details)
				if err != nil {
					return fmt.Errorf("recording %s: %w", e.Action, err)
				}
				details = string(text)
			}
			kind, id, _ := strings.Cut(e.Object, "/")
			rows.WriteString(", (" + db.In(columns, len(args)+1) + ")")
			args = append(args, db.Micros(tx.Now()), e.Org, e.Owner, by.Kind, by.ID(), by.Name, e.Action, kind, id,
				e.Outcome, e.Code, by.IP, by.RequestID, by.Session, details)
		}
		_, err := tx.Exec(ctx, `INSERT INTO audit (at, org, owner, actor_kind, actor_id, actor_name, action, object_kind, object_id,
			outcome, code, ip, request_id, session_id, details) VALUES `+rows.String()[2:], args...)
		if err != nil {
			return fmt.Errorf("recording %s: %w", part[0].Action, err)
		}
	}
	return nil
}

// recordWithin bounds how long Denied may take.
const recordWithin = 10 * time.Second

// Denied records that err kept by from doing something. The screens call it
// from their one fail function, after the transaction was undone. What was
// refused by Check or See is known from err; action and object say what was
// tried where the refusal came from elsewhere, such as E1208. Anything that is
// no refusal is not recorded. It does its work even when the request is over.
func Denied(ctx context.Context, d *db.DB, by access.Caller, action access.Action, object string, err error) error {
	e := Event{Action: action, Org: by.Org, Owner: by.User, Object: object, Outcome: Refuse}
	expected := errs.Find(err)
	if expected == nil {
		return nil
	}
	e.Code = expected.Code
	if denial := (*Denial)(nil); errors.As(err, &denial) {
		e.Action, e.Org, e.Owner, e.Object = denial.Action, denial.Org, denial.Owner, denial.Object
	} else if action == "" || !refusal(expected.Kind) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancel()
	return d.Write(ctx, func(tx *db.Tx) error { return Record(ctx, tx, by, e) })
}

func refusal(k errs.Kind) bool {
	switch k {
	case errs.Forbidden, errs.Unauthenticated, errs.TooMany, errs.Locked, errs.NoSeat:
		return true
	}
	return false
}
