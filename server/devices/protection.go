package devices

import (
	"context"
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/wire"
)

// Level is how well a device is protected.
type Level string

// The levels.
const (
	Protected Level = "protected" // its newest complete snapshot is as young as its profile asks for
	AtRisk    Level = "risk"      // it has one, but that is older
	Never     Level = "never"     // it has none
	Stopped   Level = "stopped"   // nobody expects backups of it
)

// Protection is how a device is protected, and why not better.
type Protection struct {
	Level  Level
	Reason string // see Protect; "" when there is nothing to say
	Code   string // of the last failure, when that is the reason

	Complete time.Time // its newest complete snapshot
	Running  bool      // it backs up now
	Progress wire.Progress
}

// The reasons: what is the matter with a device that works.
const (
	BecausePaused  = "paused"  // its user paused the backups
	BecauseFailed  = "failed"  // the last backup failed
	BecausePartial = "partial" // the last backup is not finished
	BecauseQuota   = "quota"   // files wait for room on it
	BecauseSilent  = "silent"  // it has not been heard of for as long
)

// reportLasts is how long a device's word that it is backing up is believed.
const reportLasts = 15 * time.Minute

// Protect says how well a device is protected: the one answer that the console,
// the portal and the client give (G-08). A device is protected while its newest
// complete snapshot is younger than the settings in force on it ask for: twice
// the interval, and a day at least. A part of a backup protects nothing, and is
// told apart, as is a failure. The reason of a stopped device is its state, or
// what DisabledBy says.
func Protect(d Device, e profile.Effective, now time.Time) Protection {
	p := Protection{Complete: d.CompleteAt}
	if !d.Works() {
		p.Level, p.Reason = Stopped, string(d.State)
		if by := d.DisabledBy(); by != "" && by != ByAdministrator {
			p.Reason = by
		}
		return p
	}
	lasts := e.ProtectedFor(now)
	switch {
	case d.CompleteAt.IsZero():
		p.Level = Never
	case e.Protects(d.CompleteAt, now):
		p.Level = Protected
	default:
		p.Level = AtRisk
	}
	p.Running = d.Status == wire.StateRunning && now.Sub(d.LastSeenAt) < reportLasts
	if d.Progress != nil {
		p.Progress = *d.Progress
	}
	switch {
	case p.Running:
	case p.Level == AtRisk && now.Sub(d.LastSeenAt) >= lasts:
		p.Reason = BecauseSilent
	case d.Status == wire.StatePaused:
		p.Reason = BecausePaused
	case d.WaitingFiles > 0:
		p.Reason = BecauseQuota
	case d.Status == wire.StateFailed:
		p.Reason, p.Code = BecauseFailed, d.StatusCode
	case d.LastStatus == "partial":
		p.Reason = BecausePartial
	}
	return p
}

// Judge says how well devices are protected. It reads each profile once, for the
// time of a transaction.
type Judge struct {
	settings map[ofProfile]profile.Settings
}

type ofProfile struct {
	org     orgs.ID
	profile access.ProfileID
}

// Effective are the settings in force on a device: the profile of its user, and
// what the user chose there.
func (j *Judge) Effective(ctx context.Context, tx *db.Tx, d Device) (profile.Effective, error) {
	s, err := j.Profile(ctx, tx, d)
	if err != nil {
		return profile.Effective{}, err
	}
	choices := profile.Choices{}
	if d.Choices != nil {
		choices = *d.Choices
	}
	return profile.Merge(s, choices), nil
}

// Profile are the settings of the profile of a device's user.
func (j *Judge) Profile(ctx context.Context, tx *db.Tx, d Device) (profile.Settings, error) {
	key := ofProfile{d.Org, d.OwnerProfile}
	s, ok := j.settings[key]
	if !ok {
		p, err := profiles.Of(ctx, tx, accounts.User{ID: d.User, Org: d.Org, Profile: d.OwnerProfile})
		if err != nil {
			return profile.Settings{}, err
		}
		if j.settings == nil {
			j.settings = map[ofProfile]profile.Settings{}
		}
		s = p.Settings
		j.settings[key] = s
	}
	return s, nil
}

// Protection is Protect with the settings in force.
func (j *Judge) Protection(ctx context.Context, tx *db.Tx, d Device, now time.Time) (Protection, error) {
	e, err := j.Effective(ctx, tx, d)
	if err != nil {
		return Protection{}, err
	}
	return Protect(d, e, now), nil
}
