//go:build !linux

package hooks

import (
	"os"
	"os/exec"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
)

func approved(string, profile.Hook) (*os.File, *errs.Error) {
	return nil, errs.New(errs.Local, "hooks.invalid", "name", "")
}

func asGroup(*exec.Cmd) (end func()) { return func() {} }
