package entry

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/web"
)

func (d *Door) privacy(w http.ResponseWriter, r *http.Request, v *Visit) {
	page := privacyPage{section: d.section(w, r, v, "/account/privacy"), User: d.To == accounts.ToPortal, On: v.User.PrivacyOn}
	err := d.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		if page.Asked, err = accounts.DeletionAsked(r.Context(), tx, v.User.ID); err != nil || !page.User {
			return err
		}
		p, err := profiles.Of(r.Context(), tx, v.User)
		page.MaySwitch = p.Settings.UserCanEditPrivacy
		return err
	})
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	d.Site.Render(w, r, http.StatusOK, "privacy", page)
}

// switchPrivacy keeps administrators out of the user's backups, or lets them in.
// Whoever lets them in proves first that it is the user.
func (d *Door) switchPrivacy(w http.ResponseWriter, r *http.Request, v *Visit) {
	on, done := r.PostFormValue("private") == "on", "account.private.begun"
	err := d.DB.Write(r.Context(), func(tx *db.Tx) error {
		if !on {
			if err := d.Gate.Fresh(r.Context(), tx, v.Session); err != nil {
				return err
			}
			done = "account.private.left"
		}
		return profiles.SetPrivacy(r.Context(), tx, v.Caller, on)
	})
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	d.Site.Done(w, r, d.Base+"/account/privacy", web.Flash{Key: done})
}

// askDeletion asks the administrators to delete the account. What it answers is
// the same whatever they can do.
func (d *Door) askDeletion(w http.ResponseWriter, r *http.Request, v *Visit) {
	err := d.own(r, v, func(tx *db.Tx) error {
		return accounts.RequestDeletion(r.Context(), tx, v.Caller, d.Keys, d.Gate.Address(access.AdminKind))
	})
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	d.Site.Done(w, r, d.Base+"/account/privacy", web.Flash{Key: "account.delete.asked"})
}

// exported is what the server knows of an account, for its owner.
type exported struct {
	ExportedAt    time.Time         `json:"exported_at"`
	Username      string            `json:"username"`
	Email         string            `json:"email,omitempty"`
	FirstName     string            `json:"first_name,omitempty"`
	LastName      string            `json:"last_name,omitempty"`
	Language      string            `json:"language,omitempty"`
	State         accounts.State    `json:"state"`
	CreatedAt     time.Time         `json:"created_at"`
	LastLoginAt   time.Time         `json:"last_login_at,omitzero"`
	PasswordAt    time.Time         `json:"password_changed_at,omitzero"`
	Authenticator bool              `json:"authenticator_app"`
	RecoveryCodes int               `json:"recovery_codes_left"`
	Private       bool              `json:"backups_private"`
	Passkeys      []exportedPasskey `json:"passkeys"`
	Sessions      []exportedSession `json:"sessions"`
	Devices       []exportedDevice  `json:"devices"`
	Openings      []exportedOpening `json:"data_openings"`
}

type exportedPasskey struct {
	Name       string    `json:"name"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at,omitzero"`
}

type exportedSession struct {
	Portal     accounts.Portal `json:"portal"`
	IP         string          `json:"ip"`
	Browser    string          `json:"browser"`
	CreatedAt  time.Time       `json:"created_at"`
	LastSeenAt time.Time       `json:"last_seen_at"`
}

type exportedDevice struct {
	Name         string        `json:"name"`
	System       string        `json:"system"`
	State        devices.State `json:"state"`
	Folders      []string      `json:"folders"`
	ActivatedAt  time.Time     `json:"activated_at"`
	LastSeenAt   time.Time     `json:"last_seen_at,omitzero"`
	LastIP       string        `json:"last_ip,omitempty"`
	LastBackupAt time.Time     `json:"last_backup_at,omitzero"`
	Bytes        int64         `json:"bytes"`
	Files        int64         `json:"files"`
}

type exportedOpening struct {
	At      time.Time     `json:"at"`
	What    access.Action `json:"what"`
	By      string        `json:"by"`
	IP      string        `json:"ip,omitempty"`
	Outcome audit.Outcome `json:"outcome"`
}

// export is a file with everything the server knows of the account but the
// backups themselves, which are restored, not exported.
func (d *Door) export(w http.ResponseWriter, r *http.Request, v *Visit) {
	var x exported
	err := d.own(r, v, func(tx *db.Tx) (err error) {
		err = audit.Check(r.Context(), tx, v.Caller, access.ChangeAccount, v.User.Org, v.User.ID, "user/"+string(v.User.ID), audit.Note("exported", "account"))
		if err == nil {
			x, err = exportOf(r.Context(), tx, v)
		}
		return err
	})
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	web.SetDownloadHeaders(w.Header(), "backstay-"+v.User.Username+".json")
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	if err := out.Encode(x); err != nil {
		d.Log.DebugContext(r.Context(), "sending an export", "error", err)
	}
}

func exportOf(ctx context.Context, tx *db.Tx, v *Visit) (exported, error) {
	u := v.User
	x := exported{ExportedAt: tx.Now(), Username: u.Username, Email: u.Email, FirstName: u.FirstName, LastName: u.LastName, Language: u.Language,
		State: u.State, CreatedAt: u.CreatedAt, LastLoginAt: u.LastLoginAt, PasswordAt: u.PasswordAt,
		Passkeys: []exportedPasskey{}, Sessions: []exportedSession{}, Devices: []exportedDevice{}, Openings: []exportedOpening{}}
	has, err := factors.Of(ctx, tx, u.ID)
	if err != nil {
		return x, err
	}
	x.Private = u.PrivacyOn
	x.Authenticator, x.RecoveryCodes = has.TOTP, has.RecoveryLeft
	for _, p := range has.Passkeys {
		x.Passkeys = append(x.Passkeys, exportedPasskey{p.Name, p.CreatedAt, p.LastUsedAt})
	}
	sessions, err := accounts.Sessions(ctx, tx, v.Caller, u.ID)
	if err != nil {
		return x, err
	}
	for _, s := range sessions {
		x.Sessions = append(x.Sessions, exportedSession{s.Portal, s.IP, s.UserAgent, s.CreatedAt, s.LastSeenAt})
	}
	if u.Kind != access.UserKind {
		return x, nil // an administrator owns no data
	}
	own, _, err := devices.List(ctx, tx, v.Caller, devices.Filter{User: u.ID, Limit: maxDevices})
	if err != nil {
		return x, err
	}
	for _, c := range own {
		x.Devices = append(x.Devices, exportedDevice{c.Name, web.System(c.Hardware.OS, c.Hardware.OSVersion, c.Hardware.Arch), c.State, c.Folders,
			c.ActivatedAt, c.LastSeenAt, c.LastIP, c.LastBackupAt, c.StoredBytes, c.StoredFiles})
	}
	rows, err := audit.OfOwn(ctx, tx, v.Caller, audit.Data, 0, maxOpenings)
	for _, row := range rows {
		x.Openings = append(x.Openings, exportedOpening{row.At, row.Action, row.ActorName, row.IP, row.Outcome})
	}
	return x, err
}

// maxOpenings is how many openings of data an export holds, the latest.
const maxOpenings = 500
