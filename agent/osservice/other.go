//go:build !linux

package osservice

import (
	"context"
	"log/slog"

	"github.com/backstay/backstay/errs"
)

// errNotHere is what systems say that Backstay is no service of yet.
func errNotHere() error { return errs.New(errs.Local, "service.unsupported") }

// Config is what a service works with.
type Config struct {
	Program string // backstay itself
	Log     *slog.Logger
	Getenv  func(string) string
}

// Run would keep the agents: on Windows started by CreateProcessAsUser from a
// service of the service control manager, on macOS by launchd.
func Run(context.Context, Config) error { return errNotHere() }

// Ask finds no service.
func Ask(context.Context, func(string) string, string, string) ([]Kept, error) {
	return nil, ErrNoService
}

// Enrol finds no service.
func Enrol(func(string) string, string) error { return ErrNoService }

// Program is the path of this program, which agents are started from.
func Program() (string, error) { return "", errNotHere() }

// Install would make the system start the service.
func Install() error { return errNotHere() }

// Uninstall would make the system forget it.
func Uninstall() error { return errNotHere() }

// Start would start the service now.
func Start() error { return errNotHere() }

// Stop would stop it.
func Stop() error { return errNotHere() }

// Restart would stop and start it.
func Restart() error { return errNotHere() }
