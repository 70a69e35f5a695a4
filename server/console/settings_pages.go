package console

import (
	"slices"
	"time"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/web"
)

// settingsFrame is the frame of a page of the settings, with the way to the
// others.
type settingsFrame struct {
	web.Frame
	Sections []web.Link
	Buttons  []button // beside the title
	Locked   bool     // the reader has to prove who they are before they change anything
}

type organisationPage struct {
	settingsFrame
	Form           web.Form
	Name           string
	NewName        string // as somebody wants it
	CanRename      bool
	Created        time.Time
	Users, Devices int64
	Quota          quota
	Size           size // as somebody wants it
}

type portalsPage struct {
	settingsFrame
	Portal, Console, Fingerprint string
	Set                          bool // by public_url, not by what the browser asked for
	HideBuild                    bool
}

type databasePage struct {
	settingsFrame
	About db.About
}

type rulesPage struct {
	settingsFrame
	Form     web.Form
	Set      settings.Settings
	Domains  string         // one on each line
	Kinds    map[string]int // of devices, how many there are
	Policies []policy
	Cards    []limits
}

// DeviceKinds are the kinds of devices that can be retired.
func (rulesPage) DeviceKinds() []string { return settings.DeviceKinds() }

// IsRetired reports whether a kind is no longer offered.
func (p rulesPage) IsRetired(kind string) bool { return slices.Contains(p.Set.Devices.Retired, kind) }

// policy is a password policy and what it asks for.
type policy struct {
	Name, Text string
	Rules      []string
}

type mailPage struct {
	settingsFrame
	Form   web.Form
	Set    settings.Mail
	Works  bool
	To     string // where a test goes
	Counts []choice
}

type queuePage struct {
	settingsFrame
	Form   web.Form
	Counts []choice
	Mails  []queued
	Pages  web.Pages
}

type queued struct {
	Number        int64
	What, To      string
	UserID        string
	State         web.State
	Tries         int64
	Problem       string
	Created, Next time.Time
	CanChange     bool
}

type licencesPage struct {
	settingsFrame
	Form     web.Form
	Set      settings.Licences
	CanSet   bool
	Licences []licence
}

type licence struct {
	ID, Name, Serial          string
	Taken, Seats              int64
	Preserved, SeatsPreserved int64
	ValidTo                   time.Time
	Stands                    web.Sign
	Bar                       []bar
	Revoked                   bool
}

type licencePage struct {
	settingsFrame
	Form             web.Form
	Licence          licence
	Name, ValidTo    string
	Seats, Preserved int
	CanIssue         bool
}

type administratorsPage struct {
	settingsFrame
	Administrators []administrator
}

type administrator struct {
	Href, Username, FullName, Email, Role string
	State                                 web.State
	LastLogin                             time.Time
	Factor                                bool
	You                                   bool
}

type newAdministratorPage struct {
	settingsFrame
	Form                                 web.Form
	Username, FirstName, LastName, Email string
	Role                                 string
	Roles                                []role
	NoMail, MailOff                      bool
}

// role is what an administrator may be made for.
type role struct {
	Name, Text, Means string
}

type administratorPage struct {
	userPage
	Role   string // chosen
	Roles  []role
	Locked bool
	You    bool
}

type kindItem struct {
	Name, Text string
	Two        bool
}

type twoRulesPage struct {
	settingsFrame
	Form   web.Form
	Set    settings.Approvals
	Kinds  []kindItem
	Reason string
}
