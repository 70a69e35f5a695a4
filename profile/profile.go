// Package profile is what an organisation decides about backups: what is backed
// up and when, and what users may do. It is pure: where profiles are kept and
// who has which is server/profiles' business, what follows from one on a
// computer is the agent's.
package profile

import (
	"encoding/json"
	"path"
	"runtime"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/errs"
)

// Settings are one profile's. Their JSON is what the server stores and sends; a
// field that is missing there has its default, one that is not known is ignored,
// so that programs of different releases understand each other.
type Settings struct {
	// Folders are backed up on every device with this profile.
	Folders []Folder `json:"folders"`

	// Exclude is what is left out, wherever it lies, also below a mandatory
	// folder. See Excluded.
	Exclude []string `json:"exclude"`

	// UserMay is what users may choose for themselves.
	UserMay UserMay `json:"user_may"`

	// IntervalMinutes is the time from the end of one backup to the start of
	// the next, when Schedule.Cron does not name times.
	IntervalMinutes int      `json:"interval_minutes"`
	Schedule        Schedule `json:"schedule"`

	// Bandwidth, CPU and Networks are how backups keep out of the way.
	Bandwidth Bandwidth `json:"bandwidth"`
	CPU       CPU       `json:"cpu"`
	Networks  Networks  `json:"networks"`

	// QuotaBytes is how much each user may store, 0 for no limit.
	QuotaBytes int64 `json:"quota_bytes"`

	// Hooks are scripts around backups, in the order in which they run.
	Hooks []Hook `json:"hooks"`

	// Notifications is what users are told on their computers.
	Notifications Notifications `json:"notifications"`

	// WebRestore shows users their files in the portal.
	WebRestore bool `json:"web_restore"`

	// Sharing lets users give links to their files. Without it and without
	// WebRestore there is nothing for them in the portal, and they do not get
	// in.
	Sharing bool `json:"sharing"`

	// UserCanEditPrivacy lets users keep administrators out of their backups.
	// Taking it away leaves those who do as they are.
	UserCanEditPrivacy bool `json:"user_can_edit_privacy"`

	// SecondFactor is Required when users must have one to log in, and
	// Optional when they may.
	SecondFactor SecondFactor `json:"second_factor"`

	// AllowAddDevices lets users activate devices; MaxDevices is how many they
	// can have, replaced and deleted ones not counted.
	AllowAddDevices bool `json:"allow_add_devices"`
	MaxDevices      int  `json:"max_devices"`

	// SameName is what becomes of a new device that has the name of another one of
	// the same user. A name alone never gives access to data.
	SameName SameName `json:"same_name"`

	// InactiveDays is after how many days without a complete backup a device counts
	// as inactive; AutoDeleteInactiveDays how many days later it is deleted, 0 for
	// never.
	InactiveDays           int `json:"inactive_days"`
	AutoDeleteInactiveDays int `json:"auto_delete_inactive_days"`

	// ReactivateKeepUnlinked says whether a device that is activated again keeps
	// the list of folders that its user had unlinked. No clears it.
	ReactivateKeepUnlinked KeepUnlinked `json:"reactivate_keep_unlinked"`

	// AutoDeletePreservedDays is after how many days a preserved user is
	// deleted, 0 for never.
	AutoDeletePreservedDays int `json:"auto_delete_preserved_days"`
}

// Folder is a folder to back up: an absolute path, or one that begins with ~/,
// the home of the device's user.
type Folder struct {
	Path      string `json:"path"`
	Mandatory bool   `json:"mandatory"` // users cannot leave it out
}

// Defaults are the settings of a new profile.
func Defaults() Settings {
	return Settings{
		Folders:         []Folder{},
		Exclude:         []string{},
		UserMay:         UserMay{Schedule: true, Bandwidth: true, CPU: true, Pause: true, Networks: true, Folders: true, PauseMaxHours: MaxPauseHours},
		IntervalMinutes: 240,
		Schedule: Schedule{Windows: []Window{}, Blackouts: []Window{}, OnWindowEnd: Finish,
			BigFileMinutes: 20, BigFileBytes: 128_000_000, JitterPercent: 10},
		Bandwidth:              Bandwidth{Table: []Rate{}, LANExempt: []string{}},
		CPU:                    CPUNormal,
		Networks:               Networks{Allow: []Network{}, Deny: []Network{}, Metered: MeteredPause, BatteryPercent: 30},
		Hooks:                  []Hook{},
		Notifications:          NotifyProblems,
		WebRestore:             true,
		SecondFactor:           Optional,
		AllowAddDevices:        true,
		MaxDevices:             10,
		SameName:               SamePrompt,
		InactiveDays:           30,
		ReactivateKeepUnlinked: KeepNo,
	}
}

// Decode reads settings from JSON.
func Decode(text []byte) (Settings, error) {
	s := Defaults()
	// What users may do was one truth value at first.
	first := struct {
		UserCanAdd *bool `json:"user_can_add"`
	}{&s.UserMay.Folders}
	if err := json.Unmarshal(text, &first); err != nil {
		return Settings{}, errs.New(errs.Invalid, "profile.invalid").Because(err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return Settings{}, errs.New(errs.Invalid, "profile.invalid").Because(err)
	}
	return s.normal(), nil
}

// Encode is the JSON of settings; the same settings give the same text.
func (s Settings) Encode() []byte {
	text, err := json.Marshal(s.normal())
	if err != nil {
		panic(err) // texts, numbers and truth values always have their JSON
	}
	return text
}

func text(s string) bool {
	return len(s) <= maxPath && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// possible reports whether a profile may name this folder.
func possible(p string) bool {
	return text(p) && (p == "~" || located(p))
}

// own reports whether users may name this folder as one of their own: it lies
// where it says, and has whatever name a system lets it have.
func own(p string) bool {
	return len(p) <= maxPath && !strings.ContainsRune(p, 0) && !strings.HasPrefix(p, "~") && located(p)
}

// located reports whether a path begins where one can, and goes straight from
// there.
func located(p string) bool {
	slashed := strings.ReplaceAll(p, `\`, "/")
	rest := slashed
	switch {
	case strings.HasPrefix(p, "~/") || windows(p) && strings.HasPrefix(slashed, "~/"):
		rest = slashed[1:]
	case windows(p):
		rest = slashed[2:]
	case strings.HasPrefix(p, "/"):
		rest = p
	default:
		return false
	}
	// No "..", no "//": what is written is what is backed up.
	clean := path.Clean(rest)
	return rest == clean || rest == clean+"/"
}

// windows reports whether a path begins with a drive.
func windows(p string) bool {
	return len(p) >= 3 && (p[0] >= 'A' && p[0] <= 'Z' || p[0] >= 'a' && p[0] <= 'z') && p[1] == ':' && (p[2] == '\\' || p[2] == '/')
}

// Paths are the folders of the profile on a computer of this program's system,
// whose user has this home: absolute and without repeats. Folders of other
// systems are left out, and those below home when it is not known.
func (s Settings) Paths(home string) []string {
	paths := []string{}
	for _, f := range s.normal().Folders {
		p := f.Path
		switch {
		case p == "~" || strings.HasPrefix(p, "~/"):
			if home == "" {
				continue
			}
			p = home + p[1:]
		case windows(p) != (runtime.GOOS == "windows"):
			continue
		}
		if len(p) > 1 {
			p = strings.TrimRight(p, "/")
		}
		if p == "" {
			p = "/"
		}
		if !slices.Contains(paths, p) {
			paths = append(paths, p)
		}
	}
	return paths
}

// pattern reports whether an exclusion can be read.
func pattern(e string) bool {
	if _, err := path.Match(e, ""); err != nil {
		return false
	}
	return strings.Trim(e, "/") != ""
}

// Excluded returns the question whether a path is left out, for a user with
// this home. A pattern without a slash is a name: whatever is called so is left
// out, and all below it. One with a slash is a whole path, absolute or beginning
// with ~/. In both, * is any text within a name, ? a character and [a-z] one of
// these. The question is meant for each folder on the way down: it looks at the
// path given, not at those above it.
func (s Settings) Excluded(home string) func(p string) bool {
	excludes := s.excludes(home)
	return func(p string) bool { return excludes(p) != "" }
}

// excludes returns the question which exclusion leaves a path out, "" for none.
func (s Settings) excludes(home string) func(p string) string {
	type exclusion struct {
		text, match string
		name        bool // it is one of names
	}
	var list []exclusion
	for _, text := range s.normal().Exclude {
		e := strings.TrimSuffix(text, "/")
		switch {
		case !pattern(e):
		case !strings.Contains(e, "/"):
			list = append(list, exclusion{text, e, true})
		case strings.HasPrefix(e, "~/"):
			if home != "" {
				list = append(list, exclusion{text, escape(home) + e[1:], false})
			}
		default:
			list = append(list, exclusion{text, e, false})
		}
	}
	return func(p string) string {
		name := path.Base(p)
		for _, e := range list {
			against := p
			if e.name {
				against = name
			}
			if ok, _ := path.Match(e.match, against); ok {
				return e.text
			}
		}
		return ""
	}
}

// escape makes a pattern that matches a path as it is.
func escape(p string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p)
}
