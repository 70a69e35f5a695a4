package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// chooseDevice says what becomes of this computer: as the command line says, or
// as it proved to be, or as somebody at the terminal answers. Nobody there is no
// reason to guess: it becomes one more device, or the server refuses that.
func (a *app) chooseDevice(ctx context.Context, offer *wire.Activation, in activating) (agent.Choice, error) {
	add := agent.Choice{Choice: wire.Add, Name: cmp.Or(in.name, offer.Name)}
	match := offer.Match
	switch {
	case in.add:
		add.Rename = true
		return add, nil
	case in.reactivate && (match == nil || match.By == wire.ByClone):
		return agent.Choice{}, errs.New(errs.Conflict, "cli.activate.reactivate.none")
	case in.reactivate:
		return agent.Choice{Choice: wire.Reactivate, DeviceID: match.DeviceID}, nil
	case in.replace != "":
		i := slices.IndexFunc(offer.Devices, func(d wire.DeviceCard) bool {
			return d.DeviceID == in.replace || strings.EqualFold(d.Name, in.replace)
		})
		if i < 0 {
			return agent.Choice{}, errs.New(errs.Conflict, "cli.activate.replace.none", "name", safe(in.replace))
		}
		return in.replacing(offer.Devices[i]), nil
	case match != nil && (match.By == wire.ByKey || match.By == wire.ByAdministrator):
		return agent.Choice{Choice: offer.Suggest, DeviceID: match.DeviceID, Name: in.name}, nil
	case a.asks():
		return a.askDevice(ctx, offer, in)
	}
	return add, nil
}

func (in activating) replacing(d wire.DeviceCard) agent.Choice {
	return agent.Choice{Choice: wire.Replace, DeviceID: d.DeviceID, Name: in.name, KeepUnlinked: in.keepUnlinked}
}

// askDevice lets somebody choose among what the server offers.
func (a *app) askDevice(ctx context.Context, offer *wire.Activation, in activating) (agent.Choice, error) {
	o := agent.OptionsOf(offer, in.name)
	if len(o.List) == 0 && len(o.Devices) == 0 || !o.Asks() {
		return agent.Choice{Choice: wire.Add, Name: cmp.Or(in.name, offer.Name)}, nil // or the server says why not
	}
	var said string
	switch o.By {
	case wire.ByMachine, wire.BySerial:
		said = a.say.T("cli.activate.was", "device", a.cardLine(o.Card))
	case wire.ByName:
		said = a.say.T("error.E1201") + "\n  " + a.cardLine(o.Card)
	case wire.ByClone:
		said = a.say.T("cli.activate.clone", "name", safe(o.Card.Name))
	default:
		said = a.say.T("cli.activate.devices")
	}
	if o.Refusal != nil {
		said += "\n" + a.say.Error(o.Refusal)
	}
	fmt.Fprintln(a.errOut, said)
	var labels []string
	for _, option := range o.List {
		labels = append(labels, a.optionLine(option))
	}
	if len(o.Devices) > 0 {
		labels = append(labels, a.say.T("cli.activate.option.replace"))
	}
	n, err := a.pick(ctx, a.say.T("cli.activate.ask"), labels)
	if err != nil {
		return agent.Choice{}, err
	}
	if n == len(o.List) {
		return a.askReplaced(ctx, offer, in)
	}
	switch option := o.List[n]; option.Choice {
	case wire.Add:
		return agent.Choice{Choice: wire.Add, Name: option.Name}, nil
	case wire.Reactivate:
		return agent.Choice{Choice: wire.Reactivate, DeviceID: option.Device.DeviceID}, nil
	default:
		return in.replacing(option.Device), nil
	}
}

func (a *app) optionLine(o agent.Option) string {
	switch o.Choice {
	case wire.Add:
		return a.say.T("cli.activate.option.add", "name", safe(o.Name))
	case wire.Reactivate:
		return a.say.T("cli.activate.option.reactivate", "name", safe(o.Device.Name))
	}
	return a.say.T("cli.activate.option.replace_it", "name", safe(o.Device.Name))
}

// askReplaced lets somebody choose the device that this computer replaces.
func (a *app) askReplaced(ctx context.Context, offer *wire.Activation, in activating) (agent.Choice, error) {
	labels := make([]string, len(offer.Devices))
	for i, d := range offer.Devices {
		labels[i] = a.cardLine(d)
	}
	n, err := a.pick(ctx, a.say.T("cli.activate.ask.replace"), labels)
	if err != nil {
		return agent.Choice{}, err
	}
	return in.replacing(offer.Devices[n]), nil
}

// pick lets somebody choose one of a list by its number; the first is usual.
func (a *app) pick(ctx context.Context, question string, list []string) (int, error) {
	return a.pickUsual(ctx, question, list, 0)
}

func (a *app) pickUsual(ctx context.Context, question string, list []string, usual int) (int, error) {
	for i, item := range list {
		fmt.Fprintf(a.errOut, "  %d  %s\n", i+1, item)
	}
	for {
		answer, err := a.ask(ctx, question, strconv.Itoa(usual+1))
		if err != nil {
			return 0, err
		}
		if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(list) {
			return n - 1, nil
		}
	}
}

// cardLine tells a device from others.
func (a *app) cardLine(d wire.DeviceCard) string {
	seen, backup := a.say.T("cli.activate.card.never"), a.say.T("cli.activate.card.never")
	if d.LastSeen != nil {
		seen = a.time(*d.LastSeen)
	}
	if d.LastBackup != nil {
		backup = a.time(*d.LastBackup)
	}
	return a.say.T("cli.activate.card", "name", safe(d.Name), "os", safe(d.OS), "seen", seen, "backup", backup, "bytes", a.say.Bytes(d.Bytes))
}

// previewChoice shows what replacing or reactivating a device changes, before it
// is done, and asks whether that is meant where somebody can say.
func (a *app) previewChoice(ctx context.Context, st *state.State, client *wire.Client, offer *wire.Activation, in activating, choice *agent.Choice) error {
	p, err := agent.PreviewChoice(ctx, st, client, choice.Choice, choice.DeviceID)
	if err != nil {
		return err
	}
	choice.KeepUnlinked, choice.Overflows = in.keepUnlinked, p.Overflows
	if choice.Choice == wire.Replace && in.restore == sayFiles {
		choice.Restore, choice.Maps = wire.RestoreFiles, in.places
	}
	if a.json {
		return nil
	}
	say := func(key string, args ...any) { fmt.Fprintln(a.errOut, a.say.T(key, args...)) }
	card := cardOf(offer, choice.DeviceID)
	snapshots := a.say.N("cli.count.snapshots", p.Snapshots)
	if choice.Choice == wire.Replace {
		say("cli.activate.preview.replace", "name", safe(card.Name), "snapshots", snapshots)
		if p.SameComputer {
			say("cli.activate.preview.same")
		}
		if p.OtherSystem {
			say("cli.activate.preview.system")
		}
	} else {
		say("cli.activate.preview.reactivate", "name", safe(card.Name), "snapshots", snapshots)
	}
	for _, s := range p.Settings {
		say("cli.activate.preview.setting."+s.Name, "old", safe(agent.SettingText(a.say, s.Name, s.Old)), "new", safe(agent.SettingText(a.say, s.Name, s.New)))
	}
	if err := a.previewFolders(ctx, p, choice); err != nil {
		return err
	}
	if err := a.chooseRestore(ctx, p, card, in, choice); err != nil {
		return err
	}
	if choice.Choice != wire.Replace || in.replace != "" || !a.asks() {
		return nil
	}
	if ok, err := a.agrees(ctx, a.say.T("cli.activate.preview.ask")); err != nil || !ok {
		return cmp.Or(err, error(errs.New(errs.Local, "cli.activate.stopped")))
	}
	return nil
}

// previewFolders shows the folders that come back, and asks whether they shall,
// where the profile leaves that to the user.
func (a *app) previewFolders(ctx context.Context, p *agent.Preview, choice *agent.Choice) (err error) {
	for _, f := range p.Folders {
		fmt.Fprintln(a.errOut, a.say.T("cli.activate.preview.folder", "path", safe(f.Path), "files", a.say.N("cli.count.files", f.Files), "bytes", a.say.Bytes(f.Bytes)))
	}
	if p.QuotaBytes > 0 && len(p.Folders) > 0 {
		fmt.Fprintln(a.errOut, a.say.T("cli.activate.preview.quota", "used", a.say.Bytes(p.UsedAfter), "limit", a.say.Bytes(p.QuotaBytes)))
	}
	switch {
	case len(p.Folders) == 0:
	case p.Overflows:
		fmt.Fprintln(a.errOut, a.say.T("cli.activate.preview.overflow", "left", a.say.Bytes(*p.LeftBytes)))
	case p.KeepUnlinked == "ask" && !choice.KeepUnlinked && a.asks():
		var back bool
		back, err = a.agrees(ctx, a.say.T("cli.activate.preview.keep"))
		choice.KeepUnlinked = !back
	}
	return err
}

func cardOf(offer *wire.Activation, id string) wire.DeviceCard {
	i := slices.IndexFunc(offer.Devices, func(d wire.DeviceCard) bool { return d.DeviceID == id })
	if i < 0 {
		return wire.DeviceCard{Name: offer.Name}
	}
	return offer.Devices[i]
}
