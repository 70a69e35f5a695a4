package entry

import (
	"time"

	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/web"
)

type loginPage struct {
	web.Frame
	Form     web.Form
	Username string
	Next     string // where to go after the log-in
	Register bool   // people may register by themselves
	Portal   string // at the console: where users find their files
}

type choosePage struct {
	web.Frame
	Choice []string
	Next   string
}

// proofPage asks for a second factor, or for a proof once more.
type proofPage struct {
	web.Frame
	Form     web.Form
	Next     string
	Username string
	Codes    bool // there is an app, or a recovery code is left
	Passkeys bool
}

type passwordPage struct {
	web.Frame
	Form     web.Form
	Rules    []web.Rule
	Username string
	Next     string
	Token    string // of the link that leads here
	Action   string

	Temporary bool // the password that is replaced was given, not chosen
}

type forgotPage struct {
	web.Frame
	Form      web.Form
	Usernames bool // it is the username that was forgotten
	Value     string
}

// noticePage says one thing.
type noticePage struct {
	web.Frame
	Icon, Text, Code, Hint string
	Action                 *web.Link
	Post                   *post
	Back                   bool // to the log-in
	LogOut                 bool
}

// post is a button that does something.
type post struct{ Action, Name, Value, Key string }

type registerPage struct {
	web.Frame
	Form                                 web.Form
	Email, Username, FirstName, LastName string
	NeedsSerial                          bool
	Serial                               []web.Box
	Code                                 string // of what is wrong with the serial number
}

type codePage struct {
	web.Frame
	Form   web.Form
	Action string
	Resend string
	Digits []web.Box
	Wait   int // seconds until another code may be asked for
}

type enrolPage struct {
	web.Frame
	Form       web.Form
	App        factors.App
	CanPasskey bool
	Next       string
}

type recoveryPage struct {
	web.Frame
	Codes []string
	Next  string
}

// section is what all pages of Account have.
type section struct {
	web.Frame
	Sections []web.Link
}

type youPage struct {
	section
	Form                web.Form
	Username, Email     string
	FirstName, LastName string
	NewEmail            string
}

type emailPage struct {
	section
	Form   web.Form
	Digits []web.Box
}

type securityPage struct {
	section
	Form       web.Form
	Rules      []web.Rule
	Username   string
	Changed    time.Time // the password
	Locked     bool      // the password: a second factor is to be proved before anything is typed
	Factors    factors.Summary
	CanPasskey bool
}

type totpPage struct {
	section
	Form web.Form
	App  factors.App
}

type codesPage struct {
	section
	Codes []string
}

type sessionsPage struct {
	section
	Sessions  []login
	Computers bool // administrators have none
	Devices   []device
}

type login struct {
	ID, Browser, Agent, IP string
	Phone, Here            bool
	Began, Seen            time.Time
}

type device struct {
	ID, Name, System, Icon, IP string
	State                      web.State
	Active                     bool
	Seen                       time.Time
}

type askDevicePage struct {
	section
	Device device
}

type privacyPage struct {
	section
	User      bool      // not an administrator: there are backups, and somebody to ask for the deletion
	On        bool      // administrators are kept out of the backups
	MaySwitch bool      // the profile allows to keep them out
	Asked     time.Time // when the deletion was asked for and not answered, or zero
}

// Parts are the secret of an app in groups that can be read out and typed.
func (page enrolPage) Parts() []string { return fours(page.App.Secret) }

// Parts is as for enrolPage.
func (page totpPage) Parts() []string { return fours(page.App.Secret) }

func fours(s string) (parts []string) {
	for ; len(s) > 4; s = s[4:] {
		parts = append(parts, s[:4])
	}
	return append(parts, s)
}
