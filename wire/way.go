package wire

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// way is how one connection is opened: straight, or through a proxy.
type way struct {
	proxy *url.URL // with the credentials for it; nil for none
}

// String names the way without its credentials.
func (w way) String() string {
	if w.proxy == nil {
		return "direct"
	}
	return w.proxy.Scheme + "://" + w.proxy.Host
}

// ErrNoScript is in the chain when a proxy script cannot be had, as on the road,
// far from the network that it speaks of. The server is then tried without one,
// as browsers do.
var ErrNoScript = errors.New("the proxy script cannot be had")

// avoidFor is how long a way that failed is tried after the others only.
const avoidFor = 5 * time.Minute

// ways are those to the server by the settings in force, in the order in which
// to try them. There is at least one. missing is why the script that the
// settings name was not asked.
func (c *Client) ways(ctx context.Context) (list []way, missing, err error) {
	p := c.proxy.Load()
	list, err = c.waysBy(ctx, *p)
	if errors.Is(err, ErrNoScript) {
		list, missing, err = []way{{}}, err, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for i, w := range list {
		if w.proxy != nil && w.proxy.User == nil && p.user() != nil {
			u := *w.proxy
			u.User = p.user()
			list[i].proxy = &u
		}
	}
	c.avoidMu.Lock()
	defer c.avoidMu.Unlock()
	now := c.cfg.Now()
	later := func(w way) int {
		if now.Before(c.avoided[w.String()]) {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b way) int { return later(a) - later(b) })
	return list, missing, nil
}

func (c *Client) waysBy(ctx context.Context, p Proxy) ([]way, error) {
	switch {
	case p.Mode == ProxyNone || p.Mode != ProxySystem && p.bypassed(c.base):
		return []way{{}}, nil
	case p.Mode == ProxyManual:
		u, err := parseProxyURL(p.URL)
		if err != nil {
			return nil, err
		}
		return []way{{u}}, nil
	case p.Mode == ProxyPAC:
		return c.waysByScript(ctx, p.URL)
	}
	list, err := systemWays(c.base)
	if err != nil {
		return nil, stopped(StepProxy, "proxy.system", err)
	}
	return list, nil
}

// waysByScript asks the proxy script. It learns the server's name and no more.
func (c *Client) waysByScript(ctx context.Context, script string) ([]way, error) {
	if c.cfg.FindProxy == nil {
		return nil, fmt.Errorf("nobody here runs the proxy script %s", script)
	}
	answer, err := c.cfg.FindProxy(ctx, script, &url.URL{Scheme: c.base.Scheme, Host: c.base.Host, Path: "/"})
	if errors.Is(err, ErrNoScript) {
		return nil, err
	}
	if err != nil {
		return nil, stopped(StepProxy, "proxy.script", err, "script", script)
	}
	list := parseWays(answer)
	if len(list) == 0 {
		return nil, stopped(StepProxy, "proxy.script.unknown", fmt.Errorf("the proxy script says %q", answer), "script", script, "answer", answer)
	}
	return list, nil
}

// parseWays reads what a proxy script answers, and leaves out what this client
// does not speak.
func parseWays(answer string) (list []way) {
	if strings.Trim(answer, "; \t\r\n") == "" {
		return []way{{}}
	}
	schemes := map[string]string{"PROXY": "http", "HTTP": "http", "HTTPS": "https", "SOCKS5": "socks5"}
	for part := range strings.SplitSeq(answer, ";") {
		words := strings.Fields(part)
		switch {
		case len(words) == 1 && strings.EqualFold(words[0], "DIRECT"):
			list = append(list, way{})
		case len(words) == 2 && schemes[strings.ToUpper(words[0])] != "":
			if u, err := parseProxyURL(schemes[strings.ToUpper(words[0])] + "://" + words[1]); err == nil {
				list = append(list, way{u})
			}
		}
	}
	return list
}

// avoid remembers that a way failed.
func (c *Client) avoid(w way) {
	c.avoidMu.Lock()
	defer c.avoidMu.Unlock()
	if c.avoided == nil {
		c.avoided = map[string]time.Time{}
	}
	c.avoided[w.String()] = c.cfg.Now().Add(avoidFor)
}

// SetProxy changes how proxies are passed, for the connections to come. Calls
// that wait to be tried again use it with their next try.
func (c *Client) SetProxy(p Proxy) error {
	p, err := p.Check()
	if err != nil {
		return err
	}
	c.proxy.Store(&p)
	c.avoidMu.Lock()
	c.avoided = nil
	c.avoidMu.Unlock()
	c.transport.CloseIdleConnections()
	return nil
}
