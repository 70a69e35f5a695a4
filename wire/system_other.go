//go:build !windows

package wire

import (
	"net/url"

	"golang.org/x/net/http/httpproxy"
)

// systemWays are the ways to target that the environment names: HTTPS_PROXY,
// NO_PROXY and their lower-case forms.
func systemWays(target *url.URL) ([]way, error) {
	u, err := httpproxy.FromEnvironment().ProxyFunc()(target)
	if err != nil {
		return nil, errSystemProxy
	}
	return systemWay(u)
}
