package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/version"
)

func (p *program) serveCommand() *cobra.Command {
	cmd := p.command("serve", "server.cli.serve.", `backstay-server serve --config /etc/backstay/server.yaml
backstay-server serve --data /srv/backstay --listen :443 --public-url https://backup.example.org
BACKSTAY_SERVER_DB=postgres://backstay:secret@db/backstay backstay-server serve`, func(cmd *cobra.Command, _ []string) error {
		c, err := p.configure(cmd)
		if err != nil {
			return err
		}
		return p.serve(cmd, c)
	})
	p.addConfigFlags(cmd)
	return cmd
}

func (p *program) serve(cmd *cobra.Command, c *configuration) error {
	ctx := cmd.Context()
	cfg := c.settings.server
	cfg.Log = c.settings.logger(p)
	for _, warning := range c.warnings {
		cfg.Log.Warn("configuration", "warning", warning)
	}
	s, err := server.New(ctx, cfg)
	if err != nil {
		return err
	}
	l, err := listen(cfg.Listen)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	var console net.Listener
	if cfg.AdminListen != "" {
		if console, err = listen(cfg.AdminListen); err != nil {
			return errors.Join(err, l.Close(), s.Close())
		}
	}
	fmt.Fprintln(p.out, p.say.T("serve.started", "url", cfg.URL(l.Addr())))
	if console != nil {
		fmt.Fprintln(p.out, p.say.T("serve.console", "url", cfg.ConsoleURL(console.Addr())))
	}
	if err := p.printChain(cfg); err != nil {
		err = errors.Join(err, l.Close())
		if console != nil {
			err = errors.Join(err, console.Close())
		}
		return errors.Join(err, s.Close())
	}
	return errors.Join(s.ServeApart(ctx, l, console), s.Close())
}

// listen opens a port; a port that somebody else has is a mistake of everyday
// and is said so.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, errs.New(errs.Conflict, "serve.port_in_use", "address", address)
	case errors.Is(err, syscall.EACCES):
		return nil, errs.New(errs.Forbidden, "serve.port_denied", "address", address)
	case err != nil:
		return nil, fmt.Errorf("listening: %w", err)
	}
	return l, nil
}

func (p *program) versionCommand() *cobra.Command {
	return p.command("version", "server.cli.version.", "", func(*cobra.Command, []string) error {
		_, err := fmt.Fprintln(p.out, "backstay-server "+version.String())
		return err
	})
}
