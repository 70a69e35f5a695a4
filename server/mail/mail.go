// Package mail sends what people are told by e-mail. Who has something to say
// queues it in the transaction of what it is about, so that no mail goes out
// for what was undone, and none is lost; a Sender delivers it by the server
// that the settings name, tries again when that fails, and shows every mail and
// its fate to administrators until it is forgotten.
//
// Mails hold links and codes that open accounts. What is queued is sealed by
// the key file, and gone when the mail has been sent.
package mail

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
)

// Mail is one mail to one person.
type Mail struct {
	To       string        // an address; nothing is queued when it is empty
	Language string        // "en" or "fr"; English otherwise
	User     access.UserID // whom it is about, "" for nobody
	Org      access.OrgID  // "" for the server's
	Template Template
	Values   map[string]string // what the template says; see Template

	NotBefore time.Time // zero: at once
}

// State says what has become of a mail.
type State string

// The states.
const (
	Waiting State = "waiting" // to be sent, perhaps once more
	Sending State = "sending" // a server has it in hand
	Sent    State = "sent"    // the mail server took it
	Failed  State = "failed"  // given up
	Dropped State = "dropped" // taken out by an administrator
)

// sealing is what the values of a mail are sealed for.
const sealing = "mail"

// Queue has m sent when tx commits.
func Queue(ctx context.Context, tx *db.Tx, ring *keys.Ring, m Mail) error {
	if m.To == "" {
		return nil
	}
	if err := m.Template.check(m.Values); err != nil {
		return err
	}
	body, err := json.Marshal(m.Values)
	if err != nil {
		return fmt.Errorf("queueing mail %s: %w", m.Template, err)
	}
	sealed, err := ring.Seal(sealing, body)
	if err != nil {
		return fmt.Errorf("sealing mail %s: %w", m.Template, err)
	}
	language, _ := locale.Parse(m.Language)
	next := tx.Now()
	if m.NotBefore.After(next) {
		next = m.NotBefore
	}
	_, err = tx.Exec(ctx, `INSERT INTO outbox (org, user_id, template, language, recipient, body, state, tries, error,
			created_at, next_at, claimed_at, sent_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '', $8, $9, 0, 0)`,
		m.Org, m.User, m.Template, language, m.To, sealed, Waiting, db.Micros(tx.Now()), db.Micros(next))
	if err != nil {
		return fmt.Errorf("queueing mail %s: %w", m.Template, err)
	}
	return nil
}

// pace is the time between two mails of one campaign: 5 a second, which mail
// servers take from a stranger.
const pace = 200 * time.Millisecond

// QueueAll queues many mails of one kind, spaced so that no mail server takes
// them for an attack, behind those of the same template that wait already.
func QueueAll(ctx context.Context, tx *db.Tx, ring *keys.Ring, mails []Mail) error {
	if len(mails) == 0 {
		return nil
	}
	var last int64
	err := tx.QueryRow(ctx, "SELECT COALESCE(max(next_at), 0) FROM outbox WHERE state = $1 AND template = $2 AND tries = 0",
		Waiting, mails[0].Template).Scan(&last)
	if err != nil {
		return fmt.Errorf("queueing mails %s: %w", mails[0].Template, err)
	}
	at := tx.Now()
	if next := db.Time(last).Add(pace); next.After(at) {
		at = next
	}
	for _, m := range mails {
		if m.To == "" {
			continue
		}
		m.NotBefore = at
		if err := Queue(ctx, tx, ring, m); err != nil {
			return err
		}
		at = at.Add(pace)
	}
	return nil
}

// Template names what a mail says. The comment behind each names its values;
// those in brackets may be left out. Instants are in RFC 3339, lists have one
// entry a line; links are whole addresses.
type Template string

// The templates.
const (
	Activation          Template = "activation"            // username, link (none: single sign-on), [secret, portal, command, days]
	RegistrationCode    Template = "registration_code"     // username, code, minutes
	RegistrationTaken   Template = "registration_taken"    // username, [link: to a forgotten password]
	Reset               Template = "reset"                 // username, link, minutes
	ResetElsewhere      Template = "reset_elsewhere"       // username, provider
	PasswordChanged     Template = "password_changed"      // username, at, [ip, link: to a forgotten password]
	Usernames           Template = "usernames"             // usernames (list), [portal]
	EmailConfirm        Template = "email_confirm"         // username, code or link, minutes
	EmailChanged        Template = "email_changed"         // username, email (the new one), link (undoes it), hours
	FailedLogins        Template = "failed_logins"         // username, count, at, [ip, link: to a forgotten password]
	Locked              Template = "locked"                // username, minutes, [link: to a new password, ip]
	SecondFactorChanged Template = "second_factor_changed" // username, change (totp_added, totp_removed, passkey_added, passkey_removed, codes_renewed, reset), at, [ip]
	PreservedExpiring   Template = "preserved_expiring"    // users (list), days, [org, link]
	InactiveExpiring    Template = "inactive_expiring"     // devices (list), days, [org, link]
	QuotaFilling        Template = "quota_filling"         // username, percent, used, limit
	QuotaUsedUp         Template = "quota_used_up"         // username, limit
	QuotaLeftOff        Template = "quota_left_off"        // username, device, folders
	OrgQuotaFilling     Template = "org_quota_filling"     // org, percent, used, limit
	LicenceOver         Template = "licence_over"          // licence, seats, taken, until, [org, link]
	LicenceExpiring     Template = "licence_expiring"      // licence, at, days, [org, link]
	DeletionRequested   Template = "deletion_requested"    // username, [name, org, link]
	DeviceCloned        Template = "device_cloned"         // device, username, hostname (of the other computer), at, [org, link]
	DeviceMapped        Template = "device_mapped"         // username, computer, admin, at, [org]
	SaveFirst           Template = "save_first"            // username, device, admin, link (to the device's files)
	KeyAsked            Template = "key_asked"             // username, admin, link (to the answer), days
	KeyAllowed          Template = "key_allowed"           // username, admin, at, [ip]
	SecurityReset       Template = "security_reset"        // username, window, since, link, contact, [note, again: it is a reminder]
	Approval            Template = "approval"              // act, state (waiting, approved and so on), asked, reason, until, link, [decided, at, failure]
	TestMail            Template = "test"                  // nothing
)

type values struct{ must, may []string }

var templates = map[Template]values{
	Activation:          {[]string{"username"}, []string{"link", "secret", "portal", "command", "days"}},
	RegistrationCode:    {[]string{"username", "code", "minutes"}, nil},
	RegistrationTaken:   {[]string{"username"}, []string{"link"}},
	Reset:               {[]string{"username", "link", "minutes"}, nil},
	ResetElsewhere:      {[]string{"username", "provider"}, nil},
	PasswordChanged:     {[]string{"username", "at"}, []string{"ip", "link"}},
	Usernames:           {[]string{"usernames"}, []string{"portal"}},
	EmailConfirm:        {[]string{"username", "minutes"}, []string{"code", "link"}},
	EmailChanged:        {[]string{"username", "email", "link", "hours"}, nil},
	FailedLogins:        {[]string{"username", "count", "at"}, []string{"ip", "link"}},
	Locked:              {[]string{"username", "minutes"}, []string{"link", "ip"}},
	SecondFactorChanged: {[]string{"username", "change", "at"}, []string{"ip"}},
	PreservedExpiring:   {[]string{"users", "days"}, []string{"org", "link"}},
	InactiveExpiring:    {[]string{"devices", "days"}, []string{"org", "link"}},
	QuotaFilling:        {[]string{"username", "percent", "used", "limit"}, nil},
	QuotaUsedUp:         {[]string{"username", "limit"}, nil},
	QuotaLeftOff:        {[]string{"username", "device", "folders"}, nil},
	OrgQuotaFilling:     {[]string{"org", "percent", "used", "limit"}, nil},
	LicenceOver:         {[]string{"licence", "seats", "taken", "until"}, []string{"org", "link"}},
	LicenceExpiring:     {[]string{"licence", "at", "days"}, []string{"org", "link"}},
	DeletionRequested:   {[]string{"username"}, []string{"name", "org", "link"}},
	DeviceCloned:        {[]string{"device", "username", "hostname", "at"}, []string{"org", "link"}},
	DeviceMapped:        {[]string{"username", "computer", "admin", "at"}, []string{"org"}},
	SaveFirst:           {[]string{"username", "device", "admin", "link"}, nil},
	KeyAsked:            {[]string{"username", "admin", "link", "days"}, nil},
	KeyAllowed:          {[]string{"username", "admin", "at"}, []string{"ip"}},
	SecurityReset:       {[]string{"username", "window", "since", "link", "contact"}, []string{"note", "again"}},
	Approval:            {[]string{"act", "state", "asked", "reason", "until", "link"}, []string{"decided", "at", "failure"}},
	TestMail:            {},
}

// Templates lists all templates.
func Templates() []Template {
	var all []Template
	for t := range templates {
		all = append(all, t)
	}
	slices.Sort(all)
	return all
}

// check reports a mistake of whoever queues a mail: a value that is missing or
// that the template does not know.
func (t Template) check(given map[string]string) error {
	want, ok := templates[t]
	if !ok {
		return fmt.Errorf("there is no mail template %q", t)
	}
	for _, name := range want.must {
		if given[name] == "" {
			return fmt.Errorf("mail %s lacks its value %q", t, name)
		}
	}
	if t == EmailConfirm && given["code"] == "" && given["link"] == "" {
		return fmt.Errorf("mail %s lacks a code or a link", t)
	}
	for name := range given {
		if !slices.Contains(want.must, name) && !slices.Contains(want.may, name) {
			return fmt.Errorf("mail %s has no value %q", t, name)
		}
	}
	return nil
}
