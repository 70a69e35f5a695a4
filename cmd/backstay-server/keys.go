package main

import (
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server"
)

// effective is the configuration that holds.
type effective struct {
	server   server.Config
	logLevel slog.Level
	logJSON  bool
}

// key is one key of the configuration: `db` in the file, BACKSTAY_SERVER_DB in
// the environment, --db on the command line. docs/admin/configuration.md is
// made from this table.
type key struct {
	name   string
	value  string              // what the flag's value is, for help
	def    string              // the default as the file would have it
	shown  string              // the default in words, when it depends on something; "-" when they are a message
	secret func(string) string // hides what must not be shown
	set    func(*effective, string) error
}

func (k key) flag() string { return strings.ReplaceAll(k.name, "_", "-") }
func (k key) env() string  { return envPrefix + strings.ToUpper(k.name) }

// text is the message that says what the key is for.
func (k key) text() string { return "server.key." + k.name }

// shownDefault is the default for people.
func (k key) shownDefault(say *locale.Printer) string {
	switch k.shown {
	case "":
		return k.def
	case "-":
		return say.T("server.default." + k.name)
	}
	return k.shown
}

const envPrefix = "BACKSTAY_SERVER_"

// configKeys lists every key, in the order in which they are documented.
func configKeys() []key {
	return []key{
		{name: "data", value: "FOLDER", def: defaultData(), shown: "-",
			set: func(s *effective, v string) (err error) { s.server.Data, err = absolute(v); return err }},
		{name: "db", value: "ADDRESS", shown: "sqlite:DATA/backstay.db",
			secret: hidePassword,
			set:    func(s *effective, v string) error { s.server.DB = v; return nil }},
		{name: "vault", value: "FOLDER", shown: "DATA/vault",
			set: func(s *effective, v string) (err error) { s.server.Vault, err = absolute(v); return err }},
		{name: "listen", value: "ADDRESS", def: ":8443",
			set: func(s *effective, v string) (err error) { s.server.Listen, err = listenAddress(v); return err }},
		{name: "public_url", value: "URL",
			set: func(s *effective, v string) error { s.server.PublicURL = v; return nil }},
		{name: "admin_listen", value: "ADDRESS",
			set: func(s *effective, v string) (err error) {
				if v != "" {
					s.server.AdminListen, err = listenAddress(v)
				}
				return err
			}},
		{name: "admin_url", value: "URL", shown: "-",
			set: func(s *effective, v string) error { s.server.AdminURL = v; return nil }},
		{name: "tls_certificate", value: "FILE", shown: "-",
			set: func(s *effective, v string) (err error) {
				s.server.TLSCertificate, err = absolute(v)
				return err
			}},
		{name: "tls_key", value: "FILE",
			set: func(s *effective, v string) (err error) { s.server.TLSKey, err = absolute(v); return err }},
		{name: "tls_min_version", value: "VERSION", def: "1.3",
			set: func(s *effective, v string) error {
				s.server.TLS12 = v == "1.2"
				if v != "1.3" && v != "1.2" {
					return choice("1.3", "1.2")
				}
				return nil
			}},
		{name: "plain_http", value: "BOOL", def: "false",
			set: func(s *effective, v string) (err error) { s.server.PlainHTTP, err = boolean(v); return err }},
		{name: "trusted_proxies", value: "NETWORKS",
			set: func(s *effective, v string) (err error) {
				s.server.TrustedProxies, err = networks(v)
				return err
			}},
		{name: "metrics_allowed", value: "NETWORKS", def: "127.0.0.0/8, ::1/128",
			set: func(s *effective, v string) (err error) {
				s.server.MetricsAllowed, err = networks(v)
				return err
			}},
		{name: "backups_at_once", value: "NUMBER", shown: "-",
			set: func(s *effective, v string) (err error) { s.server.BackupsAtOnce, err = count(v); return err }},
		{name: "name", value: "TEXT", shown: "-",
			set: func(s *effective, v string) error { s.server.Name = v; return nil }},
		{name: "hide_build", value: "BOOL", def: "false",
			set: func(s *effective, v string) (err error) { s.server.HideBuild, err = boolean(v); return err }},
		{name: "log_level", value: "LEVEL", def: "info",
			set: func(s *effective, v string) error {
				if s.logLevel.UnmarshalText([]byte(v)) != nil {
					return choice("debug, info, warn", "error")
				}
				return nil
			}},
		{name: "log_format", value: "FORMAT", def: "text",
			set: func(s *effective, v string) error {
				s.logJSON = v == "json"
				if v != "text" && v != "json" {
					return choice("text", "json")
				}
				return nil
			}},
	}
}

func choice(a, b string) error { return errs.New(errs.Invalid, "config.value.choice", "a", a, "b", b) }

// defaultData is where an administrator's tools look, or, for anybody else, a
// folder of their own.
func defaultData() string {
	if os.Geteuid() == 0 {
		return "/var/lib/backstay"
	}
	return filepath.Join(dataHome(os.Getenv), "backstay-server")
}

// dataHome is the folder for a person's programs' data, XDG's.
func dataHome(getenv func(string) string) string {
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = string(filepath.Separator)
	}
	return filepath.Join(home, ".local", "share")
}

func absolute(v string) (string, error) {
	if v == "" {
		return "", nil
	}
	return filepath.Abs(v)
}

func boolean(v string) (bool, error) {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, choice("true", "false")
	}
	return b, nil
}

// count is a number, 0 when none is given.
func count(v string) (int, error) {
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return 0, errs.New(errs.Invalid, "config.value.number")
	}
	return n, nil
}

func listenAddress(v string) (string, error) {
	if _, err := strconv.Atoi(v); err == nil {
		v = ":" + v
	}
	_, port, err := net.SplitHostPort(v)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n > 65535 {
		return "", errs.New(errs.Invalid, "config.value.address")
	}
	return v, nil
}

// networks reads a list of addresses and networks, with commas or spaces
// between them.
func networks(v string) ([]netip.Prefix, error) {
	list := []netip.Prefix{}
	for _, part := range strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' }) {
		if addr, err := netip.ParseAddr(part); err == nil {
			addr = addr.Unmap().WithZone("")
			list = append(list, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(part)
		if err != nil || prefix.Addr().Is4In6() {
			return nil, errs.New(errs.Invalid, "config.value.network", "value", part)
		}
		list = append(list, prefix.Masked())
	}
	return list, nil
}

// hidePassword leaves of a database's address what may be shown.
func hidePassword(address string) string {
	if strings.HasPrefix(address, "sqlite:") || address == "" {
		return address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "xxxxx"
	}
	if q := u.Query(); q.Has("password") || q.Has("sslpassword") {
		for _, name := range []string{"password", "sslpassword"} {
			if q.Has(name) {
				q.Set(name, "xxxxx")
			}
		}
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
}
