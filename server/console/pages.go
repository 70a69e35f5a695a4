package console

import (
	"slices"
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/approvals"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/resets"
	"github.com/backstay/backstay/server/settings"
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
	Seat                          string // what it takes of the licence, "" for nothing
	Quota                         quota
	MailFailed                    string // why the last mail to the user did not leave, "" when it did
	CanDisable, CanActivate       bool
}

// choice is a link that narrows a list.
type choice struct {
	Text, Href string
	Count      int64
	Active     bool
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

// option is an entry of a select field.
type option struct{ Value, Text string }

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
	Explain     string // where it is said why the user cannot sign in, "" for nowhere
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

// notice is something about a user that somebody should know, and what can be
// done about it.
type notice struct {
	What    web.Sign
	Buttons []button
}

// button leads somewhere, or does something at once.
type button struct {
	Text, Icon, Href, Class string
	Post                    bool
}

type session struct {
	ID, Where, Browser, IP string
	Began, Seen            time.Time
}

type chooseProfilePage struct {
	web.Frame
	ID, Username, Profile string
	Profiles              []profileItem
}

// quota is how much of one is used.
type quota struct {
	Text string
	Bar  []bar // nil without a limit
	Full bool
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

type device struct {
	ID, Name, System, Icon, Client  string
	UserID, Username                string
	Protection                      web.Sign
	State                           web.State
	LastBackup, LastSeen, Activated time.Time
	Bytes, Files                    int64
	Final                           time.Time // when the deletion of a deleted one becomes final
	Ends                            time.Time // when an inactive one is deleted, zero: never
	Inactive, Locked                bool
	IP                              string // it was last seen at
	Names                           []string
	Account                         string // of the system, on a computer with several
	Cloned                          bool
}

type devicesPage struct {
	web.Frame
	Query    string
	Show     string // only those of this level of protection, "" for all
	State    string // only those in this state or with this mark, "" for all that are not gone
	States   []choice
	CanWrite bool // to the users
	Devices  []device
	Pages    web.Pages
}

type devicePage struct {
	web.Frame
	Form             web.Form
	Home             string // its address
	Device           device
	Serial, Machine  string // of the computer
	Host, OSUser     string
	Whole            bool // it backs up the whole computer
	Profile          string
	ProfileID        string
	CanManage        bool
	Retired          bool // its kind is no longer offered
	Notices          []notice
	First, More      []button
	Why              []explainLine // it is not protected; empty: it is
	Beside           []device      // on the same computer
	Keys             []keyItem     // that are for it, or for its successor
	Events           []entry.Event
	Settings         []entry.Setting
	Folders          []entry.Folder
	Private          bool // its user keeps administrators out
	Tested           entry.TestedPath
	Told             bool // the computer has told what its user chose
	Computers        []computer
	Snapshots        []snapshot
	AllSnapshots     string // where they are all shown, "" here
	CountedSnapshots int64
}

// computer is one that a device is or was.
type computer struct {
	devices.Identity
	System string
	Ended  string // why and by whom
}

type renamePage struct {
	web.Frame
	Form                  web.Form
	Home, Name, Host, New string
}

// keyItem is an activation key in a list.
type keyItem struct {
	devices.Key
	Text  string // what it is for
	State web.State
	Make  string // where it is made, when its user has allowed it
	End   string // where it is revoked, while it is good
}

type newKeyPage struct {
	web.Frame
	Form                   web.Form
	Home, Username, Choice string
	Device                 string
	Private                bool // the user is asked first
	Devices                []option
}

type madeKeyPage struct {
	web.Frame
	Key                          devices.Key
	Home, Username, Text, Secret string
	Command                      string
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
	AskReason    bool
	Reason       string
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

type explainPage struct {
	web.Frame
	ID, Username, URL string
	OK                bool // nothing stands in the way
	Lines             []explainLine
	Attempts          []attempt
}

type explainLine struct {
	Name, Text string
	OK         bool
	Fix        *button
}

type attempt struct {
	At                time.Time
	IP, Where, Reason string
	Code              string
	Outcome           web.State
}

// askPage asks before something that is easily undone.
type askPage struct {
	web.Frame
	Form                       web.Form
	Text, Action, Back, Button string
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

// writePage writes to the users of a security reset.
type writePage struct {
	web.Frame
	Form                         web.Form
	Reset                        string // those of a security reset that are not back; "": chosen by the next two
	Back                         string // where it was come from
	Affected                     bool   // only users with a device that was deactivated
	Profile                      string // only those of this one
	Window, Since, Link, Contact string
	Note                         string
	Profiles                     []profileItem
	Count, Without               int64 // who gets it, and who has no address
	Previews                     []preview
	ID                           string // of the preview, which is sent once
}

type preview struct{ Language, Code, Subject, Text string }

type sentPage struct {
	web.Frame
	Total, Sent, Waiting, Failed int64
	Bar                          []bar
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

// resetItem is a security reset and how far it is.
type resetItem struct {
	resets.Reset
	Progress resets.Progress
	Href     string
	Shown    web.State
	Bar      []bar
}

type resetsPage struct {
	web.Frame
	Resets    []resetItem
	CanManage bool
}

// newResetPage is the form of a reset, and then what it would do.
type newResetPage struct {
	web.Frame
	Form                       web.Form
	Name, Reason, Users, Batch string
	Profile, OS, Token         string
	ActivatedBefore, SeenSince string
	Distrust                   bool
	Profiles, Systems, Tokens  []option
	New                        resets.New
	Choice                     resets.Choice
	Devices                    []device // the first
	Parts                      []count  // by operating system
}

type resetPage struct {
	web.Frame
	Form        web.Form
	Reset       resetItem
	Missing     []resets.Device // the first that are not back
	First, More []button
	CanManage   bool
	Moving      bool // it changes while it is looked at
}
