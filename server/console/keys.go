package console

import (
	"net/http"
	"net/url"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

func (c *console) keyRoutes(mux *entry.Mux) {
	const at = "/admin/users/{user}/keys"
	mux.HandleFunc("GET "+at+"/new", c.admin(c.askKey))
	mux.HandleFunc("POST "+at+"/new", c.admin(c.issueKey))
	mux.HandleFunc("POST "+at+"/{key}/make", c.admin(c.makeKey))
	mux.HandleFunc("POST "+at+"/{key}/revoke", c.admin(c.revokeKey))
}

// newKeyFor is where an activation key is made that lets a computer take a
// device's place.
func newKeyFor(user, device, choice string) string {
	return "/admin/users/" + user + "/keys/new?" + url.Values{"device": {device}, "choice": {choice}}.Encode()
}

func (c *console) askKey(w http.ResponseWriter, r *http.Request, v *visit) {
	if c.fresh(w, r, v) {
		c.showNewKey(w, r, v, http.StatusOK, nil)
	}
}

// showNewKey asks what an activation key is to be for.
func (c *console) showNewKey(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	page := newKeyPage{Frame: c.frame(w, r, v, "keys.new"), Device: r.FormValue("device"), Choice: r.FormValue("choice")}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		u, err := findUser(r, tx, v)
		if err != nil {
			return err
		}
		if err := audit.See(v.caller, access.ManageDevices, u.Org, u.ID, "user/"+string(u.ID)); err != nil {
			return err
		}
		page.Home, page.Username, page.Private, page.Devices = home(u), u.Username, u.PrivacyOn, nil
		list, err := devices.LiveOf(r.Context(), tx, u.ID)
		for _, d := range list {
			if d.State == devices.Active || d.State == devices.Deactivated {
				page.Devices = append(page.Devices, option{string(d.ID), web.Visible(d.Name)})
			}
		}
		return err
	})
	if err == nil && failure != nil && !refused(&page.Form, page.Printer(), failure, map[string]string{"device.activation.": "device", "device.unknown": "device"}) {
		err = failure
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	if page.Choice == "" || len(page.Devices) == 0 {
		page.Choice = wire.Add
	}
	c.site.Render(w, r, status, "key-new", page)
}

// issueKey makes a key and shows it this once, or has its user asked.
func (c *console) issueKey(w http.ResponseWriter, r *http.Request, v *visit) {
	choice, device := r.PostFormValue("choice"), devices.ID(r.PostFormValue("device"))
	if choice == wire.Add {
		device = ""
	}
	var u accounts.User
	var k devices.Key
	var text string
	err := c.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err
		}
		if u, err = findUser(r, tx, v); err != nil {
			return err
		}
		text, k, err = devices.IssueKey(r.Context(), tx, v.caller, c.Keys, c.Gate.Address(access.UserKind), u.ID, choice, device)
		return err
	})
	if err != nil {
		c.showNewKey(w, r, v, web.Status(w, err), err)
		return
	}
	if text == "" {
		c.site.Done(w, r, home(u), web.Flash{Key: "keys.asked", Args: []any{"name", web.Visible(u.Username)}})
		return
	}
	c.showMadeKey(w, r, v, u, k, text)
}

// makeKey makes a key that its user has allowed, and shows it this once.
func (c *console) makeKey(w http.ResponseWriter, r *http.Request, v *visit) {
	var u accounts.User
	var k devices.Key
	var text string
	err := c.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err
		}
		if u, err = c.userOfKey(r, tx, v); err != nil {
			return err
		}
		text, k, err = devices.MakeKey(r.Context(), tx, v.caller, r.PathValue("key"))
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.showMadeKey(w, r, v, u, k, text)
}

func (c *console) showMadeKey(w http.ResponseWriter, r *http.Request, v *visit, u accounts.User, k devices.Key, text string) {
	page := madeKeyPage{Frame: c.frame(w, r, v, "keys.made", "name", web.Visible(u.Username)), Key: k, Home: home(u), Username: u.Username, Secret: text}
	page.Frame = page.Frame.Secret()
	err := c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		page.Text, err = keyText(r, tx, page.Printer(), k)
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	page.Command = "(umask 077; echo " + text + " > backstay.key)\n" + web.ActivateKeyCommand(c.portal(r), c.Fingerprint, "backstay.key")
	c.site.Render(w, r, http.StatusCreated, "key-made", page)
}

func (c *console) revokeKey(w http.ResponseWriter, r *http.Request, v *visit) {
	c.tryUser(w, r, v, "keys.revoked", func(tx *db.Tx, u accounts.User) error {
		if _, err := c.userOfKey(r, tx, v); err != nil {
			return err
		}
		return devices.RevokeKey(r.Context(), tx, v.caller, r.PathValue("key"))
	}, func(status int, err error) { c.fail(w, r, v.caller, err) })
}

// errUnknownKey says that a key is none of the user's.
var errUnknownKey = errs.New(errs.NotFound, "activation_key.unknown")

// userOfKey is the user whom the address names, whose key it names too.
func (c *console) userOfKey(r *http.Request, tx *db.Tx, v *visit) (accounts.User, error) {
	u, err := findUser(r, tx, v)
	if err != nil {
		return u, err
	}
	k, _, err := devices.FindKey(r.Context(), tx, v.caller, r.PathValue("key"))
	if err == nil && k.User != u.ID {
		err = errUnknownKey
	}
	return u, err
}

// keyText says what a key is for.
func keyText(r *http.Request, tx *db.Tx, p *locale.Printer, k devices.Key) (string, error) {
	if k.Choice == wire.Add {
		return p.T("keys.for.add"), nil
	}
	d, err := devices.Find(r.Context(), tx, k.Device)
	return p.T("keys.for."+k.Choice, "device", web.Visible(d.Name)), err
}

// keyItems are keys for a list: those that are good or wait, and those over that
// wanted is true for.
func keyItems(r *http.Request, tx *db.Tx, f web.Frame, list []devices.Key, manage bool, wanted func(devices.Key) bool) ([]keyItem, error) {
	var items []keyItem
	for _, k := range list {
		if !wanted(k) {
			continue
		}
		text, err := keyText(r, tx, f.Printer(), k)
		if err != nil {
			return nil, err
		}
		state := k.State(f.Now())
		x := keyItem{Key: k, Text: text, State: web.State{Colour: keyColours[state], Text: f.Printer().T("keys.state." + string(state))}}
		at := "/admin/users/" + string(k.User) + "/keys/" + k.ID
		if manage && state != devices.KeyUsed && state != devices.KeyOver {
			x.End = at + "/revoke"
		}
		if manage && state == devices.KeyAllowed {
			x.Make = at + "/make"
		}
		items = append(items, x)
	}
	return items, nil
}

var keyColours = map[devices.KeyState]string{devices.KeyAsked: "azure", devices.KeyAllowed: "azure", devices.KeyOpen: "green",
	devices.KeyUsed: "secondary", devices.KeyOver: "secondary"}

// keysShown is how many keys of a user are listed.
const keysShown = 10

// keys are the activation keys of the user.
func (page *userPage) keys(r *http.Request, tx *db.Tx, v *visit, u accounts.User) error {
	list, err := devices.KeysOf(r.Context(), tx, v.caller, u.ID)
	if err != nil {
		return err
	}
	page.Keys, err = keyItems(r, tx, page.Frame, list[:min(len(list), keysShown)], page.CanManage, func(devices.Key) bool { return true })
	return err
}

// keys are the activation keys that let a computer take the device's place.
func (page *devicePage) keys(r *http.Request, tx *db.Tx, v *visit, d devices.Device) error {
	list, err := devices.KeysOf(r.Context(), tx, v.caller, d.User)
	if err != nil {
		return err
	}
	page.Keys, err = keyItems(r, tx, page.Frame, list, page.CanManage, func(k devices.Key) bool {
		s := k.State(page.Now())
		return k.Device == d.ID && s != devices.KeyUsed && s != devices.KeyOver
	})
	return err
}
