package resets

import (
	"context"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
)

// Filter chooses the devices of a reset: the active ones of an organisation to
// which all that it says applies.
type Filter struct {
	Users           []string    `json:"users,omitempty"` // usernames
	Profile         profiles.ID `json:"profile,omitempty"`
	OS              string      `json:"os,omitempty"`
	Token           string      `json:"token,omitempty"` // the deployment token that they came by
	ActivatedBefore time.Time   `json:"activated_before,omitzero"`
	SeenSince       time.Time   `json:"seen_since,omitzero"`
}

// maxUsers is how many users a filter may name.
const maxUsers = 1000

// Choice is what a filter chooses now, before anybody is asked.
type Choice struct {
	Devices, Users int
	Unreachable    int            // users without an address
	Systems        map[string]int // devices by operating system
	Disabled       int            // that it leaves alone: they can do nothing
	First          []devices.Listed
}

// shown is how many devices a choice lists.
const shown = 100

// Preview says what a reset would do; it does nothing.
func Preview(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, f Filter) (c Choice, err error) {
	where, err := f.devices(ctx, tx, by, org)
	if err != nil {
		return c, err
	}
	chosen, err := devices.Choose(ctx, tx, by, where)
	if err != nil {
		return c, err
	}
	c.Devices, c.Systems = len(chosen), map[string]int{}
	users := map[accounts.ID]bool{}
	for _, d := range chosen {
		c.Systems[d.OS]++
		if !users[d.User] && !d.Mailed {
			c.Unreachable++
		}
		users[d.User] = true
	}
	c.Users = len(users)
	where.Limit = shown
	if c.First, _, err = devices.List(ctx, tx, by, where); err != nil {
		return c, err
	}
	where.State = devices.Disabled
	c.Disabled, err = devices.Count(ctx, tx, by, where)
	return c, err
}

func (f Filter) choose(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID) ([]devices.Chosen, error) {
	where, err := f.devices(ctx, tx, by, org)
	if err != nil {
		return nil, err
	}
	return devices.Choose(ctx, tx, by, where)
}

func (f Filter) devices(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID) (devices.Filter, error) {
	where := devices.Filter{Org: org, State: devices.Active, OS: f.OS, Token: f.Token, ActivatedBefore: f.ActivatedBefore, SeenSince: f.SeenSince}
	if f.Profile != "" {
		p, err := profiles.View(ctx, tx, by, f.Profile)
		if err != nil {
			return where, err
		}
		where.Profile, where.Default = p.ID, p.Default
	}
	if len(f.Users) > maxUsers {
		return where, errs.New(errs.Invalid, "reset.users.many", "n", maxUsers)
	}
	for _, name := range f.Users {
		u, err := accounts.FindByUsername(ctx, tx, name)
		if errs.KindOf(err) == errs.NotFound || err == nil && u.Org != org {
			return where, errs.New(errs.Invalid, "reset.users.unknown", "name", name)
		}
		if err != nil {
			return where, err
		}
		where.Users = append(where.Users, u.ID)
	}
	return where, nil
}
