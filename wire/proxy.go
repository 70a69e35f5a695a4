package wire

import (
	"errors"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/backstay/backstay/errs"
)

// ProxyMode says where a client learns of its proxy.
type ProxyMode string

// The modes. The zero value is ProxySystem.
const (
	ProxySystem ProxyMode = "system" // the environment; on Windows what is set there
	ProxyManual ProxyMode = "manual" // one address
	ProxyPAC    ProxyMode = "pac"    // a script tells, for each server
	ProxyNone   ProxyMode = "none"   // never one
)

// Proxy is how a client passes the proxies between it and its server. What goes
// through them is TLS to the server: a proxy sees its name and no more.
type Proxy struct {
	Mode ProxyMode `json:"mode"`
	// URL is the proxy's address (http, https or socks5) in mode manual, the
	// script's (http, https or file) in mode pac, and empty in the others.
	URL string `json:"url,omitempty"`
	// Username and Password are for proxies that ask for them and that no
	// address of the system's names others for. Basic is the only scheme.
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	// Bypass are servers to reach without a proxy in the modes manual and pac,
	// written as in NO_PROXY: names with all below them, addresses, networks.
	Bypass []string `json:"bypass,omitempty"`
}

// ParseProxy reads proxy settings as people write them on a command line:
// system, none, pac:ADDRESS, or a proxy's address, with http:// before it when
// there is nothing, and perhaps a name in it. A password is not taken: command
// lines are for everybody to see.
func ParseProxy(s string) (Proxy, error) {
	switch s {
	case string(ProxySystem), string(ProxyNone):
		return Proxy{Mode: ProxyMode(s)}, nil
	}
	p := Proxy{Mode: ProxyManual, URL: s}
	if script, ok := strings.CutPrefix(s, "pac:"); ok {
		p = Proxy{Mode: ProxyPAC, URL: script}
	} else if !strings.Contains(s, "://") {
		p.URL = "http://" + s
	}
	if u, err := url.Parse(p.URL); err == nil && u.User != nil && p.Mode == ProxyManual {
		if _, has := u.User.Password(); has {
			return Proxy{}, errs.New(errs.Invalid, "proxy.password.in_address", "url", u.Redacted())
		}
		p.Username, u.User = u.User.Username(), nil
		p.URL = u.String()
	}
	return p.Check()
}

// Check brings settings into the form that they are kept in, or says what is
// wrong with them.
func (p Proxy) Check() (Proxy, error) {
	if p.Mode == "" {
		p.Mode = ProxySystem
	}
	bad := func(key string) (Proxy, error) { return Proxy{}, errs.New(errs.Invalid, key, "url", redacted(p.URL)) }
	switch p.Mode {
	case ProxySystem, ProxyNone:
		p.URL, p.Bypass = "", nil
	case ProxyManual:
		u, err := parseProxyURL(p.URL)
		if err != nil {
			return bad("proxy.url.invalid")
		}
		p.URL = u.String()
	case ProxyPAC:
		u, err := url.Parse(p.URL)
		if err != nil || u.User != nil || !slices.Contains([]string{"http", "https", "file"}, u.Scheme) || u.Scheme == "file" != (u.Host == "") {
			return bad("proxy.script.invalid")
		}
	default:
		return Proxy{}, errs.New(errs.Invalid, "proxy.mode.unknown", "mode", string(p.Mode))
	}
	if p.Mode == ProxyNone {
		p.Username, p.Password = "", ""
	}
	if p.Password != "" && p.Username == "" {
		return Proxy{}, errs.New(errs.Invalid, "proxy.username.missing")
	}
	if strings.Contains(p.Username, ":") {
		return Proxy{}, errs.New(errs.Invalid, "proxy.username.colon") // Basic ends the name there
	}
	return p, nil
}

// parseProxyURL reads a proxy's address: a scheme, a host, a port or the
// scheme's own.
func parseProxyURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	ports := map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}
	port := ports[u.Scheme]
	if port == "" || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errs.New(errs.Invalid, "proxy.url.invalid", "url", redacted(s))
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return &url.URL{Scheme: strings.TrimSuffix(u.Scheme, "h"), User: u.User, Host: net.JoinHostPort(u.Hostname(), port)}, nil
}

// redacted is an address as it may be shown: without a name or password.
func redacted(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		if at := strings.LastIndex(s, "@"); at >= 0 {
			return s[at+1:]
		}
		return s
	}
	u.User = nil
	return u.String()
}

// bypassed reports whether the settings say to reach target without a proxy, as
// they always do for this computer itself.
func (p Proxy) bypassed(target *url.URL) bool {
	rules := httpproxy.Config{HTTPSProxy: "http://proxy.invalid", NoProxy: strings.Join(p.Bypass, ",")}
	via, err := rules.ProxyFunc()(target)
	return err == nil && via == nil
}

// user are the credentials that the settings have, nil when they have none.
func (p Proxy) user() *url.Userinfo {
	if p.Username == "" {
		return nil
	}
	return url.UserPassword(p.Username, p.Password)
}

// Equal reports whether two settings are the same.
func (p Proxy) Equal(q Proxy) bool {
	return p.Mode == q.Mode && p.URL == q.URL && p.Username == q.Username && p.Password == q.Password && slices.Equal(p.Bypass, q.Bypass)
}

// LogValue keeps name and password out of logs.
func (p Proxy) LogValue() slog.Value {
	return slog.GroupValue(slog.String("mode", string(p.Mode)), slog.String("url", redacted(p.URL)))
}

// systemWay is the way through a proxy that the system names, which may have
// credentials in its address.
func systemWay(u *url.URL) ([]way, error) {
	if u == nil {
		return []way{{}}, nil
	}
	u, err := parseProxyURL(u.String())
	if err != nil {
		return nil, errSystemProxy
	}
	return []way{{u}}, nil
}

// errSystemProxy leaves the address out: it may have a password in it.
var errSystemProxy = errors.New("HTTPS_PROXY is not the address of a proxy")
