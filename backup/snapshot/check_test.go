package snapshot

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const python = "/usr/bin/python3"

// needPython skips where the script's libraries are missing; make test installs
// them.
func needPython(t *testing.T) {
	t.Helper()
	if err := exec.Command(python, "-c", "import cryptography, zstandard").Run(); err != nil {
		t.Skip("needs python3-cryptography and python3-zstandard")
	}
}

func vectorsDir() string { return filepath.Join("..", "..", "testdata", "vectors") }

// The same vectors, read by other libraries and a script that knows only the
// document.
func TestCheckScript(t *testing.T) {
	t.Parallel()
	needPython(t)
	out, err := exec.Command(python, filepath.Join(vectorsDir(), "check.py")).CombinedOutput()
	if err != nil {
		t.Fatalf("check.py: %v\n%s", err, out)
	}
	if n := strings.Count(string(out), "ok "); n != 7 {
		t.Errorf("check.py made %d checks, want 7:\n%s", n, out)
	}
}

// A script that finds everything good proves nothing: each of these changes is
// one hex digit, and must be noticed.
func TestCheckScriptNotices(t *testing.T) {
	t.Parallel()
	needPython(t)
	for _, tt := range []struct{ check, file, field string }{
		{"keys", "keys", "Scope"}, {"keys", "keys", "IdentityPublic"}, {"keys", "keys", "ReceiptPublic"},
		{"objects", "objects", "Key"}, {"objects", "objects", "ID"}, {"objects", "objects", "Sealed"}, {"objects", "objects", "Secret"}, {"objects", "objects", "Scope"},
		{"page", "catalog", "Plain"}, {"page", "catalog", "Sealed"}, {"page", "catalog", "Key"}, {"page", "catalog", "Hash"}, {"page", "catalog", "Path"}, {"page", "catalog", "Chunker"},
		{"refs", "refs", "Full"}, {"refs", "refs", "Delta"}, {"refs", "refs", "FullID"},
		{"manifest", "manifest", "Manifest"}, {"manifest", "manifest", "Hash"}, {"manifest", "manifest", "OrgRecord"}, {"manifest", "manifest", "UserCert"},
		{"manifest", "manifest", "DeviceCert"}, {"manifest", "manifest", "Private"}, {"manifest", "manifest", "Receipt"}, {"manifest", "manifest", "RefsRoot"},
		{"wrap", "wrap", "Wrapped"}, {"wrap", "wrap", "KEK"}, {"wrap", "wrap", "AAD"},
		{"pack", "pack", "Pack"},
	} {
		t.Run(tt.file+"/"+tt.field, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, name := range []string{"check.py", tt.file + ".json"} {
				b, err := os.ReadFile(filepath.Join(vectorsDir(), name))
				if err != nil {
					t.Fatal(err)
				}
				if name != "check.py" {
					b = flip(t, b, tt.field)
				}
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			out, err := exec.Command(python, filepath.Join(dir, "check.py"), tt.check).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "FAIL "+tt.check) {
				t.Errorf("one digit of %s changed, and check.py says %v:\n%s", tt.field, err, out)
			}
		})
	}
}

// flip changes a digit in the middle of the first value of a field.
func flip(t *testing.T, b []byte, field string) []byte {
	t.Helper()
	at := regexp.MustCompile(`"` + field + `": "([0-9a-f]+)"`).FindSubmatchIndex(b)
	if at == nil {
		t.Fatalf("no field %s", field)
	}
	i := (at[2] + at[3]) / 2
	if b[i] == '0' {
		b[i] = '1'
	} else {
		b[i] = '0'
	}
	return b
}
