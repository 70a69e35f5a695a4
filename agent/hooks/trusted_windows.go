package hooks

import (
	"errors"
	"os/exec"
)

// BUG: on Windows no hooks are run yet: who may write a file is said by access
// control lists there, which nobody reads here.
func trusted(string) (string, error) {
	return "", errors.New("hooks are not available on Windows yet")
}

func asGroup(*exec.Cmd) (end func()) { return func() {} }
