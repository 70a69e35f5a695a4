package e2e_test

import (
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/server/tokens"
)

var examples = regexp.MustCompile("(?s)```sh\n(curl .*?)```")

// The examples of the administrator's guide do what it says, one after the other,
// with curl, and are the same in both languages.
func TestAPIExamples(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	s.NewUser("marie")
	var token string
	err := s.DB.Write(t.Context(), func(tx *db.Tx) (err error) {
		_, token, err = tokens.Create(t.Context(), tx, s.Admin.Caller(access.Caller{}), s.Org.ID, "Inventory", []string{access.MapWrite}, tokens.DefaultLife)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	chain, err := server.Chain(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	trusted := filepath.Join(t.TempDir(), "server.pem")
	if err := os.WriteFile(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[0].Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	english, french := curls(t, "api.md"), curls(t, "api.fr.md")
	if strings.Join(english, "") != strings.Join(french, "") {
		t.Error("the examples are others in French")
	}
	for n, want := range []string{`"items":[]`, `"created_by":"Inventory"`, "ETag: ", `"username":"marie"`, ""} {
		if n >= len(english) {
			t.Fatalf("the guide has %d examples, want more", len(english))
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(english[n], "https://backup.example.org", s.URL))
		cmd.Env = append(os.Environ(), "TOKEN="+token, "CURL_CA_BUNDLE="+trusted)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(strings.ToLower(string(out)), strings.ToLower(want)) || want == "" && len(out) > 0 {
			t.Fatalf("%s: %v\n%s\nwant %s", english[n], err, out, want)
		}
	}
}

func curls(t *testing.T, page string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "admin", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range examples.FindAllStringSubmatch(string(text), -1) {
		list = append(list, found[1])
	}
	return list
}
