package backstay_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// S-05: nothing is used that nobody has given a reason for, and no reason
// outlives its use.
func TestDependenciesAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("DEPENDENCIES.md")
	if err != nil {
		t.Fatal(err)
	}
	modules, packages, _ := strings.Cut(string(page), "## Page assets")
	compareLists(t, "go.mod", documented(t, modules), required(t))
	compareLists(t, "web/package.json", documented(t, packages), npm(t))
}

func compareLists(t *testing.T, file string, got, want []string) {
	t.Helper()
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%s requires %s, which DEPENDENCIES.md does not name", file, name)
		}
	}
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("DEPENDENCIES.md names %s, which %s does not require", name, file)
		}
	}
}

// documented returns the names in a table, and fails for a row with a gap.
func documented(t *testing.T, text string) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		name := strings.TrimSpace(cells[0])
		if len(cells) != 4 || name == "module" || name == "package" || strings.HasPrefix(name, "-") {
			continue
		}
		if slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) == "" }) {
			t.Errorf("DEPENDENCIES.md: %s lacks owner, licence or reason", name)
		}
		names = append(names, name)
	}
	return names
}

func required(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range mod.Require {
		if !r.Indirect {
			names = append(names, r.Path)
		}
	}
	return names
}

func npm(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("web/package.json")
	if err != nil {
		t.Fatal(err)
	}
	var p struct{ Dependencies, DevDependencies map[string]string }
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, list := range []map[string]string{p.Dependencies, p.DevDependencies} {
		for name, version := range list {
			if strings.ContainsAny(version, "^~*x<>") {
				t.Errorf("web/package.json: %s %s is not pinned", name, version)
			}
			names = append(names, name)
		}
	}
	return names
}
