package agent

import (
	"os"
	"strings"

	"github.com/backstay/backstay/wire"
)

// identify reads what systemd and the firmware keep; the serial number only
// root may read.
func identify(h *wire.Hardware) {
	if h.MachineID = firstLine("/etc/machine-id"); h.MachineID == "" {
		h.MachineID = firstLine("/var/lib/dbus/machine-id")
	}
	h.Serial = firstLine("/sys/class/dmi/id/product_serial")
	data, _ := os.ReadFile("/etc/os-release")
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			h.OSVersion = strings.Trim(strings.TrimSpace(name), `"`)
		}
	}
}
