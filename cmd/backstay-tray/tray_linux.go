package main

import (
	"github.com/godbus/dbus/v5"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/mark"
	"github.com/backstay/backstay/errs"
)

const program = "backstay"

// session fails where there is no desktop to show anything on.
func session() error {
	conn, err := dbus.ConnectSessionBus()
	if err != nil {
		return errs.New(errs.Local, "tray.desktop").Because(err)
	}
	return conn.Close()
}

func icon(tone agent.Tone) []byte { return mark.PNG(draw(tone)) }
