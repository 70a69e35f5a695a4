package agent

import (
	"strconv"
	"time"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

// Option is one of the things that a computer may become.
type Option struct {
	Choice string
	Device wire.DeviceCard // that is replaced or reactivated
	Name   string          // of the new device, with wire.Add
}

// Options are what a computer whose activation was begun may become.
type Options struct {
	By   string          // how it was found to be Card, "" when it was not
	Card wire.DeviceCard // the device that it seems to be
	// List is what is offered about the computer itself; the first is meant most
	// of the time. Any of Devices may be replaced besides.
	List    []Option
	Devices []wire.DeviceCard
	Refusal error // why it cannot be one more device, nil when it can
}

// OptionsOf says what a computer may become that is to be called name, or as the
// server suggests when that is empty.
func OptionsOf(offer *wire.Activation, name string) Options {
	o := Options{Devices: offer.Devices}
	o.Card, o.By = matched(offer)
	add := Option{Choice: wire.Add, Name: name}
	if name == "" {
		add.Name = offer.Name
		if o.By == wire.ByName && offer.FreeName != "" {
			add.Name = offer.FreeName
		}
	}
	var found []Option
	switch o.By {
	case wire.ByMachine, wire.BySerial:
		found = []Option{{Choice: wire.Reactivate, Device: o.Card}}
	case wire.ByKey, wire.ByAdministrator:
		found = []Option{{Choice: offer.Suggest, Device: o.Card}}
	case wire.ByName:
		found = []Option{{Choice: wire.Replace, Device: o.Card}}
	}
	o.List = found
	if refused := offer.Refused(); refused == nil {
		o.List = append(o.List, add)
	} else {
		o.Refusal = refused
	}
	if o.By == wire.ByName && o.Card.State == "deactivated" {
		o.List = append(o.List, Option{Choice: wire.Reactivate, Device: o.Card})
	}
	return o
}

// Asks reports whether there is anything to choose.
func (o Options) Asks() bool { return o.By != "" || len(o.Devices) > 0 }

// matched is the device that a computer seems to be, and how that was found.
func matched(offer *wire.Activation) (wire.DeviceCard, string) {
	if offer.Match == nil {
		return wire.DeviceCard{}, ""
	}
	for _, d := range offer.Devices {
		if d.DeviceID == offer.Match.DeviceID {
			return d, offer.Match.By
		}
	}
	return wire.DeviceCard{}, "" // an administrator stopped it
}

// SettingText is the value of a setting of wire.SettingChange, as people say it;
// what it does not know is as it came.
func SettingText(say *locale.Printer, name, value string) string {
	n, err := strconv.Atoi(value)
	switch {
	case err == nil && name == "interval":
		return say.Duration(time.Duration(n) * time.Minute)
	case err == nil && name == "bandwidth" && n > 0:
		return say.Number(int64(n)) + " kbit/s"
	case name == "bandwidth" && value == "0":
		return say.T("cli.activate.preview.unlimited")
	case name == "cpu":
		return profile.CPU(value).Words(say)
	}
	return value // a crontab's times
}
