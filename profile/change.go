package profile

import (
	"reflect"
	"slices"
	"time"

	"github.com/backstay/backstay/errs"
)

// Setting names something that users may choose.
type Setting string

// The settings. Folders and pauses are chosen in their own ways.
const (
	SettingInterval  Setting = "interval" // how often, or when: Rhythm
	SettingHours     Setting = "hours"    // the windows
	SettingBandwidth Setting = "bandwidth"
	SettingCPU       Setting = "cpu"
	SettingNetworks  Setting = "networks" // those left out
)

// AllSettings are they, in the order in which people are shown them.
var AllSettings = []Setting{SettingInterval, SettingHours, SettingBandwidth, SettingCPU, SettingNetworks}

// With are the choices with those that set makes in place of earlier ones, and
// without those of back. What the settings do not let users choose, or what
// would not be in force as it was said, is refused, and nothing is changed.
// Folders and pauses of set are not looked at.
func (c Choices) With(s Settings, set Choices, back ...Setting) (Choices, error) {
	next := c
	for _, name := range back {
		if !next.take(name, Choices{}) {
			return c, errs.New(errs.Invalid, "choices.setting.unknown", "name", string(name))
		}
	}
	made := set.made()
	for _, name := range made {
		next.take(name, set)
	}
	if err := next.Validate(); err != nil {
		return c, err
	}
	for _, v := range Merge(s, next).Settable() {
		if err := v.against(); err != nil && slices.Contains(made, v.Name) {
			return c, err
		}
	}
	return next.normal(), nil
}

// made are the settings that choices say something of.
func (c Choices) made() (names []Setting) {
	for _, name := range AllSettings {
		var alone Choices
		alone.take(name, c)
		if !reflect.DeepEqual(alone, Choices{}) {
			names = append(names, name)
		}
	}
	return names
}

// take sets one setting as from has it, and reports whether there is one of
// that name.
func (c *Choices) take(name Setting, from Choices) bool {
	switch name {
	case SettingInterval:
		c.IntervalMinutes, c.Cron = from.IntervalMinutes, from.Cron
	case SettingHours:
		c.Windows = from.Windows
	case SettingBandwidth:
		c.UpKbps, c.UpPercent = from.UpKbps, from.UpPercent
	case SettingCPU:
		c.CPU = from.CPU
	case SettingNetworks:
		c.NetworksOut = from.NetworksOut
	default:
		return false
	}
	return true
}

// InForce is a setting with its value in force.
type InForce struct {
	Name    Setting
	Value   any // a Rhythm, windows, a Limit, a CPU, or networks left out
	Profile any // what holds without the user's choice
	Source  Source
	Ignored Ignored
	May     bool // users may choose it
}

// Settable are the settings that users may be let choose, in the order of
// AllSettings.
func (e Effective) Settable() []InForce {
	may := e.Settings.UserMay
	return []InForce{
		inForce(SettingInterval, e.Rhythm, may.Schedule), inForce(SettingHours, e.Windows, may.Schedule),
		inForce(SettingBandwidth, e.Limit(), may.Bandwidth), inForce(SettingCPU, e.CPU, may.CPU), inForce(SettingNetworks, e.NetworksOut, may.Networks),
	}
}

func inForce[T any](name Setting, v Value[T], may bool) InForce {
	return InForce{name, v.Value, v.Profile, v.Source, v.Ignored, may}
}

// against is the refusal of a choice that would not be in force.
func (v InForce) against() error {
	switch v.Ignored {
	case NotAllowed:
		return errs.New(errs.Forbidden, "choices.not_allowed."+string(v.Name))
	case Lower:
		if limit, ok := v.Profile.(Limit); ok && limit.Percent > 0 {
			return errs.New(errs.Invalid, "choices.bandwidth.lower.percent", "n", limit.Percent)
		}
		return errs.New(errs.Invalid, "choices.bandwidth.lower", "n", v.Profile.(Limit).Kbps)
	case Invalid:
		return errs.New(errs.Invalid, "choices."+string(v.Name)+".invalid")
	}
	return nil
}

// Pause are the choices with a pause from now for as long as d, which the
// settings have to allow.
func (c Choices) Pause(s Settings, now time.Time, d time.Duration) (Choices, error) {
	switch {
	case !s.UserMay.Pause:
		return c, errs.New(errs.Forbidden, "choices.not_allowed.pause")
	case d <= 0 || d > time.Duration(s.UserMay.PauseMaxHours)*time.Hour:
		return c, errs.New(errs.Invalid, "choices.pause.long", "hours", s.UserMay.PauseMaxHours)
	}
	c.PausedAt, c.PausedUntil = now, now.Add(d)
	return c.normal(), nil
}

// Resume are the choices without a pause.
func (c Choices) Resume() Choices {
	c.PausedAt, c.PausedUntil = time.Time{}, time.Time{}
	return c
}
