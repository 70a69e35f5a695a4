package main

import (
	"github.com/spf13/cobra"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// serverFlags say which server a command talks to before there is a device.
type serverFlags struct {
	url         string
	fingerprint string
}

func (s *serverFlags) add(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.url, "server", "", a.say.T("cli.activate.flag.server"))
	cmd.Flags().StringVar(&s.fingerprint, "ca-fingerprint", "", a.say.T("cli.activate.flag.ca_fingerprint"))
}

// check brings both into the form that they are kept in.
func (s *serverFlags) check(cmd *cobra.Command) (err error) {
	if s.url == "" {
		return usageError(cmd, errs.New(errs.Invalid, "cli.usage.flag.missing", "name", "server"))
	}
	if s.url, err = wire.ParseServer(s.url); err != nil {
		return usageError(cmd, err)
	}
	if s.fingerprint != "" {
		if s.fingerprint, err = wire.ParseFingerprint(s.fingerprint); err != nil {
			return usageError(cmd, err)
		}
	}
	return nil
}

func (s *serverFlags) client() (*wire.Client, error) {
	return wire.New(wire.Config{Server: s.url, Fingerprint: s.fingerprint})
}

// commandLine is a command as it is to be typed for a server.
func commandLine(command, server, fingerprint, rest string) string {
	line := "backstay " + command + " --server " + server
	if fingerprint != "" {
		line += " --ca-fingerprint " + fingerprint
	}
	return line + " " + rest
}
