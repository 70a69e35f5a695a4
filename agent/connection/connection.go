// Package connection is how this computer comes to its server: by which proxies,
// what a proxy script says about them, and which servers its administrator named.
package connection

import (
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/wire"
)

// scripts are shared, so that a script is fetched once for all connections.
var scripts Scripts

// Config is the way to servers that the state folder remembers; server and
// device are for the caller to add.
func Config(st *state.State) (wire.Config, error) {
	c, err := st.Connection()
	if err != nil {
		return wire.Config{}, err
	}
	return With(c.Proxy), nil
}

// With is the way to servers by these settings.
func With(p wire.Proxy) wire.Config {
	return wire.Config{Proxy: p, FindProxy: scripts.FindProxy}
}
