package devices

import (
	"slices"
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/wire"
)

// Line is one of the things on which a device's protection hangs, and whether it
// holds. Key and Args are its sentence.
type Line struct {
	Name string
	OK   bool
	Key  string
	Args []any
	Fix  Fix
}

// Fix is what mends a line.
type Fix string

// The fixes.
const (
	FixNothing  Fix = ""
	FixEnable   Fix = "enable"   // SetState to Active
	FixUndelete Fix = "undelete" // Undelete
	FixApprove  Fix = "approve"  // an administrator lets it in
	FixKey      Fix = "key"      // an activation key, with which it is activated again
	FixUser     Fix = "user"     // the user's account works again
	FixProfile  Fix = "profile"  // what the profile says
	FixBackup   Fix = "backup"   // ask for a backup
)

// Explain says why a device is protected or not, by the settings in force on it:
// each thing that has to hold, in the order in which to look for what is wrong.
// What lies behind something that does not hold is left out.
func Explain(d Device, e profile.Effective, now time.Time) []Line {
	lines := []Line{explainState(d)}
	if d.State != Active {
		return lines
	}
	if lines = append(lines, explainOwner(d)); d.Owner != accounts.Active {
		return lines
	}
	return append(lines, explainContact(d, e, now), explainPause(d, e, now), explainFolders(d, e), explainLast(d), explainComplete(d, e, now))
}

// Well reports whether all lines hold.
func Well(lines []Line) bool {
	return !slices.ContainsFunc(lines, func(l Line) bool { return !l.OK })
}

func explainState(d Device) Line {
	fix := map[State]Fix{Disabled: FixEnable, Deleted: FixUndelete, Waiting: FixApprove, Deactivated: FixKey}[d.State]
	if d.Owner == accounts.Deleted || d.Owner == accounts.Purged {
		fix = FixUser // they come back as one
	}
	return Line{Name: "state", OK: d.State == Active, Key: "why.state." + string(d.State), Args: []any{"at", d.StateAt}, Fix: fix}
}

func explainOwner(d Device) Line {
	if d.Owner == accounts.Active {
		return Line{Name: "owner", OK: true, Key: "why.owner.active"}
	}
	return Line{Name: "owner", Key: "why.owner." + d.DisabledBy(), Fix: FixUser}
}

func explainContact(d Device, e profile.Effective, now time.Time) Line {
	if quiet := now.Sub(d.LastSeenAt); quiet >= e.ProtectedFor(now) {
		return Line{Name: "contact", Key: "why.contact.silent", Args: []any{"time", quiet}}
	}
	return Line{Name: "contact", OK: true, Key: "why.contact.good", Args: []any{"at", d.LastSeenAt}}
}

func explainPause(d Device, e profile.Effective, now time.Time) Line {
	if e.Paused(now) {
		return Line{Name: "pause", Key: "why.pause.until", Args: []any{"at", e.PausedUntil.Value}}
	}
	if d.Status == wire.StatePaused {
		return Line{Name: "pause", Key: "why.pause.on"}
	}
	return Line{Name: "pause", OK: true, Key: "why.pause.off"}
}

// explainFolders knows the folders that the device reports, and until it has
// reported any those that are in force.
func explainFolders(d Device, e profile.Effective) Line {
	n := len(d.Folders)
	if n == 0 {
		for _, f := range e.Folders {
			if f.Backed() {
				n++
			}
		}
	}
	if n == 0 {
		return Line{Name: "folders", Key: "why.folders.none", Fix: FixProfile}
	}
	return Line{Name: "folders", OK: true, Key: "why.folders.some", Args: []any{"n", n}}
}

func explainLast(d Device) Line {
	switch {
	case d.Status == wire.StateFailed && d.StatusCode != "":
		return Line{Name: "last", Key: "why.last.failed.code", Args: []any{"code", d.StatusCode}}
	case d.Status == wire.StateFailed:
		return Line{Name: "last", Key: "why.last.failed"}
	case d.LastStatus == "partial":
		return Line{Name: "last", Key: "why.last.partial"}
	case d.LastBackupAt.IsZero():
		return Line{Name: "last", Key: "why.last.none", Fix: FixBackup}
	}
	return Line{Name: "last", OK: true, Key: "why.last.good", Args: []any{"at", d.LastBackupAt}}
}

func explainComplete(d Device, e profile.Effective, now time.Time) Line {
	if d.CompleteAt.IsZero() {
		return Line{Name: "complete", Key: "why.complete.none", Fix: FixBackup}
	}
	l := Line{Name: "complete", OK: e.Protects(d.CompleteAt, now), Key: "why.complete.good", Args: []any{"at", d.CompleteAt, "lasts", e.ProtectedFor(now)}}
	if !l.OK {
		l.Key, l.Fix = "why.complete.old", FixBackup
	}
	return l
}
