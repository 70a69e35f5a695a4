package connection

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// Edition is a server that the administrator of this computer named.
type Edition struct {
	Name        string `toml:"name"`
	URL         string `toml:"url"`
	Fingerprint string `toml:"ca_fingerprint"` // as wire.Config has it, or ""
}

const editionsFile = "editions.toml"

// Editions reads the file of servers that the administrator ships: the first is
// the one meant for most. Without a file there are none. A file that is wrong in
// any place is an error that names file and line, and no server of it is used:
// one without its fingerprint would be trusted by other means than was meant.
func Editions(getenv func(string) string) ([]Edition, error) {
	for _, path := range editionPaths(getenv) {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, errs.New(errs.Local, "editions.unreadable", "path", path).Because(err)
		}
		return parseEditions(path, data)
	}
	return nil, nil
}

// editionPaths are where the file may lie: where BACKSTAY_EDITIONS says, where
// the system has its settings, beside the program.
func editionPaths(getenv func(string) string) []string {
	if path := getenv("BACKSTAY_EDITIONS"); path != "" {
		return []string{path}
	}
	paths := []string{filepath.Join(settingsDir(getenv), editionsFile)}
	if program, err := os.Executable(); err == nil {
		paths = append(paths, filepath.Join(filepath.Dir(program), editionsFile))
	}
	return paths
}

func parseEditions(path string, data []byte) ([]Edition, error) {
	var file struct {
		Editions []Edition `toml:"edition"`
	}
	wrong := func(line int, key string, args ...any) error {
		return errs.New(errs.Local, "editions."+key, append(args, "path", path, "line", line)...)
	}
	meta, err := toml.NewDecoder(bytes.NewReader(data)).Decode(&file)
	if err != nil {
		line, what := 1, err.Error()
		fmt.Sscanf(what, "toml: line %d", &line)
		return nil, wrong(line, "unread", "what", strings.TrimPrefix(what, "toml: "))
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		key := unknown[0]
		return nil, wrong(lineOf(data, key[len(key)-1]), "unknown", "what", key.String())
	}
	seen := map[string]bool{}
	for i := range file.Editions {
		e := &file.Editions[i]
		if key, at := e.check(seen); key != "" {
			return nil, wrong(lineOf(data, at), key, "n", i+1)
		}
	}
	if len(file.Editions) == 0 {
		return nil, wrong(1, "none")
	}
	return file.Editions, nil
}

// check brings an edition into the form that is used, or says what is wrong, as
// a message below editions., and by which text the place is found.
func (e *Edition) check(seen map[string]bool) (key, at string) {
	typed := *e
	var err error
	switch {
	case strings.TrimSpace(e.Name) == "":
		return "name.missing", typed.URL
	case seen[e.Name]:
		return "name.taken", typed.Name
	case e.URL == "":
		return "url.missing", typed.Name
	}
	seen[e.Name] = true
	if e.URL, err = wire.ParseServer(e.URL); err != nil {
		return "url.invalid", typed.URL
	}
	if e.Fingerprint == "" {
		return "", ""
	}
	if e.Fingerprint, err = wire.ParseFingerprint(e.Fingerprint); err != nil {
		return "fingerprint.invalid", typed.Fingerprint
	}
	return "", ""
}

// lineOf is the last line with a text, 1 when there is none: of two the second
// is the wrong one.
func lineOf(data []byte, text string) int {
	lines := slices.Collect(bytes.Lines(data))
	for i := len(lines) - 1; i >= 0 && text != ""; i-- {
		if bytes.Contains(lines[i], []byte(text)) {
			return i + 1
		}
	}
	return 1
}
