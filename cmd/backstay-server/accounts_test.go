package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCreateAccounts(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("Password-of-2\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		args   []string
		status int
		out    []string // in standard output, or in standard error when it fails
	}{
		{"a user of nothing", []string{"user", "create", "carol"}, 1, []string{"--org"}},
		{"the first administrator", []string{"admin", "create", "--org", "Example", "alice"}, 0, []string{"Example", "alice", "Password"}},
		{"another of the only organisation", []string{"admin", "create", "--role", "viewer", "bob"}, 0, []string{"bob"}},
		{"twice", []string{"admin", "create", "Alice"}, 1, []string{"Alice"}},
		{"an unknown role", []string{"admin", "create", "--role", "king", "dave"}, 1, nil},
		{"a user", []string{"user", "create", "--email", "carol@example.org", "--password-file", secret, "carol"}, 0, []string{"carol"}},
		{"a user of an unknown organisation", []string{"user", "create", "--org", "Elsewhere", "erin"}, 1, nil},
		{"another organisation", []string{"admin", "create", "--org", "Second", "frank"}, 0, []string{"Second"}},
		{"which organisation", []string{"user", "create", "grace"}, 1, []string{"--org"}},
		{"no password in the file", []string{"user", "create", "--org", "Second", "--password-file", os.DevNull, "heidi"}, 1, nil},
		{"no such file", []string{"user", "create", "--org", "Second", "--password-file", "/nowhere/x", "heidi"}, 1, []string{"/nowhere/x"}},
		{"no name", []string{"user", "create"}, 2, nil},
	} {
		status, out, err := command(t, []string{"HOME=" + data}, append(c.args, "--data", data)...)
		text := out
		if c.status != 0 {
			text = err
		}
		if status != c.status {
			t.Errorf("%s: status %d, want %d: %s%s", c.name, status, c.status, out, err)
		}
		for _, want := range c.out {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q lacks %q", c.name, text, want)
			}
		}
		if strings.Contains(out+err, "Password-of-2") {
			t.Errorf("%s: a password that was given is shown", c.name)
		}
	}
}
