package osservice

import (
	"errors"
	"fmt"
	"os"

	"github.com/kardianos/service"

	"github.com/backstay/backstay/agent/door"
	"github.com/backstay/backstay/errs"
)

// Install makes the system start the service whenever the computer starts, from
// the program where it lies now.
func Install() error {
	if packaged() {
		return errs.New(errs.Conflict, "service.packaged")
	}
	s, err := known()
	if err != nil {
		return err
	}
	if _, err := s.Status(); err == nil {
		return errs.New(errs.Conflict, "service.installed")
	}
	if err := s.Install(); err != nil {
		return fmt.Errorf("installing the service: %w", err)
	}
	return nil
}

// Uninstall stops the service and makes the system forget it. What it remembers of
// enrolments stays.
func Uninstall() error {
	if packaged() {
		return errs.New(errs.Conflict, "service.packaged.remove")
	}
	return do("removing", func(s service.Service) error {
		if state, err := s.Status(); err != nil || state == service.StatusRunning {
			if err := errors.Join(err, s.Stop()); err != nil {
				return err
			}
		}
		return s.Uninstall()
	})
}

// Start starts the service now.
func Start() error { return do("starting", service.Service.Start) }

// Stop stops the service, and with it every agent it keeps, until it is started
// again or the computer is.
func Stop() error { return do("stopping", service.Service.Stop) }

// Restart stops and starts it.
func Restart() error { return do("restarting", service.Service.Restart) }

// do has the system do something with the service, when there is one.
func do(what string, change func(service.Service) error) error {
	s, err := known()
	if err != nil {
		return err
	}
	if _, err := s.Status(); errors.Is(err, service.ErrNotInstalled) {
		return errs.New(errs.NotFound, "service.absent")
	}
	if err := change(s); err != nil {
		return fmt.Errorf("%s the service: %w", what, err)
	}
	return nil
}

// known is the service as the system's own keeper of services is told of it.
func known() (service.Service, error) {
	if door.Self() != door.Root {
		return nil, errs.New(errs.Forbidden, "service.root")
	}
	program, err := Program()
	if err != nil {
		return nil, err
	}
	cfg, err := definition(program)
	if err != nil {
		return nil, err
	}
	return service.New(nil, cfg)
}

// Program is the path of this program, which agents are started from.
func Program() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program: %w", err)
	}
	return path, nil
}
