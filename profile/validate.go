package profile

import (
	"slices"
	"strings"

	"github.com/backstay/backstay/errs"
)

// Limits of a profile.
const (
	MinInterval = 5
	MaxInterval = 7 * 24 * 60
	MaxFolders  = 200
	MaxExcludes = 1000
	MaxDevices  = 100

	MinPreservedDays = 30
	MaxPreservedDays = 3650

	MaxWindows        = 50
	MaxNetworks       = 200
	MaxBigFileMinutes = 7 * 24 * 60
	MaxJitterPercent  = 50
	MinKbps           = 16 // less would never end
	MaxKbps           = 100_000_000
	MaxBattery        = 95
	MaxPauseHours     = 24
	MaxQuotaBytes     = 1 << 60

	MinInactiveDays           = 1
	MaxInactiveDays           = 365
	MinAutoDeleteInactiveDays = 30
	MaxAutoDeleteInactiveDays = 1000

	maxPath = 4096
)

// normal has lists where there were none, without spaces around their items,
// empty ones and repeats.
func (s Settings) normal() Settings {
	folders := []Folder{}
	for _, f := range s.Folders {
		f.Path = strings.TrimSpace(f.Path)
		if f.Path == "" {
			continue
		}
		if i := slices.IndexFunc(folders, func(g Folder) bool { return g.Path == f.Path }); i >= 0 {
			folders[i].Mandatory = folders[i].Mandatory || f.Mandatory
			continue
		}
		folders = append(folders, f)
	}
	s.Folders, s.Exclude = folders, trimmed(s.Exclude)
	s.Schedule.Cron = strings.Join(strings.Fields(s.Schedule.Cron), " ")
	s.Schedule.Windows, s.Schedule.Blackouts = unique(s.Schedule.Windows), unique(s.Schedule.Blackouts)
	s.Bandwidth.Table, s.Bandwidth.LANExempt = unique(s.Bandwidth.Table), trimmed(s.Bandwidth.LANExempt)
	s.Networks.Allow, s.Networks.Deny = unique(s.Networks.Allow), unique(s.Networks.Deny)
	hooks := []Hook{}
	for _, h := range s.Hooks {
		hooks = append(hooks, h.normal())
	}
	s.Hooks = unique(hooks)
	d := Defaults()
	orElse(&s.Schedule.OnWindowEnd, d.Schedule.OnWindowEnd)
	orElse(&s.CPU, d.CPU)
	orElse(&s.Networks.Metered, d.Networks.Metered)
	orElse(&s.Notifications, d.Notifications)
	orElse(&s.SecondFactor, d.SecondFactor)
	orElse(&s.SameName, d.SameName)
	orElse(&s.ReactivateKeepUnlinked, d.ReactivateKeepUnlinked)
	return s
}

func orElse[T ~string](v *T, otherwise T) {
	if *v == "" {
		*v = otherwise
	}
}

func unique[T comparable](list []T) []T {
	out := []T{}
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func trimmed(list []string) []string {
	out := []string{}
	for _, v := range list {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return unique(out)
}

// Validate refuses settings that cannot be meant.
func (s Settings) Validate() error {
	s = s.normal()
	for _, check := range []func() error{s.validateContent, s.Schedule.validate, s.Bandwidth.validate, s.Networks.validate, s.validateHooks, s.validateRest} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s Settings) validateContent() error {
	if len(s.Folders) > MaxFolders {
		return errs.New(errs.Invalid, "profile.folders.many", "n", MaxFolders)
	}
	for _, f := range s.Folders {
		if !possible(f.Path) {
			return errs.New(errs.Invalid, "profile.folder.invalid", "folder", f.Path)
		}
	}
	if len(s.Exclude) > MaxExcludes {
		return errs.New(errs.Invalid, "profile.excludes.many", "n", MaxExcludes)
	}
	for _, e := range s.Exclude {
		if !text(e) || !pattern(e) {
			return errs.New(errs.Invalid, "profile.exclude.invalid", "pattern", e)
		}
	}
	if s.QuotaBytes < 0 || s.QuotaBytes > MaxQuotaBytes {
		return errs.New(errs.Invalid, "profile.quota.invalid")
	}
	if s.IntervalMinutes < MinInterval || s.IntervalMinutes > MaxInterval {
		return errs.New(errs.Invalid, "profile.interval.invalid", "min", MinInterval, "max", MaxInterval)
	}
	return nil
}

func (s Settings) validateRest() error {
	if !s.CPU.valid() {
		return errs.New(errs.Invalid, "profile.value.invalid", "name", "cpu")
	}
	switch s.Notifications {
	case NotifyOff, NotifyProblems, NotifyAll:
	default:
		return errs.New(errs.Invalid, "profile.value.invalid", "name", "notifications")
	}
	switch s.SameName {
	case SamePrompt, SameReplace, SameAllow:
	default:
		return errs.New(errs.Invalid, "profile.value.invalid", "name", "same_name")
	}
	switch s.ReactivateKeepUnlinked {
	case KeepNo, KeepAsk, KeepYes:
	default:
		return errs.New(errs.Invalid, "profile.value.invalid", "name", "reactivate_keep_unlinked")
	}
	if s.SecondFactor != Optional && s.SecondFactor != Required {
		return errs.New(errs.Invalid, "profile.second_factor.invalid")
	}
	if n := s.UserMay.PauseMaxHours; n < 1 || n > MaxPauseHours {
		return errs.New(errs.Invalid, "profile.pause.invalid", "max", MaxPauseHours)
	}
	if s.MaxDevices < 0 || s.MaxDevices > MaxDevices {
		return errs.New(errs.Invalid, "profile.devices.invalid", "max", MaxDevices)
	}
	if n := s.InactiveDays; n < MinInactiveDays || n > MaxInactiveDays {
		return errs.New(errs.Invalid, "profile.inactive.invalid", "min", MinInactiveDays, "max", MaxInactiveDays)
	}
	if n := s.AutoDeleteInactiveDays; n != 0 && (n < MinAutoDeleteInactiveDays || n > MaxAutoDeleteInactiveDays) {
		return errs.New(errs.Invalid, "profile.inactive_delete.invalid", "min", MinAutoDeleteInactiveDays, "max", MaxAutoDeleteInactiveDays)
	}
	if n := s.AutoDeletePreservedDays; n != 0 && (n < MinPreservedDays || n > MaxPreservedDays) {
		return errs.New(errs.Invalid, "profile.preserved.invalid", "min", MinPreservedDays, "max", MaxPreservedDays)
	}
	return nil
}

// validate refuses a schedule that cannot be meant.
func (s Schedule) validate() error {
	if s.Cron != "" {
		if _, err := ParseCron(s.Cron); err != nil {
			return errs.New(errs.Invalid, "profile.cron.invalid", "cron", s.Cron, "min", MinInterval).Because(err)
		}
	}
	invalid := func(w Window) bool { return !w.valid() }
	switch {
	case len(s.Windows) > MaxWindows:
		return errs.New(errs.Invalid, "profile.windows.many", "n", MaxWindows)
	case slices.ContainsFunc(s.Windows, invalid):
		return errs.New(errs.Invalid, "profile.windows.invalid")
	case len(s.Blackouts) > MaxWindows:
		return errs.New(errs.Invalid, "profile.blackouts.many", "n", MaxWindows)
	case slices.ContainsFunc(s.Blackouts, invalid):
		return errs.New(errs.Invalid, "profile.blackouts.invalid")
	case s.Hours().never():
		return errs.New(errs.Invalid, "profile.windows.never")
	case s.OnWindowEnd != Finish && s.OnWindowEnd != Pause:
		return errs.New(errs.Invalid, "profile.value.invalid", "name", "on_window_end")
	case s.BigFileMinutes < 0 || s.BigFileMinutes > MaxBigFileMinutes:
		return errs.New(errs.Invalid, "profile.big_file_minutes.invalid", "max", MaxBigFileMinutes)
	case s.BigFileBytes < 0 || s.BigFileBytes > MaxQuotaBytes:
		return errs.New(errs.Invalid, "profile.big_file_bytes.invalid")
	case s.JitterPercent < 0 || s.JitterPercent > MaxJitterPercent:
		return errs.New(errs.Invalid, "profile.jitter.invalid", "max", MaxJitterPercent)
	}
	return nil
}

// Hours are when backups may run.
func (s Schedule) Hours() Hours { return Hours{Windows: s.Windows, Blackouts: s.Blackouts} }

func (b Bandwidth) validate() error {
	switch {
	case !rate(b.UpKbps):
		return errs.New(errs.Invalid, "profile.up_kbps.invalid", "min", MinKbps, "max", MaxKbps)
	case b.Percent < 0 || b.Percent > 100:
		return errs.New(errs.Invalid, "profile.percent.invalid")
	case b.UpKbps > 0 && b.Percent > 0:
		return errs.New(errs.Invalid, "profile.percent.both")
	case !rate(b.RestoreKbps):
		return errs.New(errs.Invalid, "profile.restore_kbps.invalid", "min", MinKbps, "max", MaxKbps)
	case len(b.Table) > MaxWindows:
		return errs.New(errs.Invalid, "profile.rates.many", "n", MaxWindows)
	case len(b.LANExempt) > MaxNetworks:
		return errs.New(errs.Invalid, "profile.lan_exempt.many", "n", MaxNetworks)
	}
	for _, r := range b.Table {
		if !r.valid() || !rate(r.Kbps) {
			return errs.New(errs.Invalid, "profile.rates.invalid", "min", MinKbps, "max", MaxKbps)
		}
	}
	for _, text := range b.LANExempt {
		if _, ok := parseCIDR(text); !ok {
			return errs.New(errs.Invalid, "profile.lan_exempt.invalid", "network", text)
		}
	}
	return nil
}

func rate(kbps int) bool { return kbps == 0 || kbps >= MinKbps && kbps <= MaxKbps }

func (n Networks) validate() error {
	invalid := func(network Network) bool { return !network.valid() }
	if len(n.Allow) > MaxNetworks {
		return errs.New(errs.Invalid, "profile.networks_allow.many", "n", MaxNetworks)
	}
	if len(n.Deny) > MaxNetworks {
		return errs.New(errs.Invalid, "profile.networks_deny.many", "n", MaxNetworks)
	}
	if i := slices.IndexFunc(n.Allow, invalid); i >= 0 {
		return errs.New(errs.Invalid, "profile.networks_allow.invalid", "network", n.Allow[i].String())
	}
	if i := slices.IndexFunc(n.Deny, invalid); i >= 0 {
		return errs.New(errs.Invalid, "profile.networks_deny.invalid", "network", n.Deny[i].String())
	}
	switch {
	case n.Metered != MeteredPause && n.Metered != MeteredAllow:
		return errs.New(errs.Invalid, "profile.value.invalid", "name", "metered")
	case n.BatteryPercent < 0 || n.BatteryPercent > MaxBattery:
		return errs.New(errs.Invalid, "profile.battery.invalid", "max", MaxBattery)
	}
	return nil
}
