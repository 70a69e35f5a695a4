package console

import (
	"time"

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

type user struct {
	ID, Username, FullName, Email string
	Profile, ProfileID            string
	Devices                       int64
	LastBackup, LastLogin         time.Time
	Created                       time.Time
	State                         web.State
	CanDisable, CanActivate       bool
}

type usersPage struct {
	web.Frame
	Query string
	Users []user
	Pages web.Pages
}

type newUserPage struct {
	web.Frame
	Form                                 web.Form
	Username, FirstName, LastName, Email string
	Profile                              string
	Profiles                             []profileItem
}

type madeUserPage struct {
	web.Frame
	ID, Username, Password, Portal string
	Command                        string // to activate a computer
}

type userPage struct {
	web.Frame
	Form      web.Form
	User      user
	StateText string
	Devices   []device
	Command   string // to activate a computer
}

type device struct {
	ID, Name, System, Icon, Client  string
	UserID, Username                string
	Protection                      web.Sign
	State                           web.State
	LastBackup, LastSeen, Activated time.Time
	Bytes, Files                    int64
	Active                          bool // it may be asked and deactivated
}

type devicesPage struct {
	web.Frame
	Query   string
	Show    string // only those of this level of protection, "" for all
	Devices []device
	Pages   web.Pages
}

type devicePage struct {
	web.Frame
	Device    device
	Snapshots []snapshot
	Pages     web.Pages
}

type snapshot struct {
	ID           string
	Time         time.Time
	Files, Bytes int64
	Unreadable   int64
	State        web.State
}

type confirmPage struct {
	web.Frame
	Form         web.Form
	Name         string // to be typed
	Consequences []string
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
	Folders, Excludes string // one on each line
	Interval          string // minutes
	UserCanAdd        bool
	WebRestore        bool
	Sharing           bool
	Reason            string
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
