package console

import (
	"time"

	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/web"
)

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
	Barred                          bool   // a computer that it was stays locked
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
