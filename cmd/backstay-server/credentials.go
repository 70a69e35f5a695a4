package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/durable"
)

// credentials are what a quickstart's owner needs to look around: the file
// DATA/credentials, lines of "key: value" that people and scripts read.
type credentials struct {
	Portal                string
	User                  string
	UserPassword          string
	Console               string
	Administrator         string
	AdministratorPassword string
	CAFingerprint         string
	DeviceState           string
}

type credential struct {
	key   string
	value *string
}

func (c *credentials) fields() []credential {
	return []credential{
		{"portal", &c.Portal}, {"user", &c.User}, {"user_password", &c.UserPassword},
		{"console", &c.Console}, {"administrator", &c.Administrator}, {"administrator_password", &c.AdministratorPassword},
		{"ca_fingerprint", &c.CAFingerprint}, {"device_state", &c.DeviceState},
	}
}

func credentialsFile(data string) string { return filepath.Join(data, "credentials") }

// readCredentials reads what an earlier run left, nothing when there was none.
func readCredentials(data string) (c credentials, err error) {
	text, err := os.ReadFile(credentialsFile(data))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ": ")
		for _, f := range c.fields() {
			if f.key == key {
				*f.value = value
			}
		}
	}
	return c, nil
}

func (c *credentials) write(data string) error {
	var b strings.Builder
	for _, f := range c.fields() {
		fmt.Fprintf(&b, "%s: %s\n", f.key, *f.value)
	}
	return durable.WriteFile(credentialsFile(data), []byte(b.String()), 0o600)
}
