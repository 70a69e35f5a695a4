package entry

import (
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

// RestoreSigns say what comes back to a device from the computer that it
// replaced, how that goes on, and what was cancelled since the device became
// another computer.
func RestoreSigns(f web.Frame, list []devices.Restore) []web.Sign {
	p := f.Printer()
	var signs []web.Sign
	for _, r := range list {
		x := restoreLook[r.State]
		code := ""
		if r.Code != "" {
			code = " (" + r.Code + ")"
		}
		key := r.State
		if key == wire.RestoreRunning && r.Progress.TotalFiles == 0 {
			key = "begun" // how much it is, is not known yet
		}
		x.Text = p.T("device.restoring."+key, "from", web.Visible(r.From), "host", web.Visible(r.Host), "date", r.Ended, "code", code,
			"files", r.Progress.Files, "total", r.Progress.TotalFiles)
		signs = append(signs, x)
	}
	return signs
}

// restoreLook is how the sentence about a restore looks, by its state.
var restoreLook = map[string]web.Sign{
	"offered":           {Sign: "idle", Icon: "archive"},
	wire.RestoreRunning: {Sign: "idle", Icon: "refresh"},
	wire.RestoreWaiting: {Sign: "warn", Icon: "hourglass"},
	wire.RestoreFailed:  {Sign: "bad", Icon: "alert-triangle"},
	"replaced":          {Sign: "warn", Icon: "x"},
	"undone":            {Sign: "warn", Icon: "x"},
}
