package wire

import (
	"net/url"
	"strings"
	"sync"

	"github.com/mattn/go-ieproxy"
	"golang.org/x/net/http/httpproxy"
)

// reading keeps two from reading Windows' settings at a time: the package has
// them in a variable.
var reading sync.Mutex

// systemWays are the ways to target that the environment names, or else what is
// set in Windows: a script, found by WPAD or named, or an address.
func systemWays(target *url.URL) ([]way, error) {
	env := httpproxy.FromEnvironment()
	if env.HTTPSProxy != "" || env.HTTPProxy != "" {
		u, err := env.ProxyFunc()(target)
		if err != nil {
			return nil, errSystemProxy
		}
		return systemWay(u)
	}
	reading.Lock()
	defer reading.Unlock()
	conf := ieproxy.ReloadConf()
	if conf.Automatic.Active {
		if found := conf.Automatic.FindProxyForURL(target.String()); found != "" {
			if _, only, ok := strings.Cut(found, "="); ok { // https=host:port
				found = only
			}
			u, err := parseProxyURL("http://" + strings.TrimSpace(found))
			if err != nil {
				return nil, err
			}
			return []way{{u}}, nil
		}
	}
	if !conf.Static.Active {
		return []way{{}}, nil
	}
	rules := httpproxy.Config{HTTPSProxy: conf.Static.Protocols["https"], NoProxy: conf.Static.NoProxy}
	if rules.HTTPSProxy == "" {
		rules.HTTPSProxy = conf.Static.Protocols[""]
	}
	if strings.Contains(rules.NoProxy, "<local>") && !strings.Contains(target.Hostname(), ".") {
		return []way{{}}, nil
	}
	u, err := rules.ProxyFunc()(target)
	if err != nil {
		return nil, errSystemProxy
	}
	return systemWay(u)
}
