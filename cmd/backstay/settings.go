package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
)

// change changes what the user chose, and returns the state folder.
func (a *app) change(ctx context.Context, change control.Change) (*state.State, error) {
	st, err := a.openState()
	if err != nil {
		return nil, err
	}
	return st, agent.Change(ctx, st.Dir(), a.now(), change)
}

func (a *app) pauseCommand() *cobra.Command {
	cmd := a.command("pause [DURATION]", "cli.pause.", func(cmd *cobra.Command, args []string) error {
		d := time.Hour
		if len(args) == 1 {
			var err error
			if d, err = duration(args[0]); err != nil {
				return usageError(cmd, err)
			}
		}
		st, err := a.change(cmd.Context(), control.Change{Pause: d})
		if err != nil {
			return err
		}
		return a.showPause(agent.InForce(st))
	})
	cmd.Args = maxArgs(1)
	return a.withJSON(cmd)
}

func (a *app) resumeCommand() *cobra.Command {
	cmd := a.command("resume", "cli.resume.", func(cmd *cobra.Command, _ []string) error {
		st, err := a.change(cmd.Context(), control.Change{Resume: true})
		if err != nil {
			return err
		}
		return a.showPause(agent.InForce(st))
	})
	cmd.Args = maxArgs(0)
	return a.withJSON(cmd)
}

func (a *app) showPause(e profile.Effective) error {
	paused := e.Paused(a.now())
	switch {
	case a.json && paused:
		return a.writeJSON(struct {
			Paused bool      `json:"paused"`
			Until  time.Time `json:"paused_until"`
		}{true, e.PausedUntil.Value})
	case a.json:
		return a.writeJSON(struct {
			Paused bool `json:"paused"`
		}{})
	case paused:
		fmt.Fprintln(a.out, a.say.T("cli.pause.done", "until", a.say.Moment(e.PausedUntil.Value, a.now())))
	default:
		fmt.Fprintln(a.out, a.say.T("cli.resume.done"))
	}
	return nil
}

// duration reads a time span: 45m, 2h, 1h30m, 1d.
func duration(text string) (time.Duration, error) {
	days := time.Duration(0)
	rest := text
	if before, after, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.Atoi(before)
		if err != nil || n < 0 || n > 365 {
			return 0, errs.New(errs.Invalid, "cli.usage.duration", "value", safe(text))
		}
		days, rest = time.Duration(n)*24*time.Hour, after
	}
	if rest == "" && days > 0 {
		return days, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d <= 0 {
		return 0, errs.New(errs.Invalid, "cli.usage.duration", "value", safe(text))
	}
	return days + d, nil
}

// chosenCommand shows something of what is in force on this device, and holds
// the commands that change it.
func (a *app) chosenCommand(name string, show func(profile.Effective) error) *cobra.Command {
	return a.command(name+" [COMMAND]", "cli."+name+".", func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError(cmd, errs.New(errs.Invalid, "cli.usage.command", "name", safe(args[0])))
		}
		st, err := a.openState()
		if err != nil {
			return err
		}
		if _, err := st.Device(); err != nil {
			return err
		}
		return show(agent.InForce(st))
	})
}

// settingsCommand shows what is in force, and holds what changes it.
func (a *app) settingsCommand() *cobra.Command {
	cmd := a.chosenCommand("settings", a.showSettings)
	cmd.AddCommand(a.settingsSetCommand(), a.settingsResetCommand())
	return a.withJSON(cmd)
}

func (a *app) settingsSetCommand() *cobra.Command {
	cmd := a.command("set NAME VALUE...", "cli.settings.set.", func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 {
			return usageError(cmd, errs.New(errs.Invalid, "cli.settings.set.missing"))
		}
		set, err := choice(profile.Setting(args[0]), args[1:])
		if err != nil {
			return usageError(cmd, err)
		}
		st, err := a.change(cmd.Context(), control.Change{Set: set})
		if err != nil {
			return err
		}
		return a.showSettings(agent.InForce(st))
	})
	return a.withJSON(cmd)
}

func (a *app) settingsResetCommand() *cobra.Command {
	cmd := a.command("reset [NAME...]", "cli.settings.reset.", func(cmd *cobra.Command, args []string) error {
		names := profile.AllSettings
		if len(args) > 0 {
			names = nil
			for _, arg := range args {
				if !slices.Contains(profile.AllSettings, profile.Setting(arg)) {
					return usageError(cmd, errs.New(errs.Invalid, "choices.setting.unknown", "name", safe(arg)))
				}
				names = append(names, profile.Setting(arg))
			}
		}
		st, err := a.change(cmd.Context(), control.Change{Reset: names})
		if err != nil {
			return err
		}
		return a.showSettings(agent.InForce(st))
	})
	return a.withJSON(cmd)
}

// choice reads what somebody chooses on the command line.
func choice(name profile.Setting, values []string) (c profile.Choices, err error) {
	value := strings.Join(values, " ")
	wrong := errs.New(errs.Invalid, "cli.settings.value", "name", string(name), "value", safe(value))
	switch name {
	case profile.SettingInterval:
		if strings.Contains(value, " ") {
			c.Cron = value
			return c, nil
		}
		d, err := duration(value)
		if err != nil || d%time.Minute != 0 {
			return c, wrong
		}
		c.IntervalMinutes = int(d / time.Minute)
	case profile.SettingHours:
		c.Windows, err = windows(value)
	case profile.SettingBandwidth:
		if percent, ok := strings.CutSuffix(value, "%"); ok {
			if c.UpPercent, err = strconv.Atoi(strings.TrimSpace(percent)); c.UpPercent == 0 {
				return c, wrong // it would be no limit
			}
			break
		}
		number, mega := strings.CutSuffix(strings.ToLower(value), "m")
		c.UpKbps, err = strconv.Atoi(number)
		if mega {
			c.UpKbps *= 1000
		}
	case profile.SettingCPU:
		c.CPU = profile.CPU(strings.ToLower(value))
	case profile.SettingNetworks:
		c.NetworksOut = strings.Fields(strings.ReplaceAll(value, ",", " "))
	default:
		return c, errs.New(errs.Invalid, "choices.setting.unknown", "name", safe(string(name)))
	}
	if err != nil {
		return c, wrong
	}
	return c, nil
}

// windows reads "mon-fri 20:00-06:00, sat,sun 00:00-24:00"; any is at any time.
func windows(text string) ([]profile.Window, error) {
	list := []profile.Window{}
	if text == "any" {
		return list, nil
	}
	var days profile.Days
	for _, word := range strings.Fields(text) {
		word = strings.TrimSuffix(word, ",")
		if !strings.Contains(word, ":") {
			names, err := dayNames(word)
			if err != nil {
				return nil, err
			}
			if days, err = profile.ParseDays(names); err != nil {
				return nil, err
			}
			continue
		}
		from, to, _ := strings.Cut(word, "-")
		w := profile.Window{Days: days}
		var err, other error
		w.From, err = profile.ParseClock(from)
		w.To, other = profile.ParseClock(to)
		if err := errors.Join(err, other); err != nil {
			return nil, err
		}
		list, days = append(list, w), 0
	}
	if len(list) == 0 || days != 0 {
		return nil, errors.New("there are no hours")
	}
	return list, nil
}

// dayNames are those of "mon-fri" or "sat,sun".
func dayNames(text string) (names []string, err error) {
	week := []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
	for part := range strings.SplitSeq(strings.ToLower(text), ",") {
		first, last, span := strings.Cut(part, "-")
		if !span {
			names = append(names, part)
			continue
		}
		i, j := slices.Index(week, first), slices.Index(week, last)
		if i < 0 || j < 0 {
			return nil, fmt.Errorf("%q are no days of the week", part)
		}
		for ; i != j; i = (i + 1) % 7 {
			names = append(names, week[i])
		}
		names = append(names, last)
	}
	return names, nil
}

type settingJSON struct {
	Name    profile.Setting `json:"name"`
	Value   any             `json:"value"`
	Source  profile.Source  `json:"source"`
	Profile any             `json:"profile_value"`
	May     bool            `json:"may_change"`
	Ignored profile.Ignored `json:"choice_ignored,omitempty"`
}

// showSettings shows what is in force, from whom, and why not what the user
// chose.
func (a *app) showSettings(e profile.Effective) error {
	if a.json {
		list := []settingJSON{}
		for _, v := range e.Settable() {
			list = append(list, settingJSON{v.Name, v.Value, v.Source, v.Profile, v.May, v.Ignored})
		}
		return a.writeJSON(struct {
			Settings []settingJSON `json:"settings"`
		}{list})
	}
	var rows [][]string
	var notes []string
	for _, v := range e.Settable() {
		value, _ := v.Words(a.say)
		may := a.say.T("cli.settings.may.no")
		if v.May {
			may = a.say.T("cli.settings.may.yes")
		}
		rows = append(rows, []string{string(v.Name), value, a.say.T("choices.from." + string(v.Source)), may})
		if v.Ignored != "" {
			notes = append(notes, a.say.T("cli.settings.ignored", "name", string(v.Name), "why", a.say.T("choices.ignored."+string(v.Ignored))))
		}
	}
	heads := []string{a.say.T("cli.settings.head.name"), a.say.T("cli.settings.head.value"), a.say.T("cli.settings.head.source"), a.say.T("cli.settings.head.may")}
	if err := a.table(heads, rows); err != nil {
		return err
	}
	for _, note := range notes {
		fmt.Fprintln(a.out, note)
	}
	return nil
}
