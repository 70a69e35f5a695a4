package portal

import (
	"time"

	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/web/listing"
)

// device is a computer as its owner sees it.
type device struct {
	ID         string
	Name       string
	System     string
	Icon       string
	Protection web.Sign
	LastBackup time.Time
	Bytes      int64
	Files      int64
}

type sourcesPage struct {
	web.Frame
	Devices []device
	Asked   []devices.Key // about which the user is asked
	Command string        // to activate a computer
	Quota   string        // how much is used of it, "" without one
}

// aboutPage is what is known of a device, and what its user may do with it.
type aboutPage struct {
	web.Frame
	Form            web.Form
	Device          device
	Name            string // typed, or as it is
	Host, IP        string
	Client          string
	Names           []string // it had
	Seen, Activated time.Time
	Restores        []web.Sign
	Undo            string // what can be taken back, "" for nothing
	Ends            bool   // it can be deactivated
	Settings        []entry.Setting
	Folders         []entry.Folder
	Private         bool // for who is kept out: never here
	Tested          entry.TestedPath
	Told            bool // the computer has told what its user chose
	Events          []entry.Event
}

// askPage asks before something is done.
type askPage struct {
	web.Frame
	Consequences []string
	Back, Button string
}

// keyPage asks whether an administrator may make an activation key.
type keyPage struct {
	web.Frame
	Key, Admin string
	Device     string // whose place the computer is to take, "" for none's
	Open       bool   // it is not answered yet
}

type devicePage struct {
	web.Frame
	Device    device
	Restores  []web.Sign // of the files of the computer that it replaced
	Retired   bool       // a device of its kind cannot be added again
	All       []string   // with Retired: the tokens of everything in the snapshot
	Snapshot  string     // the chosen one, "" when there is none
	Calendar  calendar
	Snapshots []snapshotLink // of the chosen day
	Folder    folder
	Damaged   bool // the chosen snapshot cannot be opened or read
}

type snapshotLink struct {
	Href       string
	Time       time.Time
	Bytes      int64
	Unreadable int64
	Partial    bool
	Chosen     bool
}

// folder is one folder of a snapshot, or a part of it.
type folder struct {
	Token   string // of the folder's path, for the form
	Crumbs  []listing.Crumb
	Entries []listing.Item
	Pages   web.Pages
}

type activityPage struct {
	web.Frame
	Parts []web.Link // of the list
	Rows  []event
	Pages web.Pages
}

// event is somebody who did something to the user's account or backups, or
// tried to.
type event struct {
	At                time.Time
	Who, What, Device string
	Files             []string // that were taken, by their paths
	Snapshot, Href    string   // where they were taken from, and its page
	IP                string
	Own, Admin        bool // it was the user, or an administrator
	Outcome           web.State
}
