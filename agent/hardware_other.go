//go:build !linux

package agent

import "github.com/backstay/backstay/wire"

// BUG: machine id and serial number are not read here yet.
func identify(*wire.Hardware) {}
