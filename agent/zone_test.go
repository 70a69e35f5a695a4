package agent

import (
	"archive/zip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An agent that runs on notices that its computer has travelled.
func TestZone(t *testing.T) {
	t.Setenv("TZ", "")
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	zones, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer zones.Close()
	path := filepath.Join(t.TempDir(), "localtime")
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, want := range map[string]string{"Europe/Paris": "13:00 CET", "America/Los_Angeles": "04:00 PST"} {
		file, err := zones.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(file)
		if err == nil {
			err = os.WriteFile(path, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := noon.In(zone(path)).Format("15:04 MST"); got != want {
			t.Errorf("in %s it is %s, want %s", name, got, want)
		}
	}
	if err := os.WriteFile(path, []byte("nonsense"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, path + "-missing"} {
		if zone(p) != time.Local {
			t.Errorf("%s is another zone than the one of the start", p)
		}
	}
	t.Setenv("TZ", "Asia/Tokyo")
	if zone(path) != time.Local {
		t.Error("TZ does not hold")
	}
}
