package osservice

import (
	_ "embed" // the unit
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

// packaged reports whether the service came with a package, whose affair it is.
func packaged() bool {
	for _, dir := range []string{"/usr/lib/systemd/system", "/lib/systemd/system"} {
		if _, err := os.Stat(filepath.Join(dir, Name+".service")); err == nil {
			return true
		}
	}
	return false
}

// definition is the service for systemd.
func definition(program string) (*service.Config, error) {
	if service.Platform() != "linux-systemd" {
		return nil, errs.New(errs.Local, "service.no_systemd")
	}
	// systemctl is found by PATH, which whoever called us may have set.
	if err := os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
		return nil, err
	}
	if strings.ContainsAny(program, " \t\n\"'\\%${}") {
		return nil, errs.New(errs.Local, "service.path", "path", program)
	}
	return &service.Config{Name: Name, Executable: program, Option: service.KeyValue{
		"SystemdScript": strings.Replace(unit, "/usr/bin/backstay", program, 1),
	}}, nil
}
