package console

import (
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/approvals"
	"github.com/backstay/backstay/web"
)

type overviewPage struct {
	web.Frame
	Org        string
	Command    string // to activate a computer
	FirstSteps bool   // there is nothing to look at yet
	Users      int64
	Devices    int64
	Attention  []attention
	Bar        []bar
	Legend     []web.Sign
	Counts     []count
}

// attention is something that needs somebody, and where to see it.
type attention struct {
	What web.Sign
	Href string
}

// bar is a part of the protection bar, which is 1000 wide.
type bar struct {
	Class    string
	X, Width int64
}

type count struct {
	Icon, Text, Value, Href string
}

// choice is a link that narrows a list.
type choice struct {
	Text, Href string
	Count      int64
	Active     bool
}

// option is an entry of a select field.
type option struct{ Value, Text string }

// notice is something about a user or a device that somebody should know, and
// what can be done about it.
type notice struct {
	What    web.Sign
	Buttons []button
}

// button leads somewhere, or does something at once.
type button struct {
	Text, Icon, Href, Class string
	Post                    bool
}

// quota is how much of one is used.
type quota struct {
	Text string
	Bar  []bar // nil without a limit
	Full bool
}

type confirmPage struct {
	web.Frame
	Form         web.Form
	Name         string // to be typed
	AskReason    bool
	Reason       string
	Consequences []string
	Before       *notice // what is offered to be done first
	Action, Back string
	Button       string
}

type profileItem struct {
	ID, Name, Description string
	Users                 int64
	Revision              int64
	Default, WebRestore   bool
	Changed               time.Time
}

type profilesPage struct {
	web.Frame
	Profiles []profileItem
}

type profilePage struct {
	web.Frame
	Form              web.Form
	Profile           profileItem
	Name, Description string
	Set               profile.Settings
	Text              profileText
	Reason            string
	CanManage         bool
}

type auditPage struct {
	web.Frame
	Denied bool // only what was refused
	Rows   []auditRow
	Pages  web.Pages
}

type auditRow struct {
	At                                       time.Time
	Who, What, Object, ID, Code, IP, Request string
	Outcome                                  web.State
}

// explainLine is one thing that may stand in the way of a user or a device.
type explainLine struct {
	Name, Text string
	OK         bool
	Fix        *button
}

// askPage asks before something that is easily undone.
type askPage struct {
	web.Frame
	Form                       web.Form
	Text, Action, Back, Button string
}

// askedItem is an act that takes two administrators.
type askedItem struct {
	approvals.Approval
	Href, Words, About, Why string
	Shown                   web.State
	Mine                    bool // the reader asked for it
}

type askedPage struct {
	web.Frame
	Open, Over []askedItem
}

type approvalPage struct {
	web.Frame
	Asked  askedItem
	Form   web.Form
	Locked bool // the reader has to prove who they are before they approve
}
