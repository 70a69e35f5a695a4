package server

import (
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/passwords"
)

// Config says what a server is. Its zero value with Data set is a server that
// works: SQLite and the vault in the data folder, a self-signed certificate.
type Config struct {
	Data  string // folder of the server's keys, its certificate, and what has no other place
	DB    string // database: "sqlite:PATH" or "postgres://..."; DATA/backstay.db when empty
	Vault string // folder of the backups; DATA/vault when empty

	Listen    string // address for Serve, and a name in a self-signed certificate
	PublicURL string // what people and devices type: https://NAME[:PORT]; other names are then refused

	// AdminListen is an address for the console alone: the other one then
	// answers nothing under /admin. It needs PublicURL. AdminURL is what
	// administrators type for it: PublicURL's name and AdminListen's port when
	// empty.
	AdminListen string
	AdminURL    string

	TLSCertificate string // file with the chain, the server's own first; empty for a self-signed one
	TLSKey         string // file with its key
	TLS12          bool   // allow TLS 1.2 as well

	// PlainHTTP listens without TLS, for a proxy on the same computer or a
	// trusted network that does it. It needs PublicURL and TrustedProxies, and
	// nobody but those proxies is served.
	PlainHTTP      bool
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed

	MetricsAllowed []netip.Prefix // who may read /metrics; this computer when nil

	// BackupsAtOnce is how many devices may send their backups at the same time,
	// counted over all servers of one database; 16 for each processor, and 32 at
	// least, when 0. The others are told when to come again.
	BackupsAtOnce int

	// Hasher makes password hashes; one of the usual cost when nil.
	Hasher *passwords.Hasher

	Name      string // what devices show as the server's name; the host's when empty
	HideBuild bool   // the log-in pages do not show the build

	// Grace is how long running requests may go on when the server stops; 10
	// seconds when zero.
	Grace     time.Duration
	Now       func() time.Time // time.Now when nil
	MailEvery time.Duration    // how soon a queued mail is seen; a second when zero
	Log       *slog.Logger     // slog.Default when nil
}

func (cfg *Config) setDefaults() {
	if cfg.DB == "" {
		cfg.DB = "sqlite:" + filepath.Join(cfg.Data, "backstay.db")
	}
	if cfg.Vault == "" {
		cfg.Vault = filepath.Join(cfg.Data, "vault")
	}
	if cfg.MetricsAllowed == nil {
		cfg.MetricsAllowed = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	if cfg.Name == "" {
		cfg.Name = cfg.host()
	}
	if cfg.Hasher == nil {
		cfg.Hasher = &passwords.Hasher{}
	}
	if cfg.Grace == 0 {
		cfg.Grace = 10 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
}

// WithDefaults is the configuration that a server made from cfg would have.
func (cfg Config) WithDefaults() Config {
	cfg.setDefaults()
	return cfg
}

func (cfg *Config) host() string {
	if u, err := url.Parse(cfg.PublicURL); err == nil && u.Hostname() != "" {
		return u.Hostname()
	}
	if host, err := os.Hostname(); err == nil {
		return host
	}
	return "Backstay"
}

// Check says what is wrong with a configuration before anything is opened. Its
// errors name the keys of the configuration file.
func (cfg Config) Check() error {
	if cfg.Data == "" {
		return errs.New(errs.Invalid, "config.data.missing")
	}
	if !ownAddress(cfg.PublicURL) {
		return errs.New(errs.Invalid, "config.public_url", "value", cfg.PublicURL)
	}
	if err := cfg.checkAdmin(); err != nil {
		return err
	}
	if (cfg.TLSCertificate == "") != (cfg.TLSKey == "") {
		return errs.New(errs.Invalid, "config.tls.pair")
	}
	if cfg.PlainHTTP {
		switch {
		case cfg.TLSCertificate != "":
			return errs.New(errs.Invalid, "config.plain_http.tls")
		case cfg.PublicURL == "":
			return errs.New(errs.Invalid, "config.plain_http.public_url")
		case len(cfg.TrustedProxies) == 0:
			return errs.New(errs.Invalid, "config.plain_http.trusted_proxies")
		}
	}
	return nil
}

func (cfg Config) checkAdmin() error {
	switch {
	case !ownAddress(cfg.AdminURL):
		return errs.New(errs.Invalid, "config.admin_url", "value", cfg.AdminURL)
	case cfg.AdminURL != "" && cfg.AdminListen == "":
		return errs.New(errs.Invalid, "config.admin_url.alone")
	case cfg.AdminListen != "" && cfg.PublicURL == "":
		return errs.New(errs.Invalid, "config.admin_listen.public_url")
	case cfg.AdminListen != "" && cfg.PlainHTTP && cfg.AdminURL == "":
		return errs.New(errs.Invalid, "config.admin_listen.plain_http")
	}
	return nil
}

// ownAddress reports whether s may be an address of this server, or is empty.
func ownAddress(s string) bool {
	u, err := url.Parse(s)
	return s == "" || err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" &&
		strings.Trim(u.Path, "/") == ""
}

// publicHost is the Host header that requests must carry, "" for any.
func (cfg *Config) publicHost() string { return hostOf(cfg.PublicURL) }

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return normalHost(u.Host)
}

// normalHost is a Host header in the one spelling that is compared.
func normalHost(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, ":443"))
	return strings.TrimSuffix(host, ".")
}

// ConsoleURL is where administrators reach the console that listens for itself,
// at addr.
func (cfg Config) ConsoleURL(addr net.Addr) string {
	if cfg.AdminURL != "" {
		return strings.TrimRight(cfg.AdminURL, "/")
	}
	_, port, err := net.SplitHostPort(addr.String())
	u, perr := url.Parse(cfg.PublicURL)
	if err != nil || perr != nil {
		return "https://" + addr.String()
	}
	if u.Host = net.JoinHostPort(u.Hostname(), port); port == "443" {
		u.Host = strings.TrimSuffix(u.Host, ":443")
	}
	return "https://" + u.Host
}

// URL is where people reach a server that listens at addr.
func (cfg Config) URL(addr net.Addr) string {
	if cfg.PublicURL != "" {
		return strings.TrimRight(cfg.PublicURL, "/")
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "https://" + addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	if port == "443" {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return "https://" + host
	}
	return "https://" + net.JoinHostPort(host, port)
}
