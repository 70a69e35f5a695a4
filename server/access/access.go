// Package access says who may do what. A Caller is who asks, an Action what is
// asked, and Allow the one decision, made from nothing but its arguments. What
// is not allowed by name is refused.
package access

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
)

// The identifiers that a decision and its record need. They are UUIDs as text;
// the packages of the nouns use them under their own names (orgs.ID and so on).
type (
	OrgID     string
	UserID    string
	DeviceID  string
	ProfileID string
)

// Kind says what sort of caller it is.
type Kind string

// The kinds of callers.
const (
	Anonymous  Kind = ""              // nobody has proved anything
	UserKind   Kind = "user"          // a person, for their own data
	AdminKind  Kind = "administrator" // a person, for an organisation or the server
	DeviceKind Kind = "device"        // a computer, for the sets it writes
	TokenKind  Kind = "token"         // a program, within its scopes and the rights of who made its token
	SystemKind Kind = "system"        // this server itself, or its operator at the command line
)

// Role is what an administrator was made for.
type Role string

// The roles.
const (
	ServerAdmin Role = "server_admin" // everything, in every organisation
	OrgAdmin    Role = "org_admin"    // everything in the own organisation
	Viewer      Role = "viewer"       // look, in the own organisation; no data, no audit
)

// Roles lists the roles, widest first.
func Roles() []Role { return []Role{ServerAdmin, OrgAdmin, Viewer} }

// Caller is who asks. For a device, User is the device's owner; for a user,
// Device is the device they speak from, if any. For a token, User and Role are
// those of the administrator who made it, as they are now.
type Caller struct {
	Kind   Kind
	User   UserID
	Org    OrgID
	Device DeviceID
	Role   Role
	Token  string // its id, never the secret
	Scopes Scopes // of a token
	Name   string // for records and pages

	Computer uint64 // of a device: the number of the certificate whose key it proved; another one's is another computer

	IP        string
	RequestID string
	Session   string // the login session's id, never its token
	Snapshot  string // hash of the one that may be opened and read; empty: all that the rights allow
}

// ID is the identifier of the caller itself, empty for the system and for
// nobody.
func (c Caller) ID() string {
	switch c.Kind {
	case DeviceKind:
		return string(c.Device)
	case TokenKind:
		return c.Token
	}
	return string(c.User)
}

// System is the server itself doing something of its own accord. Name says what
// part of it.
func System(name string) Caller { return Caller{Kind: SystemKind, Name: name} }

// Action is what a caller wants to do. The text stands in the audit, so it does
// not change.
type Action string

// The actions. Each belongs to an object with an organisation and perhaps an
// owner, the user whose account, device or data it is.
const (
	Login          Action = "login"           // recorded, not asked: whoever knows the secret
	Logout         Action = "logout"          // end an own session
	Register       Action = "register"        // recorded, not asked: whoever the settings let
	ManageOrgs     Action = "orgs.manage"     // make and change organisations
	ManageLicences Action = "licences.manage" // make and change licences
	ViewUsers      Action = "users.view"      // see accounts
	ManageUsers    Action = "users.manage"    // make and change accounts
	ChangeAccount  Action = "account.change"  // change one's own account: language, password
	ViewProfiles   Action = "profiles.view"   // see profiles
	ManageProfiles Action = "profiles.manage" // change what is backed up, and who may what
	ViewDevices    Action = "devices.view"    // see devices and their snapshots' figures
	ManageDevices  Action = "devices.manage"  // rename, disable, deactivate, ask for a backup
	Activate       Action = "devices.activate"
	Report         Action = "devices.report" // a device about itself
	Backup         Action = "data.backup"    // a device into its sets
	ReadOwnData    Action = "data.read"      // names and contents of one's own files
	RestoreOthers  Action = "data.read.others"
	Download       Action = "data.download" // recorded, not asked: whoever may read may take away
	SetPrivacy     Action = "data.privacy"  // say who else may have RestoreOthers: the owner alone
	ViewAudit      Action = "audit.view"
	Deploy         Action = "devices.deploy" // make tokens by which computers become devices
	ViewMap        Action = "device_map.view"
	ManageMap      Action = "device_map.manage" // say which computer is whose
	ManageTokens   Action = "tokens.manage"     // make and revoke tokens by which programs act
	ManageSettings Action = "settings.manage"   // the server's settings and its mail
)

var viewing = map[Action]bool{
	ViewUsers: true, ViewProfiles: true, ViewDevices: true,
}

var managing = map[Action]bool{
	ManageOrgs: true, ManageLicences: true, ViewUsers: true, ManageUsers: true, ViewProfiles: true, ManageProfiles: true,
	ViewDevices: true, ManageDevices: true, Deploy: true, ViewMap: true, ManageMap: true, RestoreOthers: true, ViewAudit: true,
	ManageTokens: true, ManageSettings: true,
}

// ofServer is for server administrators alone.
var ofServer = map[Action]bool{ManageOrgs: true, ManageLicences: true, ManageSettings: true}

var ofUsers = map[Action]bool{
	Logout: true, ChangeAccount: true, ViewDevices: true, ManageDevices: true,
	Activate: true, ReadOwnData: true, SetPrivacy: true,
}

var ofDevices = map[Action]bool{Report: true, Backup: true}

// Scopes are what a token was made for: names of ScopeNames with spaces between.
type Scopes string

// The scopes. Whoever may change may look.
const (
	MapRead  = "device-map:read"
	MapWrite = "device-map:write"
)

// ScopeNames are all scopes there are.
func ScopeNames() []string { return []string{MapRead, MapWrite} }

var scopes = map[string][]Action{
	MapRead:  {ViewMap},
	MapWrite: {ViewMap, ManageMap},
}

// Actions are what a token with the scopes may do, as far as who made it may;
// ok is false when one of them is no scope.
func (s Scopes) Actions() (list []Action, ok bool) {
	for name := range strings.FieldsSeq(string(s)) {
		actions, known := scopes[name]
		if !known {
			return nil, false
		}
		list = append(list, actions...)
	}
	return list, true
}

func (s Scopes) allow(a Action) bool {
	list, ok := s.Actions()
	return ok && slices.Contains(list, a)
}

// Allow reports whether c may do a to an object of org that belongs to owner;
// owner is empty for what belongs to the organisation.
//
// A user may act on their own, a device on its owner's, an administrator
// within their role and organisation. Nobody but the owner has ReadOwnData:
// administrators have RestoreOthers, which is recorded under its own name and
// which an owner can take from them: accounts.MayOpen asks that, too. A token
// acts in its organisation alone, within its scopes, and never beyond what the
// administrator who made it may do at that moment.
func Allow(c Caller, a Action, org OrgID, owner UserID) bool {
	switch c.Kind {
	case SystemKind:
		return true
	case UserKind:
		return ofUsers[a] && same(c, org, owner)
	case DeviceKind:
		return ofDevices[a] && c.Device != "" && same(c, org, owner)
	case AdminKind:
		return c.User != "" && administer(c, a, org, owner)
	case TokenKind:
		return c.Token != "" && c.User != "" && c.Scopes.allow(a) && org != "" && org == c.Org && administer(c, a, org, owner)
	}
	return false
}

// same reports whether the object is the caller's own. Empty identifiers are
// nobody's.
func same(c Caller, org OrgID, owner UserID) bool {
	return owner != "" && owner == c.User && org != "" && org == c.Org
}

func administer(c Caller, a Action, org OrgID, owner UserID) bool {
	if a == Logout || a == ChangeAccount {
		return same(c, org, owner)
	}
	switch c.Role {
	case ServerAdmin:
		return managing[a]
	case OrgAdmin:
		return managing[a] && !ofServer[a] && org != "" && org == c.Org
	case Viewer:
		return viewing[a] && org != "" && org == c.Org
	}
	return false
}

// Sees reports whether c may know that an object of org and owner exists. It
// tells a refusal from an absence: others get the same answer as for an object
// that is not there.
func Sees(c Caller, org OrgID, owner UserID) bool {
	switch c.Kind {
	case SystemKind:
		return true
	case UserKind, DeviceKind:
		return same(c, org, owner)
	case AdminKind:
		return c.Role == ServerAdmin || org != "" && org == c.Org
	case TokenKind:
		return org != "" && org == c.Org
	}
	return false
}

type contextKey struct{}

// WithCaller returns a context that carries c, for the one who asks of a
// request.
func WithCaller(ctx context.Context, c Caller) context.Context {
	if told, ok := ctx.Value(noticeKey{}).(*atomic.Pointer[Caller]); ok {
		told.Store(&c)
	}
	return context.WithValue(ctx, contextKey{}, c)
}

type noticeKey struct{}

// Notice returns a context, and who it was last said to be for: the handlers
// behind find out who asks, and the log of requests is written before them.
func Notice(ctx context.Context) (noticed context.Context, last func() Caller) {
	told := new(atomic.Pointer[Caller])
	first := CallerOf(ctx)
	told.Store(&first)
	return context.WithValue(ctx, noticeKey{}, told), func() Caller { return *told.Load() }
}

// CallerOf returns the context's caller, Anonymous when there is none.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(contextKey{}).(Caller)
	return c
}
