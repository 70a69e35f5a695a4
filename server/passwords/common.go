package passwords

import (
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
)

// lists holds what web/assets.mjs made: the most common passwords in the world
// that are long enough for any policy, folded, one a line. The pattern matches
// this file as well, so that the Go tools work in a fresh clone; Load then says
// what is missing.
//
//go:embed common*
var lists embed.FS

const listName = "common.txt.gz"

// words are the common passwords, each with a line break before and after.
var words = sync.OnceValues(func() (string, error) { return load(lists) })

func load(files fs.FS) (string, error) {
	packed, err := fs.ReadFile(files, listName)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errors.New("this binary was built without its list of common passwords: run make assets, then build again")
	}
	if err != nil {
		return "", fmt.Errorf("reading the common passwords: %w", err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return "", fmt.Errorf("reading the common passwords: %w", err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return "", fmt.Errorf("reading the common passwords: %w", err)
	}
	return "\n" + strings.Trim(string(text), "\n") + "\n", nil
}

// Load reads the list of common passwords, and fails when this binary was built
// without it. A server calls it before it asks anybody for a password.
func Load() error {
	_, err := words()
	return err
}

// Common reports whether password is one of the most common in the world, in
// whatever case.
func Common(password string) bool {
	text, err := words()
	if err != nil {
		panic(err) // Load was not called
	}
	return password != "" && !strings.Contains(password, "\n") && strings.Contains(text, "\n"+fold(password)+"\n")
}
