package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// programs are those that make has built beside this one, which are the ones
// that people get, for the tests that run them: without them each package links
// its own.
type programs struct {
	dir string
	env []string // tells the tests where they are
}

// newPrograms copies them: tests run them as other users, who may not look into
// everybody's source tree.
func newPrograms() (*programs, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "backstay-bin-")
	if err != nil {
		return nil, err
	}
	p := &programs{dir: dir, env: []string{"BACKSTAY_BIN=" + dir}}
	err = os.Chmod(dir, 0o755)
	for _, name := range []string{"backstay", "backstay-server"} {
		if err == nil {
			err = copyProgram(filepath.Join(dir, name), filepath.Join(filepath.Dir(self), name))
		}
	}
	if errors.Is(err, fs.ErrNotExist) { // this is go run
		p.env, err = nil, nil
	}
	if err != nil {
		p.remove()
		return nil, fmt.Errorf("copying the programs: %w", err)
	}
	return p, nil
}

func copyProgram(to, from string) error {
	program, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, program, 0o755)
}

func (p *programs) remove() { os.RemoveAll(p.dir) }
