package portal

import (
	"net/http"

	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/web"
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

func cardOf(f web.Frame, d devices.Device, x devices.Protection) device {
	return device{ID: string(d.ID), Name: d.Name, Icon: web.DeviceIcon(d.System), Protection: entry.Sign(f, x),
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
		var judge devices.Judge
		page.Devices = nil
		for _, d := range list {
			x, err := judge.Protection(r.Context(), tx, d.Device, page.Now())
			if err != nil {
				return err
			}
			page.Devices = append(page.Devices, cardOf(page.Frame, d.Device, x))
		}
		if err != nil {
			return err
		}
		if page.Asked, err = askedKeys(r, tx, v); err != nil {
			return err
		}
		q, err := devices.QuotaOf(r.Context(), tx, v.user)
		if p := page.Printer(); q.Limit > 0 {
			page.Quota = p.T("portal.quota", "used", p.Bytes(q.Used), "limit", p.Bytes(q.Limit))
		}
		return err
	})
	if err != nil {
		p.fail(w, r, v.caller, err)
		return
	}
	p.site.Render(w, r, http.StatusOK, "sources", page)
}
