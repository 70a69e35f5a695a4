package portal

import (
	"net/http"

	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

// maxDevices is how many devices of one user a page shows; a profile allows a
// hundred.
const maxDevices = 200

// webRestore reports whether the user's profile shows files in the browser.
func (p *portal) webRestore(r *http.Request, u accounts.User) (on bool, err error) {
	err = p.DB.Read(r.Context(), func(tx *db.Tx) error {
		e, err := profiles.Of(r.Context(), tx, u)
		on = e.Settings.WebRestore
		return err
	})
	return on, err
}

func cardOf(f web.Frame, d devices.Device) device {
	protection := web.Protection{Active: d.State == devices.Active, LastBackup: d.LastBackupAt, Unfinished: d.LastStatus == "partial",
		Running: d.Status == wire.StateRunning, SeenAt: d.LastSeenAt}
	if d.Progress != nil {
		protection.Done, protection.Total = d.Progress.Files, d.Progress.TotalFiles
	}
	return device{ID: string(d.ID), Name: d.Name, Icon: web.DeviceIcon(d.System), Protection: f.Sign(protection),
		System:     web.System(d.Hardware.OS, d.Hardware.OSVersion, d.Hardware.Arch),
		LastBackup: d.LastBackupAt, Bytes: d.StoredBytes, Files: d.StoredFiles}
}

// sources is the first page: the user's devices. Without web restore there is
// nothing to show, and the account page is the first.
func (p *portal) sources(w http.ResponseWriter, r *http.Request, v *visit) {
	if !v.web {
		p.site.Redirect(w, r, "/account")
		return
	}
	page := sourcesPage{Frame: p.frame(w, r, v, ""), Command: web.ActivateCommand(p.Address(r), p.Fingerprint, v.user.Username)}
	page.Title = page.Printer().T("portal.sources")
	err := p.DB.Read(r.Context(), func(tx *db.Tx) error {
		list, _, err := devices.List(r.Context(), tx, v.caller, devices.Filter{User: v.user.ID, Limit: maxDevices})
		page.Devices = nil
		for _, d := range list {
			page.Devices = append(page.Devices, cardOf(page.Frame, d.Device))
		}
		return err
	})
	if err != nil {
		p.fail(w, r, v.caller, err)
		return
	}
	p.site.Render(w, r, http.StatusOK, "sources", page)
}
