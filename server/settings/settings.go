// Package settings holds what server administrators decide for the whole
// server while it runs: who may register, how people sign in, how long what is
// deleted can be brought back, by which server mail goes out. What nobody has
// changed has its default. What a server needs to start at all is in its
// configuration file instead.
//
// The mail server's password can be written and used, and never read back by a
// page: it is sealed by the key file and is no part of Settings.
package settings

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

// Settings is everything that can be set. Each field is one section, stored
// and recorded apart.
type Settings struct {
	Registration Registration
	SignIn       SignIn
	Users        Users
	Licences     Licences
	Devices      Devices
	Approvals    Approvals
	Mail         Mail
}

// The ways to register: not at all, with a licence's serial number, or with an
// address in one of the domains.
const (
	RegistrationOff    = "off"
	RegistrationSerial = "serial"
	RegistrationOpen   = "open"
)

// Registration says who may make an account for themselves.
type Registration struct {
	Mode         string       `json:"mode"`
	Domains      []string     `json:"domains,omitempty"` // of addresses, for RegistrationOpen; in lower case
	Org          access.OrgID `json:"org,omitempty"`     // where accounts of RegistrationOpen belong
	SharedEmails bool         `json:"shared_emails"`     // several accounts may have one address
}

// The names of the password policies. The package passwords knows their rules.
const (
	PolicyClassic     = "classic"
	PolicyModern      = "modern"
	PolicyStrongAdmin = "strong-admin"
)

// SignIn says what it takes to come in, and for how long.
type SignIn struct {
	UserPolicy  string `json:"user_policy"`
	AdminPolicy string `json:"admin_policy"`
	History     int    `json:"history"`     // earlier passwords that are refused; more under strong-admin, see Remembered
	ExpiryDays  int    `json:"expiry_days"` // after so long a password must be changed; 0: never

	LockAfter      int `json:"lock_after"` // failures in a row
	LockMinutes    int `json:"lock_minutes"`
	NetworkPerHour int `json:"network_per_hour"` // failures that one network may cause

	AdminIdleMinutes     int `json:"admin_idle_minutes"`
	AdminAbsoluteMinutes int `json:"admin_absolute_minutes"`
	UserIdleMinutes      int `json:"user_idle_minutes"`
	UserAbsoluteMinutes  int `json:"user_absolute_minutes"`

	AdminFactorDays int `json:"admin_factor_days"` // until an administrator must have a second factor; 0: at once
	StepUpMinutes   int `json:"step_up_minutes"`   // for which a proof of who one is stays fresh

	ActivationDays int `json:"activation_days"` // life of an activation link
	ResetMinutes   int `json:"reset_minutes"`   // life of a link for a new password
	CodeMinutes    int `json:"code_minutes"`    // life of a mailed code
}

// strongHistory is how many earlier passwords strong-admin refuses at least.
const strongHistory = 5

// Remembered is how many earlier passwords a policy refuses: History, and at
// least five under strong-admin.
func (s SignIn) Remembered(policy string) int {
	if policy == PolicyStrongAdmin {
		return max(s.History, strongHistory)
	}
	return s.History
}

// Users says what happens to accounts that end.
type Users struct {
	RollbackDays        int `json:"rollback_days"`         // for which a deleted account can be brought back
	PreservedCapPercent int `json:"preserved_cap_percent"` // of the active seats, for preserved accounts

	// A shorter RollbackDays holds only when what was deleted under the longer
	// one is gone: ShorterDays waits until ShorterFrom. Change fills them in.
	ShorterDays int       `json:"shorter_days,omitempty"`
	ShorterFrom time.Time `json:"shorter_from,omitzero"`
}

// Licences says how strictly seats and terms are kept.
type Licences struct {
	GraceDays       int  `json:"grace_days"`        // for which more seats than there are may be taken
	ExpiryDays      int  `json:"expiry_days"`       // for which administrators are warned before a licence ends
	ReserveOnInvite bool `json:"reserve_on_invite"` // an invitation takes a seat, not the first device
}

// The kinds of devices: of one account of a computer, or of the whole computer;
// and by their systems.
const (
	UserDevices    = "user"
	SystemDevices  = "system"
	LinuxDevices   = "linux"
	WindowsDevices = "windows"
	MacDevices     = "darwin"
)

// DeviceKinds are the kinds of devices in the order in which they are shown.
func DeviceKinds() []string {
	return []string{UserDevices, SystemDevices, LinuxDevices, WindowsDevices, MacDevices}
}

// Devices says which kinds of devices are no longer offered. Nobody adds one of
// them; those that there are work until they are deleted, and come back when
// they are activated again.
type Devices struct {
	Retired []string `json:"retired,omitempty"`
}

// Retires reports whether a device is of a kind that is no longer offered.
func (d Devices) Retires(system bool, os string) bool {
	kind := UserDevices
	if system {
		kind = SystemDevices
	}
	return slices.Contains(d.Retired, kind) || slices.Contains(d.Retired, os)
}

// Approvals says which acts take two administrators: all that can, but those
// named. Only the approval of two makes it less strict, see Change.
type Approvals struct {
	Alone        []string `json:"alone,omitempty"` // kinds of acts, see the package approvals
	DelayMinutes int      `json:"delay_minutes"`   // between the approval of an act and its doing, in which it can be stopped
}

// Loosened reports whether after is less strict in anything.
func (a Approvals) Loosened(after Approvals) bool {
	more := slices.ContainsFunc(after.Alone, func(kind string) bool { return !slices.Contains(a.Alone, kind) })
	return more || after.DelayMinutes < a.DelayMinutes
}

// How the connection to the mail server is protected.
const (
	StartTLS = "starttls" // begins in the clear, and goes no further without TLS
	TLS      = "tls"      // TLS from the first byte
	Plain    = "none"
)

// Mail says by which server mail goes out. Without a Host and a From none does.
type Mail struct {
	Host     string `json:"host"`
	Port     int    `json:"port"` // 0: the usual one of Security
	Security string `json:"security"`
	Username string `json:"username"` // empty: without logging in
	From     string `json:"from"`     // the address
	FromName string `json:"from_name"`

	// Unprotected says that the administrator accepts Plain to another computer.
	Unprotected bool `json:"unprotected,omitempty"`

	// As Load found it, and no field of a form.
	HasPassword bool      `json:"-"` // whether a password is stored
	ChangedAt   time.Time `json:"-"` // when any of this, or the password, was last set
}

// Configured reports whether it says enough to send mail.
func (m Mail) Configured() bool { return m.Host != "" && m.From != "" }

// Address is HOST:PORT to connect to.
func (m Mail) Address() (host string, port int) {
	if m.Port != 0 {
		return m.Host, m.Port
	}
	return m.Host, map[string]int{StartTLS: 587, TLS: 465, Plain: 25}[m.Security]
}

func defaults() Settings {
	return Settings{
		Registration: Registration{Mode: RegistrationOff, SharedEmails: true},
		SignIn: SignIn{
			UserPolicy: PolicyClassic, AdminPolicy: PolicyClassic,
			LockAfter: 10, LockMinutes: 15, NetworkPerHour: 100,
			AdminIdleMinutes: 60, AdminAbsoluteMinutes: 720, UserIdleMinutes: 480, UserAbsoluteMinutes: 1440,
			AdminFactorDays: 7, StepUpMinutes: 5,
			ActivationDays: 7, ResetMinutes: 30, CodeMinutes: 10,
		},
		Users:    Users{RollbackDays: 7, PreservedCapPercent: 10},
		Licences: Licences{GraceDays: 14, ExpiryDays: 30},
		Mail:     Mail{Security: StartTLS, FromName: "Backstay"},
	}
}

// sections are the parts of s by the names of their rows.
func (s *Settings) sections() []section {
	return []section{
		{"registration", &s.Registration}, {"sign_in", &s.SignIn}, {"users", &s.Users},
		{"licences", &s.Licences}, {"devices", &s.Devices}, {"approvals", &s.Approvals}, {mailSection, &s.Mail},
	}
}

type section struct {
	name  string
	value any // a pointer
}

const mailSection = "mail"

// Load reads the settings as they hold at the time of tx.
func Load(ctx context.Context, tx *db.Tx) (Settings, error) {
	s := defaults()
	rows, err := tx.Query(ctx, "SELECT section, value, secret, updated_at FROM settings")
	if err != nil {
		return Settings{}, fmt.Errorf("reading the settings: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name, value string
		var secret []byte
		var updated int64
		if err := rows.Scan(&name, &value, &secret, &updated); err != nil {
			return Settings{}, fmt.Errorf("reading the settings: %w", err)
		}
		for _, part := range s.sections() {
			if part.name != name {
				continue
			}
			if err := json.Unmarshal([]byte(value), part.value); err != nil {
				return Settings{}, fmt.Errorf("reading the settings of %s: %w", name, err)
			}
		}
		if name == mailSection {
			s.Mail.HasPassword, s.Mail.ChangedAt = secret != nil, db.Time(updated)
		}
	}
	if err := rows.Err(); err != nil {
		return Settings{}, fmt.Errorf("reading the settings: %w", err)
	}
	s.SignIn.cut()
	s.Users = s.Users.at(tx.Now())
	return s, nil
}

// at is u with what has waited until now.
func (u Users) at(now time.Time) Users {
	if u.ShorterDays > 0 && !now.Before(u.ShorterFrom) {
		u.RollbackDays, u.ShorterDays, u.ShorterFrom = u.ShorterDays, 0, time.Time{}
	}
	return u
}

// changed is what becomes of before when somebody sets after: a longer window
// holds at once, a shorter one when the old one has passed. Setting ShorterDays
// to 0 takes back one that waits.
func changed(before, after Users, now time.Time) Users {
	withdrawn := after.ShorterDays == 0
	after.ShorterDays, after.ShorterFrom = before.ShorterDays, before.ShorterFrom
	switch {
	case after.RollbackDays > before.RollbackDays || after.RollbackDays == before.RollbackDays && withdrawn:
		after.ShorterDays, after.ShorterFrom = 0, time.Time{}
	case after.RollbackDays < before.RollbackDays:
		if after.RollbackDays != before.ShorterDays {
			after.ShorterDays = after.RollbackDays
			after.ShorterFrom = now.AddDate(0, 0, before.RollbackDays)
		}
		after.RollbackDays = before.RollbackDays
	}
	return after
}
