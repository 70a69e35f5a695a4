package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

// Row is a recorded event.
type Row struct {
	Seq        int64
	At         time.Time
	Org        access.OrgID
	Owner      access.UserID
	ActorKind  access.Kind
	ActorID    string
	ActorName  string
	Action     access.Action
	ObjectKind string
	ObjectID   string
	Outcome    Outcome
	Code       string
	IP         string
	RequestID  string
	Session    string
	Details    []Detail
}

// Filter chooses rows; its zero value is all that the caller may see.
type Filter struct {
	Org     access.OrgID // empty: every organisation, for those who may
	Owner   access.UserID
	Actor   string // an id
	Object  string // "kind/id", or "kind"
	Action  access.Action
	Outcome Outcome
	From    time.Time // inclusive
	To      time.Time // exclusive
	Before  int64     // rows older than this one: the next page
	Limit   int       // 0 means 50, at most 500
}

// Part is a part of what a user is shown of what happened to their account.
type Part string

// The parts.
const (
	Everything Part = ""
	Data       Part = "data"   // who looked into the backups, took something out of them, or changed who may
	Logins     Part = "logins" // who signed in or tried to, and which devices were activated
)

var conditions = map[Part]string{Data: ofData, Logins: ofLogins, Everything: "(" + ofData + " OR " + ofLogins + ")"}

// A log-in is on the account; what proves something within a session, or as a
// device, is on that.
const (
	ofData   = "action IN ('" + string(access.ReadOwnData) + "', '" + string(access.RestoreOthers) + "', '" + string(access.Download) + "', '" + string(access.SetPrivacy) + "')"
	ofLogins = "(action = '" + string(access.Activate) + "' OR action = '" + string(access.Login) + "' AND object_kind = 'user')"
)

// List returns recorded events, newest first.
func List(ctx context.Context, tx *db.Tx, by access.Caller, f Filter) ([]Row, error) {
	if err := See(by, access.ViewAudit, f.Org, "", "audit"); err != nil {
		return nil, err
	}
	return choose(ctx, tx, f, "")
}

// OfOwn returns a part of what happened to the caller's own account, newest
// first: what they did themselves, and above all what everybody else did. An
// unknown part is everything.
func OfOwn(ctx context.Context, tx *db.Tx, by access.Caller, part Part, before int64, limit int) ([]Row, error) {
	if err := See(by, access.ReadOwnData, by.Org, by.User, "audit"); err != nil {
		return nil, err
	}
	if conditions[part] == "" {
		part = Everything
	}
	return choose(ctx, tx, Filter{Org: by.Org, Owner: by.User, Before: before, Limit: limit}, conditions[part])
}

// About returns what happened to one object, newest first, to who may do action
// to it, such as to look at it.
func About(ctx context.Context, tx *db.Tx, by access.Caller, action access.Action, org access.OrgID, owner access.UserID, object string, limit int) ([]Row, error) {
	if err := See(by, action, org, owner, object); err != nil {
		return nil, err
	}
	return choose(ctx, tx, Filter{Org: org, Object: object, Limit: limit}, "")
}

// where is the condition for what f chooses, and more besides.
func (f Filter) where(more string) (string, []any) {
	var where []string
	var args []any
	add := func(condition string, arg any) {
		args = append(args, arg)
		where = append(where, fmt.Sprintf(condition, len(args)))
	}
	if f.Org != "" {
		add("org = $%d", f.Org)
	}
	if f.Owner != "" {
		add("owner = $%d", f.Owner)
	}
	if f.Actor != "" {
		add("actor_id = $%d", f.Actor)
	}
	if f.Object != "" {
		kind, id, one := strings.Cut(f.Object, "/")
		add("object_kind = $%d", kind)
		if one {
			add("object_id = $%d", id)
		}
	}
	if f.Action != "" {
		add("action = $%d", f.Action)
	}
	if f.Outcome != "" {
		add("outcome = $%d", f.Outcome)
	}
	if !f.From.IsZero() {
		add("at >= $%d", db.Micros(f.From))
	}
	if !f.To.IsZero() {
		add("at < $%d", db.Micros(f.To))
	}
	if f.Before > 0 {
		add("seq < $%d", f.Before)
	}
	if more != "" {
		where = append(where, more)
	}
	return strings.Join(where, " AND "), args
}

func choose(ctx context.Context, tx *db.Tx, f Filter, more string) ([]Row, error) {
	where, args := f.where(more)
	query := `SELECT seq, at, org, owner, actor_kind, actor_id, actor_name, action, object_kind, object_id,
		outcome, code, ip, request_id, session_id, details FROM audit`
	if where != "" {
		query += " WHERE " + where
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 50
	}
	args = append(args, min(limit, 500))
	query += fmt.Sprintf(" ORDER BY seq DESC LIMIT $%d", len(args))

	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("listing the audit: %w", err)
	}
	defer rows.Close()
	var list []Row
	for rows.Next() {
		var r Row
		var at int64
		var details string
		if err := rows.Scan(&r.Seq, &at, &r.Org, &r.Owner, &r.ActorKind, &r.ActorID, &r.ActorName, &r.Action, &r.ObjectKind, &r.ObjectID,
			&r.Outcome, &r.Code, &r.IP, &r.RequestID, &r.Session, &details); err != nil {
			return nil, fmt.Errorf("listing the audit: %w", err)
		}
		r.At = db.Time(at)
		if details != "" {
			if err := json.Unmarshal([]byte(details), &r.Details); err != nil {
				return nil, fmt.Errorf("reading audit row %d: %w", r.Seq, err)
			}
		}
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("listing the audit: %w", err)
	}
	return list, nil
}

// LastByAnother is when an administrator last did action to an object that is
// not their own account, zero for never.
func LastByAnother(ctx context.Context, tx *db.Tx, action access.Action, kind, id string) (time.Time, error) {
	var at int64
	err := tx.QueryRow(ctx, `SELECT COALESCE(max(at), 0) FROM audit WHERE object_kind = $1 AND object_id = $2 AND action = $3 AND outcome = $4
		AND actor_kind = $5 AND actor_id <> $2`, kind, id, action, Done, access.AdminKind).Scan(&at)
	if err != nil {
		return time.Time{}, fmt.Errorf("looking for what was done to %s %s: %w", kind, id, err)
	}
	return db.Time(at), nil
}
