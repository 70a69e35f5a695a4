package deploy_test

import (
	"crypto/sha256"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/deploy"
)

// clients makes a folder with files of these names, each newer than the one
// before; a file holds its name.
func clients(t *testing.T, names ...string) deploy.Clients {
	t.Helper()
	c := deploy.Clients{Dir: t.TempDir()}
	for i, name := range names {
		path := filepath.Join(c.Dir, name)
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(1e9+i), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

var everyClient = []string{
	"backstay_0.9.0_amd64.deb", "backstay_0.10.0_amd64.deb", "backstay-0.1.0-1.x86_64.rpm", "backstay_0.1.0_amd64.msi", "backstay_darwin_arm64",
	"backstay-server_0.1.0_amd64.deb", "backstay_0.1.0_mips.deb", "secret", "backstay_0.1.0_amd64.msi.old", "backstay_windows_amd64.exe",
}

func TestInstaller(t *testing.T) {
	t.Parallel()
	c := clients(t, everyClient...)
	if got, err := c.Installers(); err != nil || !slices.Equal(got, []string{deploy.InstallUnix, deploy.InstallWindows}) {
		t.Errorf("Installers = %q, %v", got, err)
	}
	sum := func(name string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(name))) }
	source := deploy.Source{Server: "https://it's.example.org", Fingerprint: strings.Repeat("0f", 32), Token: "bsd1.a.b.c"}
	for name, want := range map[string][]string{
		deploy.InstallUnix: {`'https://it'\''s.example.org'`, `token = "bsd1.a.b.c"`, "'Linux x86_64'", "'Darwin arm64'",
			"'backstay_0.10.0_amd64.deb' " + sum("backstay_0.10.0_amd64.deb"), sum("backstay-0.1.0-1.x86_64.rpm"), "'Dw8P"},
		deploy.InstallWindows: {"'https://it''s.example.org'", "'TOKEN=bsd1.a.b.c', 'CA_SHA256=" + source.Fingerprint + "', 'IDENTITY=auto')\r\n",
			"'AMD64' = @('backstay_0.1.0_amd64.msi', '" + sum("backstay_0.1.0_amd64.msi") + "')\r\n"},
	} {
		text, err := c.Installer(name, source)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s lacks %q:\n%s", name, part, text)
			}
		}
		for _, part := range []string{"0.9.0", "mips", "-server", "secret", "{{"} {
			if strings.Contains(text, part) {
				t.Errorf("%s has %q", name, part)
			}
		}
		if name == deploy.InstallUnix {
			check := exec.Command("/bin/sh", "-n")
			check.Stdin = strings.NewReader(text)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("the shell does not take the script: %v %s", err, out)
			}
		}
	}
	none := clients(t, "backstay_0.1.0_amd64.msi")
	if _, err := none.Installer(deploy.InstallUnix, source); errs.KindOf(err) != errs.Conflict {
		t.Errorf("an installer of nothing: %v", err)
	}
	if got, err := (deploy.Clients{Dir: filepath.Join(c.Dir, "missing")}).Installers(); err != nil || len(got) != 0 {
		t.Errorf("without a folder: %q, %v", got, err)
	}
}

// The lines of the console name the files that are there, else those to come.
func TestName(t *testing.T) {
	t.Parallel()
	list, err := clients(t, everyClient...).List()
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string][2]string{
		"deb": {"backstay_0.10.0_amd64.deb", "backstay_0.1.0_amd64.deb"},
		"rpm": {"backstay-0.1.0-1.x86_64.rpm", "backstay-0.1.0-1.x86_64.rpm"},
		"msi": {"backstay_0.1.0_amd64.msi", "backstay_0.1.0_amd64.msi"},
	} {
		if got := [2]string{deploy.Name(list, kind), deploy.Name(nil, kind)}; got != want {
			t.Errorf("the names of %s are %q, want %q", kind, got, want)
		}
	}
}

// Only clients leave the folder.
func TestServesClients(t *testing.T) {
	t.Parallel()
	c := clients(t, everyClient...)
	for path, want := range map[string]int{
		"backstay_0.10.0_amd64.deb": 200, "backstay_0.1.0_amd64.msi": 200, "backstay_windows_amd64.exe": 404, "backstay_0.2.0_amd64.deb": 404, "secret": 404, "": 404, ".": 404,
		"../" + filepath.Base(c.Dir) + "/secret": 404, "backstay-server_0.1.0_amd64.deb": 404,
	} {
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest("GET", deploy.ClientsPath+path, nil))
		if w.Code != want || want == 200 && w.Body.String() != path {
			t.Errorf("GET %s = %d %q, want %d", path, w.Code, w.Body, want)
		}
	}
}
