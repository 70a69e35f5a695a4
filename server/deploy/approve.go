package deploy

import (
	"context"
	"slices"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/orgs"
)

// Filter chooses devices that wait for an administrator.
type Filter struct {
	Token  string // its id
	OS     string
	Search string // in the names of the device and its user
}

func (f Filter) devices(org orgs.ID) devices.Filter {
	return devices.Filter{Org: org, State: devices.Waiting, Token: f.Token, OS: f.OS, Search: f.Search}
}

// Waiting are the first of an organisation's devices that wait for an
// administrator, at most limit, and how many wait.
func Waiting(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, f Filter, limit int) (list []devices.Listed, total int, err error) {
	if err := audit.See(by, access.Deploy, org, "", "devices"); err != nil {
		return nil, 0, err
	}
	where := f.devices(org)
	if total, err = devices.Count(ctx, tx, by, where); err != nil {
		return nil, 0, err
	}
	where.Limit = limit
	list, _, err = devices.List(ctx, tx, by, where)
	return list, total, err
}

// Decide lets devices that wait in, or refuses them for good, and returns how
// many: of those that a filter chooses the named ones, or all when none is
// named. It decides upon some at a time, so what keeps it from going on leaves
// the rest waiting. One that is decided upon already stays as it is.
func Decide(ctx context.Context, store *db.DB, by access.Caller, org orgs.ID, f Filter, only []devices.ID, allow bool) (int, error) {
	var chosen []devices.Chosen
	err := store.Read(ctx, func(tx *db.Tx) (err error) {
		chosen, err = devices.Choose(ctx, tx, by, f.devices(org))
		return err
	})
	if err != nil {
		return 0, err
	}
	var ids []devices.ID
	for _, d := range chosen {
		if len(only) == 0 || slices.Contains(only, d.ID) {
			ids = append(ids, d.ID)
		}
	}
	if allow {
		return setStates(ctx, store, by, ids, devices.Waiting, devices.Active, "")
	}
	return setStates(ctx, store, by, ids, devices.Waiting, devices.Deleted, "not approved")
}

// setStates moves devices from one state to another, some at a time, and returns
// how many it moved.
func setStates(ctx context.Context, store *db.DB, by access.Caller, ids []devices.ID, from, to devices.State, reason string) (int, error) {
	sum := 0
	for part := range slices.Chunk(ids, atOnce) {
		n := 0
		err := store.Write(ctx, func(tx *db.Tx) (err error) {
			n, err = devices.SetStates(ctx, tx, by, part, from, to, reason)
			return err
		})
		if err != nil {
			return sum, err
		}
		sum += n
	}
	return sum, nil
}
