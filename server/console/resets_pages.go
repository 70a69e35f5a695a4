package console

import (
	"github.com/backstay/backstay/server/resets"
	"github.com/backstay/backstay/web"
)

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
