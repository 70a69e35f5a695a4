package connection

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/errs"
)

func TestEditions(t *testing.T) {
	t.Parallel()
	print := strings.Repeat("AB:", 31) + "AB"
	tests := []struct {
		name, file string
		want       []Edition
		line       int // of what is wrong
		key        string
	}{
		{"two", "[[edition]]\nname = \"Main\"\nurl = \"backup.example.org\"\n\n[[edition]]\nname = \"Abroad\"\nurl = \"https://b.example.org/x/\"\nca_fingerprint = \"" + print + "\"\n",
			[]Edition{{Name: "Main", URL: "https://backup.example.org"}, {Name: "Abroad", URL: "https://b.example.org/x", Fingerprint: strings.Repeat("ab", 32)}}, 0, ""},
		{"no TOML", "[[edition]]\nname = Main\n", nil, 2, "editions.unread"},
		{"a number for a name", "[[edition]]\nname = 5\nurl = \"b.example\"\n", nil, 2, "editions.unread"},
		{"an unknown key", "[[edition]]\nname = \"Main\"\nurl = \"b.example\"\nfingerprint = \"ab\"\n", nil, 4, "editions.unknown"},
		{"plain HTTP", "[[edition]]\nname = \"Main\"\nurl = \"http://b.example\"\n", nil, 3, "editions.url.invalid"},
		{"a short fingerprint", "[[edition]]\nname = \"Main\"\nurl = \"b.example\"\nca_fingerprint = \"abcd\"\n", nil, 4, "editions.fingerprint.invalid"},
		{"no name", "[[edition]]\nurl = \"b.example\"\n", nil, 2, "editions.name.missing"},
		{"no url", "[[edition]]\nname = \"Main\"\n", nil, 2, "editions.url.missing"},
		{"one name twice", "[[edition]]\nname = \"Main\"\nurl = \"b.example\"\n[[edition]]\nname = \"Main\"\nurl = \"c.example\"\n", nil, 5, "editions.name.taken"},
		{"empty", "", nil, 1, "editions.none"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "editions.toml")
			if err := os.WriteFile(path, []byte(test.file), 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := Editions(func(name string) string { return map[string]string{"BACKSTAY_EDITIONS": path}[name] })
			if test.line == 0 {
				if err != nil || len(got) != len(test.want) {
					t.Fatalf("Editions = %v, %v", got, err)
				}
				for i := range got {
					if got[i] != test.want[i] {
						t.Errorf("edition %d = %+v, want %+v", i, got[i], test.want[i])
					}
				}
				return
			}
			e := errs.Find(err)
			if e == nil || e.Args["path"] != path || e.Args["line"] != test.line || e.Key != test.key {
				t.Errorf("Editions = %v, %v; want line %d and %q", got, err, test.line, test.key)
			}
		})
	}
}

func TestNoEditions(t *testing.T) {
	t.Parallel()
	got, err := Editions(func(name string) string {
		return map[string]string{"BACKSTAY_EDITIONS": "/nowhere/editions.toml"}[name]
	})
	if got != nil || err != nil {
		t.Errorf("Editions = %v, %v; want none", got, err)
	}
}
