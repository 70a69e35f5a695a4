package entry

import (
	"time"

	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/web"
)

// waiting is how it looks that a device waits for its turn.
var waiting = map[devices.Level]string{devices.Protected: "good", devices.AtRisk: "warn", devices.Never: "warn"}

// Sign is the sentence about a device's protection, in the frame's language,
// with its sign.
func Sign(f web.Frame, d devices.Protection) web.Sign {
	p := f.Printer()
	if d.Running {
		if d.Progress.Waits > 0 {
			return web.Sign{Sign: waiting[d.Level], Icon: "clock", Text: p.N("cli.status.busy", d.Progress.Waits)}
		}
		if d.Progress.TotalFiles > 0 {
			return web.Sign{Sign: "good", Icon: "refresh", Text: p.T("protection.running.files", "done", d.Progress.Files, "total", d.Progress.TotalFiles)}
		}
		return web.Sign{Sign: "good", Icon: "refresh", Text: p.T("protection.running")}
	}
	why := ""
	if d.Reason != "" && d.Level != devices.Stopped {
		why = " " + p.T("protection.why."+d.Reason)
		if d.Code != "" {
			why += " (" + d.Code + ")"
		}
	}
	switch d.Level {
	case devices.Stopped:
		return web.Sign{Sign: "idle", Icon: "ban", Text: p.T("protection.stopped." + d.Reason)}
	case devices.Never:
		return web.Sign{Sign: "bad", Icon: "shield-x", Text: p.T("protection.never") + why}
	case devices.AtRisk:
		return web.Sign{Sign: "warn", Icon: "alert-triangle", Text: p.N("protection.late", int64(f.Now().Sub(d.Complete)/(24*time.Hour))) + why}
	}
	if why != "" {
		return web.Sign{Sign: "warn", Icon: "shield-check", Text: p.T("protection.good") + "." + why}
	}
	return web.Sign{Sign: "good", Icon: "shield-check", Text: p.T("protection.good")}
}
