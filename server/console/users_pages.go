package console

import (
	"time"

	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/web"
)

type user struct {
	ID, Username, FullName, Email string
	Profile, ProfileID            string
	Devices                       int64
	LastBackup, LastLogin         time.Time
	Created                       time.Time
	State                         web.State
	Seat                          string // what it takes of the licence, "" for nothing
	Quota                         quota
	MailFailed                    string // why the last mail to the user did not leave, "" when it did
	CanDisable, CanActivate       bool
}

type usersPage struct {
	web.Frame
	Query     string
	Profile   string // only those of this one
	Filtered  bool   // not everybody is shown
	States    []choice
	Profiles  []profileItem
	Users     []user
	Pages     web.Pages
	Export    string // where the same list is had as a file
	CanManage bool
}

type newUserPage struct {
	web.Frame
	Form                                 web.Form
	How                                  string // byInvitation or byPassword
	Username, FirstName, LastName, Email string
	Profile, Licence, Language           string
	NoMail                               bool // hand the link over instead
	MailOff                              bool // no mail leaves this server
	Profiles                             []profileItem
	Licences                             []option
}

type madeUserPage struct {
	web.Frame
	Username, Email, Portal string
	Home                    string // its page
	Invited                 bool   // the user sets a password; else Secret is it
	Again                   bool   // the user is no new one
	Secret                  string // a password, or what the client takes for one until it is replaced
	Link                    string // of the activation, when no mail brings it
	Command                 string // to activate a computer, "" for who has none
	Another                 string // where one more is made
}

type userPage struct {
	web.Frame
	Form        web.Form
	Home        string // its address
	Explain     string // address of the page about why the user cannot sign in, "" for administrators
	User        user
	StateText   string
	Reason      string // of the state
	Language    string
	Licence     string
	Notices     []notice
	First, More []button
	Devices     []device
	Keys        []keyItem
	Sessions    []session
	Factors     factors.Summary
	Private     bool // the user keeps administrators out of the backups

	ShowAttempts bool // to sign in, to who may know
	Attempts     []attempt
	Command      string // to activate a computer
	CanManage    bool
}

type session struct {
	ID, Where, Browser, IP string
	Began, Seen            time.Time
}

type chooseProfilePage struct {
	web.Frame
	Home, Username, Profile string
	Profiles                []profileItem
}

type quotaPage struct {
	web.Frame
	Form           web.Form
	Home, Username string
	Now            quota
	Profile        string // what the profile says
	Own            bool
	Size           size
}

type editUserPage struct {
	web.Frame
	Form                                           web.Form
	Home, Whose                                    string // the page of the account, and its username as it is
	Private                                        bool   // the address is the user's to change
	Username, Email, FirstName, LastName, Language string
	EmailHint                                      string // what becomes of the old address, "" when there is none
}

type chooseLicencePage struct {
	web.Frame
	Form                    web.Form
	Home, Username, Licence string
	Licences                []role
}

type importPage struct {
	web.Frame
	Form                    web.Form
	ID                      string
	Running, Done           bool
	Stopped                 *web.Sign // that it is not finished, and how far it came
	Total                   int64
	Good, Exists, Bad, Made int64 // Made is, while it runs, how many rows are dealt with
	Bar                     []bar
	Rows                    []importRow // the first that cannot be made
	Last                    []lastImport
}

// lastImport is a file of the last day, and what has become of it.
type lastImport struct {
	ID   string
	At   time.Time
	What web.Sign
}

type importRow struct {
	Line                    int64
	Username, Email, Reason string
}

type explainPage struct {
	web.Frame
	ID, Username, URL string
	OK                bool // nothing stands in the way
	Lines             []explainLine
	Attempts          []attempt
}

type attempt struct {
	At                time.Time
	IP, Where, Reason string
	Code              string
	Outcome           web.State
}
