//go:build linux

package packaging

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// table reads a table of a package for Windows: its rows by their first column,
// each by the names of the columns.
func table(t *testing.T, msi, name string) map[string]map[string]string {
	t.Helper()
	lines := strings.Split(strings.ReplaceAll(tool(t, nil, "msiinfo", "export", msi, name), "\r\n", "\n"), "\n")
	columns := strings.Split(lines[0], "\t")
	rows := map[string]map[string]string{}
	for _, line := range lines[3:] { // the types and the table's name are between
		cells := strings.Split(line, "\t")
		if len(cells) != len(columns) {
			continue
		}
		row := map[string]string{}
		for i, column := range columns {
			row[column] = cells[i]
		}
		rows[cells[0]] = row
	}
	return rows
}

// The package for Windows is looked into, since nothing here installs it.
func TestMSI(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	bin, err := filepath.Rel(root, dir) // wixl wants it so
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"backstay.exe", "backstay-tray.exe"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	icon := filepath.Join(dir, "backstay.ico")
	tool(t, nil, "go", "run", "./scripts/icon", icon)
	msi, arm := filepath.Join(dir, "backstay.msi"), filepath.Join(dir, "arm64.msi")
	tool(t, nil, "packaging/msi.sh", "0.1.7", "amd64", bin, msi)
	tool(t, nil, "packaging/msi.sh", "0.1.7", "arm64", bin, arm)

	files := strings.Fields(tool(t, nil, "msiextract", "--directory", dir, msi))
	for _, name := range []string{"backstay.exe", "backstay-tray.exe", "LICENSE.txt"} {
		if !slices.ContainsFunc(files, func(path string) bool { return strings.HasSuffix(path, "Backstay/"+name) }) {
			t.Errorf("%s is not in the package: %q", name, files)
		}
	}
	for _, want := range []struct{ table, row, column, value string }{
		{"Property", "ProductVersion", "Value", "0.1.7"},
		{"Property", "UpgradeCode", "Value", "{9C7A4E0D-6A1B-4B5C-8B3F-2D7C51F0A6E4}"}, // never another one
		{"Property", "ALLUSERS", "Value", "1"},
		{"Property", "MsiHiddenProperties", "Value", "TOKEN;PROXY"},
		{"Property", "SecureCustomProperties", "Value", "NEWER;OLDER;SERVER;CA_SHA256;TOKEN;PROXY;EDITION;IDENTITY"},
		{"Property", "IDENTITY", "Value", "auto"},
		{"Property", "ARPPRODUCTICON", "Value", "backstay.ico"}, // among the installed apps
		{"Shortcut", "OpenBackstay", "Icon_", "backstay.ico"},
		{"Directory", "INSTALLDIR", "Directory_Parent", "ProgramFiles64Folder"},
		// As osservice defines it: the system's own, started with the computer.
		{"ServiceInstall", "InstallService", "Name", "backstay"},
		{"ServiceInstall", "InstallService", "Arguments", "service run"},
		{"ServiceInstall", "InstallService", "StartType", "2"},
		{"ServiceInstall", "InstallService", "StartName", ""},
		{"ServiceInstall", "InstallService", "ErrorControl", "32769"}, // vital
		{"ServiceControl", "ControlService", "Event", "163"},          // started, stopped before a change, removed
		{"ServiceControl", "ControlService", "Wait", "1"},
		{"CustomAction", "RestartService", "Target", `"[System64Folder]sc.exe" failure backstay reset= 86400 actions= restart/5000`},
		{"CustomAction", "DelayService", "Target", `"[System64Folder]sc.exe" config backstay start= delayed-auto binPath= "\"[INSTALLDIR]backstay.exe\" service run"`},
		// By the installed program, as the system, in no log; taken back when the rest fails.
		{"CustomAction", "LeaveDeployFile", "Type", "11282"},
		{"CustomAction", "LeaveDeployFile", "Source", "backstay.exe"},
		{"CustomAction", "LeaveDeployFile", "Target", `deploy write --server "[SERVER]" --ca-sha256 "[CA_SHA256]" --token "[TOKEN]" --proxy "[PROXY]" --edition "[EDITION]" --identity "[IDENTITY]"`},
		{"CustomAction", "TakeDeployFile", "Type", "3426"},
		{"CustomAction", "TakeDeployFile", "Target", `"[System64Folder]cmd.exe" /c del "[CommonAppDataFolder]Backstay\deploy.toml"`},
		{"InstallExecuteSequence", "LeaveDeployFile", "Condition", `TOKEN AND NOT (REMOVE="ALL")`},
		{"Shortcut", "OpenBackstay", "Target", "[INSTALLDIR]backstay.exe"},
		{"Shortcut", "OpenBackstay", "Arguments", "ui"},
		{"Shortcut", "OpenBackstay", "Directory_", "ProgramMenuFolder"},
		{"Shortcut", "OpenBackstay", "ShowCmd", "7"}, // small
	} {
		if got := table(t, msi, want.table)[want.row][want.column]; got != want.value {
			t.Errorf("%s of %s in %s is %q, want %q", want.column, want.row, want.table, got, want.value)
		}
	}
	var values []string
	for _, row := range table(t, msi, "Registry") {
		if row["Root"] != "2" {
			t.Errorf("not of the computer: %q", row)
		}
		values = append(values, row["Key"]+" "+row["Name"]+"="+row["Value"])
	}
	for _, want := range []string{
		`SOFTWARE\Microsoft\Windows\CurrentVersion\Run Backstay="[INSTALLDIR]backstay-tray.exe"`,
		`SOFTWARE\Backstay Package=msi`,
		`SYSTEM\CurrentControlSet\Services\EventLog\Application\backstay TypesSupported=#7`,
	} {
		if !slices.Contains(values, want) {
			t.Errorf("no %s in the registry: %q", want, values)
		}
	}
	// An older version and the same one made anew are replaced, a newer one stays.
	upgrades := tool(t, nil, "msiinfo", "export", msi, "Upgrade")
	for _, want := range []string{"\t0.0.0\t0.1.7\t\t768\t\tOLDER", "\t0.1.7\t\t\t2\t\tNEWER"} {
		if !strings.Contains(upgrades, "{9C7A4E0D-6A1B-4B5C-8B3F-2D7C51F0A6E4}"+want) {
			t.Errorf("Upgrade has no %q:\n%s", want, upgrades)
		}
	}
	order := []string{"InstallInitialize", "RemoveExistingProducts", "StopServices", "InstallFiles", "LeaveDeployFile", "InstallServices", "RestartService", "DelayService", "StartServices", "InstallFinalize"}
	sequence := table(t, msi, "InstallExecuteSequence")
	at := func(action string) int { n, _ := strconv.Atoi(sequence[action]["Sequence"]); return n }
	if !slices.IsSortedFunc(order, func(a, b string) int { return at(a) - at(b) }) || at(order[0]) == 0 {
		t.Errorf("the order is wrong: %v", sequence)
	}
	if at("TakeDeployFile") == 0 || at("TakeDeployFile") > at("LeaveDeployFile") {
		t.Error("what takes the file back has to stand before what leaves it")
	}
	for file, want := range map[string]string{msi: "x64;1033", arm: "Arm64;1033"} {
		if left := tool(t, nil, "msiinfo", "suminfo", file); !strings.Contains(left, "Template: "+want+"\n") {
			t.Errorf("it is for another processor than %s: %s", want, left)
		}
	}
	drawn, err := os.ReadFile(icon)
	if err != nil {
		t.Fatal(err)
	}
	if got := tool(t, nil, "msiinfo", "extract", arm, "Icon.backstay.ico"); got != string(drawn) {
		t.Errorf("its icon has %d bytes, want the %d that were drawn", len(got), len(drawn))
	}
}
