package osservice

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// deploys stands for backstay: it takes the token out of the file, or gives up.
const deploys = `#!/bin/sh
echo "$@" >>"${0%/*}/runs"
if grep -q wrong "$3"; then
	echo "backstay: the file is wrong" >&2
	exit 1
fi
grep -q token "$3" || exit 0
grep -v token "$3" >"$3.new"
mv "$3.new" "$3"
`

// The service enrols the computer by the file that management leaves, as soon as it
// is there and when it is another one; what is wrong with it is in the log.
func TestDeploysByTheFile(t *testing.T) {
	p := newPlace(t, deploys)
	p.deploy = filepath.Join(t.TempDir(), "deploy.toml")
	runs := filepath.Join(filepath.Dir(p.program), "runs")
	leave := func(text string) {
		t.Helper()
		if err := os.WriteFile(p.deploy+".left", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(p.deploy+".left", p.deploy); err != nil {
			t.Fatal(err)
		}
	}
	ran := func() int {
		data, err := os.ReadFile(runs)
		if err != nil {
			return 0
		}
		return strings.Count(string(data), "deploy --config "+p.deploy+"\n")
	}
	p.serve(t)
	leave("server = x\ntoken = wrong\n")
	within(t, "the log says that the file is wrong", func() bool { return strings.Contains(p.log.String(), "err=\"the file is wrong\"") })
	before := ran()
	leave("server = x\ntoken = right\n")
	within(t, "the token is taken out of the file", func() bool { return ran() > before && read(t, p.deploy) == "server = x\n" })
	leave("server = y\ntoken = another one\n")
	within(t, "the other token is taken out of the file", func() bool { return read(t, p.deploy) == "server = y\n" })
}
