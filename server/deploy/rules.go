package deploy

import (
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/wire"
)

// The bounds of what somebody writes into a token.
const (
	maxName    = 100
	maxLines   = 100
	maxPattern = 200
	maxUses    = 1_000_000
)

// Systems are those that computers of a fleet may run.
func Systems() []string { return []string{"linux", "windows", "darwin"} }

var domain = regexp.MustCompile(`^([\pL\pN]([\pL\pN-]*[\pL\pN])?\.)+[\pL\pN]([\pL\pN-]*[\pL\pN])?$`)

// normalise brings the rules into the form in which they are kept.
func (r *Rules) normalise() error {
	r.Name = strings.TrimSpace(r.Name)
	if r.Name == "" {
		return errs.New(errs.Invalid, "deploy.name.empty")
	}
	if !printable(r.Name) || utf8.RuneCountInString(r.Name) > maxName {
		return errs.New(errs.Invalid, "deploy.name.invalid", "n", maxName)
	}
	if r.MaxUses < 0 || r.MaxUses > maxUses {
		return errs.New(errs.Invalid, "deploy.uses.invalid", "n", maxUses)
	}
	var err error
	if r.Networks, err = clean(r.Networks, network); err != nil {
		return err
	}
	if r.Hosts, err = clean(r.Hosts, host); err != nil {
		return err
	}
	if r.Domains, err = clean(r.Domains, domainName); err != nil {
		return err
	}
	if r.Systems, err = clean(r.Systems, system); err != nil {
		return err
	}
	if r.CreateUsers && len(r.Domains) == 0 {
		return errs.New(errs.Invalid, "deploy.domains.none")
	}
	return nil
}

// clean brings each entry into its form, and leaves out empty ones and those
// that are there twice.
func clean(list []string, form func(string) (string, error)) ([]string, error) {
	var out []string
	for _, s := range list {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		s, err := form(s)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if len(out) > maxLines {
		return nil, errs.New(errs.Invalid, "deploy.lines.many", "n", maxLines)
	}
	return out, nil
}

func network(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()).String(), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return "", errs.New(errs.Invalid, "deploy.networks.invalid", "network", s)
	}
	const mapped = 96 // bits before an IPv4 address that is written as one of IPv6
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p.Masked().String(), nil
}

func host(s string) (string, error) {
	s = orgs.Fold(s)
	if _, err := path.Match(s, ""); err != nil || len(s) > maxPattern || !printable(s) || strings.Contains(s, "/") {
		return "", errs.New(errs.Invalid, "deploy.hosts.invalid", "pattern", s)
	}
	return s, nil
}

func domainName(s string) (string, error) {
	s = strings.ToLower(strings.TrimPrefix(s, "@"))
	if len(s) > 253 || !domain.MatchString(s) {
		return "", errs.New(errs.Invalid, "deploy.domains.invalid", "domain", s)
	}
	return s, nil
}

func system(s string) (string, error) {
	if s = strings.ToLower(s); !slices.Contains(Systems(), s) {
		return "", errs.New(errs.Invalid, "deploy.systems.invalid", "system", s)
	}
	return s, nil
}

// The reasons for which a good secret lets a computer in no more than a wrong
// one, beside the states of a token. The computer is told E1204 for all of
// them; administrators see which it was.
const (
	notNetwork = "network"
	notSystem  = "system"
	notHost    = "host"
)

// fits says what keeps a computer out, "" for nothing.
func (r Rules) fits(ip string, h wire.Hardware) string {
	switch {
	case !r.allowsNetwork(ip):
		return notNetwork
	case len(r.Systems) > 0 && !slices.Contains(r.Systems, strings.ToLower(h.OS)):
		return notSystem
	case !r.allowsHost(h.Hostname):
		return notHost
	}
	return ""
}

func (r Rules) allowsNetwork(ip string) bool {
	if len(r.Networks) == 0 {
		return true
	}
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(r.Networks, func(s string) bool {
		p, err := netip.ParsePrefix(s)
		return err == nil && p.Contains(a.Unmap().WithZone(""))
	})
}

// allowsHost compares the whole host name, and the part before the domain.
func (r Rules) allowsHost(name string) bool {
	if len(r.Hosts) == 0 {
		return true
	}
	name = orgs.Fold(name)
	short, _, _ := strings.Cut(name, ".")
	return slices.ContainsFunc(r.Hosts, func(pattern string) bool {
		whole, _ := path.Match(pattern, name)
		part, _ := path.Match(pattern, short)
		return whole || part
	})
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
