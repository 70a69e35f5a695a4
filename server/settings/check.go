package settings

import (
	"net"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/errs"
)

// normalise puts what was typed into its one form, and refuses what makes no
// sense. The key of a refusal names the field.
func (s *Settings) normalise() error {
	if err := s.Registration.normalise(); err != nil {
		return err
	}
	if err := s.SignIn.check(); err != nil {
		return err
	}
	if err := s.checkTerms(); err != nil {
		return err
	}
	if err := s.Devices.normalise(); err != nil {
		return err
	}
	return s.Mail.normalise()
}

func (d *Devices) normalise() error {
	for _, kind := range d.Retired {
		if !slices.Contains(DeviceKinds(), kind) {
			return errs.New(errs.Invalid, "settings.devices.kind")
		}
	}
	slices.Sort(d.Retired)
	d.Retired = slices.Compact(d.Retired)
	return nil
}

var domain = regexp.MustCompile(`^([\pL\pN]([\pL\pN-]*[\pL\pN])?\.)+[\pL\pN]([\pL\pN-]*[\pL\pN])?$`)

const maxDomains = 100

func (r *Registration) normalise() error {
	if !slices.Contains([]string{RegistrationOff, RegistrationSerial, RegistrationOpen}, r.Mode) {
		return errs.New(errs.Invalid, "settings.registration.mode")
	}
	var domains []string
	for _, d := range r.Domains {
		d = strings.ToLower(strings.TrimPrefix(strings.TrimSpace(d), "@"))
		if d == "" || slices.Contains(domains, d) {
			continue
		}
		if len(d) > 253 || !domain.MatchString(d) {
			return errs.New(errs.Invalid, "settings.registration.domain", "domain", d)
		}
		domains = append(domains, d)
	}
	if len(domains) > maxDomains {
		return errs.New(errs.Invalid, "settings.registration.domains.many", "n", maxDomains)
	}
	r.Domains = domains
	if r.Mode != RegistrationOpen {
		return nil
	}
	if len(domains) == 0 {
		return errs.New(errs.Invalid, "settings.registration.domains.none")
	}
	if r.Org == "" {
		return errs.New(errs.Invalid, "settings.registration.org")
	}
	return nil
}

// limit is a number and the range that it must be in.
type limit struct {
	value, from, to int
	key             string
}

func within(limits []limit) error {
	for _, l := range limits {
		if l.value < l.from || l.value > l.to {
			return errs.New(errs.Invalid, l.key, "from", l.from, "to", l.to)
		}
	}
	return nil
}

// The limits that were wider once: what was set then is cut when it is loaded.
var (
	stepUp = limit{from: 1, to: 15}
	reset  = limit{from: 10, to: 60}
)

func (s *SignIn) cut() {
	s.StepUpMinutes = min(max(s.StepUpMinutes, stepUp.from), stepUp.to)
	s.ResetMinutes = min(max(s.ResetMinutes, reset.from), reset.to)
}

const year = 366 * 24 * 60 // minutes

func (s SignIn) check() error {
	for policy, key := range map[string]string{s.UserPolicy: "settings.user_policy", s.AdminPolicy: "settings.admin_policy"} {
		if !slices.Contains([]string{PolicyClassic, PolicyModern, PolicyStrongAdmin}, policy) {
			return errs.New(errs.Invalid, key)
		}
	}
	err := within([]limit{
		{s.History, 0, 24, "settings.history"},
		{s.ExpiryDays, 0, 99, "settings.expiry_days"},
		{s.LockAfter, 3, 100, "settings.lock_after"},
		{s.LockMinutes, 1, 60, "settings.lock_minutes"},
		{s.NetworkPerHour, 10, 100_000, "settings.network_per_hour"},
		{s.AdminIdleMinutes, 5, year, "settings.admin_idle_minutes"},
		{s.AdminAbsoluteMinutes, 5, year, "settings.admin_absolute_minutes"},
		{s.UserIdleMinutes, 5, year, "settings.user_idle_minutes"},
		{s.UserAbsoluteMinutes, 5, year, "settings.user_absolute_minutes"},
		{s.AdminFactorDays, 0, 90, "settings.admin_factor_days"},
		{s.StepUpMinutes, stepUp.from, stepUp.to, "settings.step_up_minutes"},
		{s.ActivationDays, 1, 30, "settings.activation_days"},
		{s.ResetMinutes, reset.from, reset.to, "settings.reset_minutes"},
		{s.CodeMinutes, 2, 60, "settings.code_minutes"},
	})
	if err != nil {
		return err
	}
	if s.AdminIdleMinutes > s.AdminAbsoluteMinutes || s.UserIdleMinutes > s.UserAbsoluteMinutes {
		return errs.New(errs.Invalid, "settings.idle_over_absolute")
	}
	return nil
}

func (s *Settings) checkTerms() error {
	return within([]limit{
		{s.Users.RollbackDays, 1, 90, "settings.rollback_days"},
		{s.Users.PreservedCapPercent, 0, 1000, "settings.preserved_cap_percent"},
		{s.Licences.GraceDays, 0, 90, "settings.grace_days"},
		{s.Licences.ExpiryDays, 0, 365, "settings.licence_expiry_days"},
		{s.Approvals.DelayMinutes, 0, 24 * 60, "settings.delay_minutes"},
	})
}

var hostName = regexp.MustCompile(`^[\pL\pN_]([\pL\pN_.-]*[\pL\pN])?$`)

func (m *Mail) normalise() error {
	m.Host = strings.TrimSuffix(strings.TrimSpace(m.Host), ".")
	if ip := strings.TrimSuffix(strings.TrimPrefix(m.Host, "["), "]"); net.ParseIP(ip) != nil {
		m.Host = ip
	} else if m.Host != "" && (len(m.Host) > 253 || !hostName.MatchString(m.Host)) {
		return errs.New(errs.Invalid, "settings.mail.host")
	}
	if m.Port < 0 || m.Port > 65535 {
		return errs.New(errs.Invalid, "settings.mail.port", "from", 1, "to", 65535)
	}
	if !slices.Contains([]string{StartTLS, TLS, Plain}, m.Security) {
		return errs.New(errs.Invalid, "settings.mail.security")
	}
	if m.Security != Plain || m.Host == "" || m.local() {
		m.Unprotected = false
	} else if !m.Unprotected {
		return errs.New(errs.Invalid, "settings.mail.unprotected")
	} else if m.Username != "" {
		// A password would go over the network for all to read.
		return errs.New(errs.Invalid, "settings.mail.login_unprotected")
	}
	if m.Username = strings.TrimSpace(m.Username); !line(m.Username, 255) {
		return errs.New(errs.Invalid, "settings.mail.username")
	}
	if m.FromName = strings.TrimSpace(m.FromName); !line(m.FromName, 100) {
		return errs.New(errs.Invalid, "settings.mail.from_name")
	}
	m.From = strings.TrimSpace(m.From)
	if address, err := mail.ParseAddress(m.From); m.From != "" && (err != nil || address.Name != "" || address.Address != m.From || !line(m.From, 254)) {
		return errs.New(errs.Invalid, "settings.mail.from")
	}
	if m.Host != "" && m.From == "" {
		return errs.New(errs.Invalid, "settings.mail.from.empty")
	}
	return nil
}

// local reports whether the mail server is this computer.
func (m Mail) local() bool {
	return m.Host == "localhost" || net.ParseIP(m.Host).IsLoopback()
}

// line reports whether s is one line of text, and not too long.
func line(s string, most int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= most && !strings.ContainsFunc(s, unicode.IsControl)
}
