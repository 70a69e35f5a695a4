package osservice

import (
	_ "embed" // the unit
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kardianos/service"

	"github.com/backstay/backstay/errs"
)

// unit is what systemd is told, by the packages and by Install alike.
//
//go:embed backstay.service
var unit string

// packaged is where the units of packages lie.
var packaged = []string{"/usr/lib/systemd/system", "/lib/systemd/system"}

// Install makes systemd start the service whenever the computer starts, from
// the program where it lies now.
func Install() error {
	for _, dir := range packaged {
		if _, err := os.Stat(filepath.Join(dir, Name+".service")); err == nil {
			return errs.New(errs.Conflict, "service.packaged")
		}
	}
	s, err := unitFor()
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

// Uninstall stops the service and makes systemd forget it. What it remembers of
// enrolments stays.
func Uninstall() error {
	for _, dir := range packaged {
		if _, err := os.Stat(filepath.Join(dir, Name+".service")); err == nil {
			return errs.New(errs.Conflict, "service.packaged.remove")
		}
	}
	return do("removing", func(s service.Service) error {
		if err := s.Stop(); err != nil {
			return err
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

// do has systemd do something with the service, when there is one.
func do(what string, change func(service.Service) error) error {
	s, err := unitFor()
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

// unitFor speaks to systemd.
func unitFor() (service.Service, error) {
	if os.Geteuid() != 0 {
		return nil, errs.New(errs.Forbidden, "service.root")
	}
	if service.Platform() != "linux-systemd" {
		return nil, errs.New(errs.Local, "service.no_systemd")
	}
	// systemctl is found by PATH, which whoever called us may have set.
	if err := os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
		return nil, err
	}
	program, err := Program()
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(program, " \t\n\"'\\%${}") {
		return nil, errs.New(errs.Local, "service.path", "path", program)
	}
	return service.New(nil, &service.Config{Name: Name, Executable: program, Option: service.KeyValue{
		"SystemdScript": strings.Replace(unit, "/usr/bin/backstay", program, 1),
	}})
}
