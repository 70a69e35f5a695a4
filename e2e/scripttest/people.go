//go:build linux

package scripttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// person adds a user to this computer until the script ends, with a home of their
// own, $HOME_NAME. What as-NAME runs, they run. It takes root: person NAME
func person(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: person NAME")
	}
	user := "bs-" + strconv.FormatInt(time.Now().UnixNano()%1e12, 36) // scripts run beside each other
	people := filepath.Join(ts.Getenv("WORK"), "people")
	home := filepath.Join(people, args[0])
	ts.Check(os.MkdirAll(people, 0o755))
	ts.Check(ts.Exec("useradd", "--no-log-init", "--create-home", "--home-dir", home, "--shell", "/bin/sh", user))
	ts.Defer(func() { exec.Command("userdel", "--force", user).Run() })
	run := fmt.Sprintf("#!/bin/sh\ncd /\nexec setpriv --reuid=%[1]s --regid=%[1]s --init-groups --inh-caps=-all env -u BACKSTAY_STATE -u XDG_DATA_HOME HOME=%[2]s \"$@\"\n", user, home)
	ts.Check(os.WriteFile(filepath.Join(people, "as-"+args[0]), []byte(run), 0o755))
	ts.Setenv("HOME_"+args[0], home)
	ts.Setenv("PATH", people+string(os.PathListSeparator)+ts.Getenv("PATH"))
}
