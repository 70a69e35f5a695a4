package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/backstay/backstay/server"
)

// settings is the effective configuration.
type settings struct {
	server   server.Config
	logLevel slog.Level
	logJSON  bool
}

// key is one key of the configuration: `db` in the file, BACKSTAY_SERVER_DB in
// the environment, --db on the command line. docs/admin/configuration.md is
// made from this table.
type key struct {
	name   string
	value  string // what the flag's value is, for help
	def    string // the default as the file would have it
	shown  string // the default in words, when it depends on something
	help   string
	secret func(string) string // hides what must not be shown
	set    func(*settings, string) error
}

func (k key) flag() string { return strings.ReplaceAll(k.name, "_", "-") }
func (k key) env() string  { return envPrefix + strings.ToUpper(k.name) }

// shownDefault is the default for people.
func (k key) shownDefault() string {
	if k.shown != "" {
		return k.shown
	}
	return k.def
}

const envPrefix = "BACKSTAY_SERVER_"

// configKeys lists every key, in the order in which they are documented.
func configKeys() []key {
	return []key{
		{name: "data", value: "FOLDER", def: defaultData(), shown: "/var/lib/backstay for root, else ~/.local/share/backstay-server",
			help: "The folder of the server's keys, its certificate, and what has no other place. Keep a copy of DATA/keys elsewhere: without it nobody can open a backup.",
			set:  func(s *settings, v string) (err error) { s.server.Data, err = absolute(v); return err }},
		{name: "db", value: "ADDRESS", shown: "sqlite:DATA/backstay.db",
			help:   "The database: sqlite:PATH, or postgres://USER:PASSWORD@HOST/NAME.",
			secret: hidePassword,
			set:    func(s *settings, v string) error { s.server.DB = v; return nil }},
		{name: "vault", value: "FOLDER", shown: "DATA/vault",
			help: "The folder of the backups.",
			set:  func(s *settings, v string) (err error) { s.server.Vault, err = absolute(v); return err }},
		{name: "listen", value: "ADDRESS", def: ":8443",
			help: "The address and port to listen on; a port alone means all addresses.",
			set:  func(s *settings, v string) (err error) { s.server.Listen, err = listenAddress(v); return err }},
		{name: "public_url", value: "URL",
			help: "What people and devices type, https://NAME or https://NAME:PORT. When it is set, requests for any other name are refused; links are made from it alone.",
			set:  func(s *settings, v string) error { s.server.PublicURL = v; return nil }},
		{name: "tls_certificate", value: "FILE", shown: "one that the server signs itself and keeps in DATA/tls",
			help: "The certificate chain, PEM, the server's own certificate first. It is read again when it changes.",
			set: func(s *settings, v string) (err error) {
				s.server.TLSCertificate, err = absolute(v)
				return err
			}},
		{name: "tls_key", value: "FILE",
			help: "The key of tls_certificate, PEM.",
			set:  func(s *settings, v string) (err error) { s.server.TLSKey, err = absolute(v); return err }},
		{name: "tls_min_version", value: "VERSION", def: "1.3",
			help: "The oldest TLS to speak, 1.3 or 1.2. Backstay's own clients speak 1.3; 1.2 is for old browsers.",
			set: func(s *settings, v string) error {
				s.server.TLS12 = v == "1.2"
				if v != "1.3" && v != "1.2" {
					return errors.New("must be 1.3 or 1.2")
				}
				return nil
			}},
		{name: "plain_http", value: "BOOL", def: "false",
			help: "Listen without TLS, for a proxy that has it. Needs public_url and trusted_proxies; nobody but those proxies is then served.",
			set:  func(s *settings, v string) (err error) { s.server.PlainHTTP, err = boolean(v); return err }},
		{name: "trusted_proxies", value: "NETWORKS",
			help: "Addresses or networks of the proxies whose X-Forwarded-For is believed.",
			set: func(s *settings, v string) (err error) {
				s.server.TrustedProxies, err = networks(v)
				return err
			}},
		{name: "metrics_allowed", value: "NETWORKS", def: "127.0.0.0/8, ::1/128",
			help: "Addresses or networks that may read /metrics.",
			set: func(s *settings, v string) (err error) {
				s.server.MetricsAllowed, err = networks(v)
				return err
			}},
		{name: "name", value: "TEXT", shown: "the name in public_url, else the host's",
			help: "What devices show as the server's name.",
			set:  func(s *settings, v string) error { s.server.Name = v; return nil }},
		{name: "hide_build", value: "BOOL", def: "false",
			help: "Do not show the build on the log-in pages.",
			set:  func(s *settings, v string) (err error) { s.server.HideBuild, err = boolean(v); return err }},
		{name: "log_level", value: "LEVEL", def: "info",
			help: "debug, info, warn or error.",
			set: func(s *settings, v string) error {
				if s.logLevel.UnmarshalText([]byte(v)) != nil {
					return errors.New("must be debug, info, warn or error")
				}
				return nil
			}},
		{name: "log_format", value: "FORMAT", def: "text",
			help: "text or json, one line for each event, on standard error.",
			set: func(s *settings, v string) error {
				s.logJSON = v == "json"
				if v != "text" && v != "json" {
					return errors.New("must be text or json")
				}
				return nil
			}},
	}
}

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
		return false, errors.New("must be true or false")
	}
	return b, nil
}

func listenAddress(v string) (string, error) {
	if _, err := strconv.Atoi(v); err == nil {
		v = ":" + v
	}
	_, port, err := net.SplitHostPort(v)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n > 65535 {
		return "", errors.New("must be ADDRESS:PORT or a port")
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
			return nil, fmt.Errorf("%q is no address and no network", part)
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
