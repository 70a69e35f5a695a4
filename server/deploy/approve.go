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

// maxWaiting bounds what is approved at once.
const maxWaiting = 2000

// Filter chooses devices that wait for an administrator.
type Filter struct {
	Token  string // its id
	OS     string
	Search string // in the names of the device and its user
}

// Waiting are an organisation's devices that wait for an administrator.
func Waiting(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, f Filter) ([]devices.Listed, error) {
	if err := audit.See(by, access.Deploy, org, "", "devices"); err != nil {
		return nil, err
	}
	var out []devices.Listed
	df := devices.Filter{Org: org, State: devices.Waiting, Token: f.Token, OS: f.OS, Search: f.Search, Limit: 500}
	for {
		list, after, err := devices.List(ctx, tx, by, df)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
		if df.After = after; after == "" || len(out) >= maxWaiting {
			return out, nil
		}
	}
}

// Decide lets devices that wait in, or refuses them for good, and returns how
// many: of those that a filter chooses the named ones, or all when none is
// named. One that is decided upon already stays as it is.
func Decide(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, f Filter, only []devices.ID, allow bool) (int, error) {
	list, err := Waiting(ctx, tx, by, org, f)
	if err != nil {
		return 0, err
	}
	to, reason := devices.Active, ""
	if !allow {
		to, reason = devices.Deleted, "not approved"
	}
	n := 0
	for _, d := range list {
		if len(only) > 0 && !slices.Contains(only, d.ID) {
			continue
		}
		if err := devices.SetState(ctx, tx, by, d.ID, to, reason); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}
