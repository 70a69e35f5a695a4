//go:build linux

package scripttest

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// elsewhere runs the client as on another computer: with another machine id and
// host name, and no serial number.
const elsewhere = `#!/bin/sh
exec unshare --mount --uts sh -c '
mount --bind %[1]s/machine-id /etc/machine-id
serial=/sys/class/dmi/id/product_serial
if [ -e $serial ]; then mount --bind /dev/null $serial; fi
hostname %[2]s
exec %[3]s/backstay "$@"' backstay "$@"
`

// computer goes over to another computer, which has a home and a memory of its
// own, and is bought when it is first used: computer NAME [HOSTNAME]. From then
// on backstay runs there; $MACHINE_ID is the computer's. It takes root.
func computer(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: computer NAME [HOSTNAME]")
	}
	dir, host := filepath.Join(ts.Getenv("WORK"), args[0]), args[len(args)-1]
	home, machine := filepath.Join(dir, "home"), filepath.Join(dir, "machine-id")
	if _, err := os.Stat(dir); err != nil {
		ts.Check(os.MkdirAll(home, 0o755))
		var id [16]byte
		rand.Read(id[:])
		ts.Check(os.WriteFile(machine, fmt.Appendf(nil, "%x\n", id), 0o644))
		ts.Check(os.WriteFile(filepath.Join(dir, "backstay"), fmt.Appendf(nil, elsewhere, dir, host, bin), 0o755))
	}
	ts.Setenv("PATH", dir+string(os.PathListSeparator)+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	ts.Setenv("MACHINE_ID", oneLine(ts.ReadFile(machine)))
	ts.Setenv("HOME", home)
	ts.Setenv("XDG_DATA_HOME", filepath.Join(home, "data"))
	ts.Setenv("BACKSTAY_STATE", filepath.Join(dir, "state"))
}
