package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/wire"
)

// What said whose computer it is.
const (
	byKey   = "key"   // of a device that it was
	byMap   = "map"   // the device map
	byEmail = "email" // the address that its management set
)

// claim is whose computer it is, and what it may become.
type claim struct {
	how    string
	user   accounts.User
	create *accounts.New // instead of user: nobody has the address yet
	choice string
	target devices.ID
	waits  bool
	brings string    // of target: DATA, ALL, SYSTEM or nothing
	rows   []Mapping // that are used up
}

// resolve finds out whose computer it is. The first proof wins; what may mean
// several users is E1207 and never guessed.
func (r *redemption) resolve(ctx context.Context, tx *db.Tx) (claim, error) {
	for _, way := range []func(context.Context, *db.Tx) (claim, error){r.ofKey, r.ofMap, r.ofEmail} {
		c, err := way(ctx, tx)
		if err != nil || c.how != "" {
			return c, err
		}
	}
	return claim{}, r.unknown()
}

// unknown refuses a computer that is nobody's: its user is to sign in, or not.
func (r *redemption) unknown() error {
	email, _ := r.email()
	return r.ask(email)
}

// ask refuses a computer whose user is to sign in, with the name that they may
// have, where the token lets users be asked.
func (r *redemption) ask(name string) error {
	if !r.token.Prompt {
		return errs.Of(errs.NoDeviceMapping)
	}
	return errs.New(errs.Forbidden, "deploy.prompt", "email", name)
}

// ofKey is the claim of a computer that holds the key of a device of the
// organisation: it is that device again, whatever else is said of it. A key that
// a security reset distrusts may be in other hands: then an administrator looks
// first, and the device goes on unharmed until the computer that comes with it
// has a complete backup.
func (r *redemption) ofKey(ctx context.Context, tx *db.Tx) (claim, error) {
	d, held, trusted, err := devices.Holder(ctx, tx, r.token.Org, r.in.Previous, r.in.RequestID, r.in.SigningKey)
	if err != nil || !held {
		return claim{}, err
	}
	u, err := accounts.Find(ctx, tx, d.User)
	if err != nil {
		return claim{}, err
	}
	if u.State != accounts.Active {
		return claim{}, errs.Of(errs.DeviceDeactivated)
	}
	if !trusted && u.PrivacyOn {
		return claim{}, nil // the user signs in
	}
	if !trusted {
		return claim{how: byKey, user: u, choice: devices.Succeed, target: d.ID, waits: true}, nil
	}
	return claim{how: byKey, user: u, choice: wire.Reactivate, target: d.ID}, nil
}

// ofMap is the claim of a computer that an administrator said whose it is. It
// becomes one more device, which takes over the one it was or follows with its
// first complete backup; where there is data already, and where a host name is
// all that was compared, an administrator looks first.
func (r *redemption) ofMap(ctx context.Context, tx *db.Tx) (claim, error) {
	rows, err := mapped(ctx, tx, r.token.Org, r.in.Hardware)
	if err != nil || len(rows) == 0 {
		return claim{}, err
	}
	best := rows[0]
	if slices.ContainsFunc(rows, func(m Mapping) bool { return m.User != best.User }) {
		return claim{}, errs.Of(errs.AmbiguousAccount)
	}
	u, err := accounts.Find(ctx, tx, best.User)
	if err != nil {
		return claim{}, err
	}
	switch {
	case works(u) && u.PrivacyOn:
		return claim{}, r.ask(u.Username)
	case !works(u):
		return claim{}, r.unknown()
	}
	had, err := devices.Had(ctx, tx, u.ID)
	if err != nil {
		return claim{}, err
	}
	c := claim{how: byMap, user: u, rows: rows, choice: wire.Add, waits: r.token.Approve || had || best.Type == ByHostname}
	if !had {
		c.choice = devices.First
		return c, nil
	}
	c.target, err = r.predecessor(ctx, tx, u, best.OldDevice)
	if c.target != "" {
		c.choice, c.brings = devices.Succeed, best.Restore
	}
	return c, err
}

// predecessor is the device of u that the computer follows: the one that the
// map names, or what it was itself; "" for none.
func (r *redemption) predecessor(ctx context.Context, tx *db.Tx, u accounts.User, named string) (devices.ID, error) {
	have, err := devices.LiveOf(ctx, tx, u.ID)
	if err != nil {
		return "", err
	}
	for _, d := range have {
		if named != "" && orgs.Fold(d.Name) == orgs.Fold(named) {
			return d.ID, nil
		}
	}
	if named != "" {
		return "", nil
	}
	d, by := devices.Match(tx.Now(), devices.Shown{Hardware: r.in.Hardware, System: r.in.System}, have)
	if by == wire.ByMachine || by == wire.BySerial {
		return d.ID, nil
	}
	return "", nil
}

// ofEmail is the claim of a computer whose management named an address. It is a
// claim and no proof: it makes a new account, or begins one that never had a
// device. Who has data signs in.
func (r *redemption) ofEmail(ctx context.Context, tx *db.Tx) (claim, error) {
	address, err := r.email()
	if err != nil || address == "" {
		return claim{}, err
	}
	found, err := accounts.Identified(ctx, tx, address)
	if err != nil {
		return claim{}, err
	}
	ours := slices.DeleteFunc(slices.Clone(found), func(u accounts.User) bool { return u.Org != r.token.Org || u.Kind != access.UserKind })
	switch {
	case len(ours) > 1:
		return claim{}, errs.Of(errs.AmbiguousAccount)
	case len(ours) == 1:
		u := ours[0]
		had, err := devices.Had(ctx, tx, u.ID)
		if err != nil || had || !deployable(u) {
			return claim{}, err
		}
		return claim{how: byEmail, user: u, choice: devices.First, waits: r.token.Approve}, nil
	case len(found) > 0 || !r.token.CreateUsers || !slices.Contains(r.token.Domains, domainOf(address)):
		return claim{}, nil
	}
	return claim{how: byEmail, choice: devices.First, waits: r.token.Approve, create: &accounts.New{Org: r.token.Org, Kind: access.UserKind,
		Username: address, Email: address, Profile: r.token.Profile}}, nil
}

// deployable reports whether a computer may become a device of u though u did
// not sign in: who keeps administrators out is asked.
func deployable(u accounts.User) bool {
	return works(u) && !u.PrivacyOn
}

// works reports whether u can have devices.
func works(u accounts.User) bool {
	return (u.State == accounts.Active || u.State == accounts.Invited) && u.Kind == access.UserKind
}

// email is the address that the computer claims: as its management says, or the
// name of the system's user in the token's domain, "" when there is none.
func (r *redemption) email() (string, error) {
	if address, ok := strings.CutPrefix(r.in.Identity, "email:"); ok {
		n := accounts.New{Kind: access.UserKind, Username: strings.TrimSpace(address), Email: strings.TrimSpace(address)}
		if err := n.Tidy(); err != nil || !strings.Contains(n.Email, "@") {
			return "", errs.New(errs.Invalid, "deploy.identity.invalid")
		}
		return n.Email, nil
	}
	if r.in.Identity != "" && r.in.Identity != "auto" {
		return "", errs.New(errs.Invalid, "deploy.identity.invalid")
	}
	name := osUser(r.in.Hardware.OSUser)
	if r.in.Identity == "" || name == "" || len(r.token.Domains) != 1 || nobody[orgs.Fold(name)] {
		return "", nil // several domains: which one is a guess
	}
	n := accounts.New{Kind: access.UserKind, Username: name + "@" + r.token.Domains[0], Email: name + "@" + r.token.Domains[0]}
	if n.Tidy() != nil {
		return "", nil
	}
	return n.Email, nil
}

// nobody are users of systems that are no people.
var nobody = map[string]bool{"root": true, "system": true, "administrator": true, "admin": true, "nobody": true, "localsystem": true}

// osUser is the name of a system's user without the domain before it.
func osUser(name string) string {
	return name[strings.LastIndexByte(name, '\\')+1:]
}

func domainOf(address string) string {
	return orgs.Fold(address[strings.LastIndexByte(address, '@')+1:])
}

// FirstDeviceOnly reports whether an organisation has deployment activate one
// device of each user.
func FirstDeviceOnly(ctx context.Context, tx *db.Tx, org orgs.ID) (only bool, err error) {
	err = tx.QueryRow(ctx, "SELECT first_device_only FROM orgs WHERE id = $1", org).Scan(&only)
	if err != nil {
		return false, fmt.Errorf("reading organisation %s: %w", org, err)
	}
	return only, nil
}

// SetFirstDeviceOnly says whether deployment activates one device of each user.
func SetFirstDeviceOnly(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, only bool) error {
	before, err := FirstDeviceOnly(ctx, tx, org)
	if err != nil || before == only {
		return err
	}
	err = audit.Check(ctx, tx, by, access.Deploy, org, "", "org/"+string(org), audit.Change("first_device_only", before, only))
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE orgs SET first_device_only = $2, updated_at = $3 WHERE id = $1", org, only, db.Micros(tx.Now())); err != nil {
		return fmt.Errorf("changing organisation %s: %w", org, err)
	}
	return nil
}
