package main

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent/connection"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// serverFlags say which server a command talks to before there is a device, and
// by which proxies.
type serverFlags struct {
	url         string
	fingerprint string
	proxy       proxyFlags

	a *app
}

func (s *serverFlags) add(a *app, cmd *cobra.Command) {
	s.a = a
	cmd.Flags().StringVar(&s.url, "server", "", a.say.T("cli.activate.flag.server"))
	cmd.Flags().StringVar(&s.fingerprint, "ca-fingerprint", "", a.say.T("cli.activate.flag.ca_fingerprint"))
	cmd.Flags().StringVar(&s.proxy.address, "proxy", "", a.say.T("cli.flag.proxy"))
	s.proxy.addUser(a, cmd, "proxy-")
}

// check brings both into the form that they are kept in.
func (s *serverFlags) check(cmd *cobra.Command) (err error) {
	if s.url == "" {
		if err := s.choose(cmd.Context()); err != nil {
			return err
		}
	}
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

// choose takes one of the servers that the administrator named. Which of several,
// and what others there are, somebody at the terminal says; without anybody there
// the first is meant.
func (s *serverFlags) choose(ctx context.Context) error {
	editions, err := connection.Editions(s.a.getenv)
	if err != nil {
		return err
	}
	n := 0
	if len(editions) > 1 && s.a.asks() {
		var names []string
		for _, e := range editions {
			names = append(names, safe(e.Name))
		}
		if n, err = s.a.pick(ctx, s.a.say.T("cli.server.ask"), append(names, s.a.say.T("window.server.other"))); err != nil {
			return err
		}
	}
	if n < len(editions) {
		s.url, s.fingerprint = editions[n].URL, cmp.Or(s.fingerprint, editions[n].Fingerprint)
	} else if s.a.asks() {
		s.url, err = s.a.ask(ctx, s.a.say.T("cli.server.ask.address"), "")
	}
	return err
}

// config is the way to the server that the flags name, and otherwise the one
// that the state folder remembers.
func (s *serverFlags) config(cmd *cobra.Command, st *state.State) (wire.Config, error) {
	kept, err := st.Connection()
	if err != nil && s.proxy.address == "" {
		return wire.Config{}, err
	}
	p, err := s.proxy.change(s.a, cmd, kept.Proxy)
	if err != nil {
		return wire.Config{}, err
	}
	cfg := connection.With(p)
	cfg.Server, cfg.Fingerprint = s.url, s.fingerprint
	return cfg, nil
}

// proxyFlags change proxy settings.
type proxyFlags struct {
	address, user, passwordFile string
	bypass                      []string
}

func (p *proxyFlags) addUser(a *app, cmd *cobra.Command, prefix string) {
	cmd.Flags().StringVar(&p.user, prefix+"user", "", a.say.T("cli.flag.proxy_user"))
	cmd.Flags().StringVar(&p.passwordFile, prefix+"password-file", "", a.say.T("cli.flag.proxy_password_file"))
}

// change is what the flags make of settings. Another address takes nothing over.
func (p *proxyFlags) change(a *app, cmd *cobra.Command, to wire.Proxy) (_ wire.Proxy, err error) {
	if p.address != "" {
		if to, err = wire.ParseProxy(p.address); err != nil {
			return to, usageError(cmd, err)
		}
	}
	if p.user != "" {
		to.Username, to.Password = p.user, ""
	}
	if p.passwordFile != "" {
		if to.Password, err = a.secretFrom(p.passwordFile); err != nil {
			return to, err
		}
	}
	if len(p.bypass) > 0 {
		to.Bypass = p.bypass
	}
	if to, err = to.Check(); err != nil {
		return to, usageError(cmd, err)
	}
	return to, nil
}

// reach goes the way to the server before anybody types a password for an
// address that is wrong, or to a server that is not trusted, and shows what was
// passed when it ends somewhere. A proxy that wants a password gets it from
// whoever sits there. Settings that lead to the server are kept.
func (a *app) reach(ctx context.Context, st *state.State, cfg *wire.Config, identifier string) (wire.Hello, error) {
	for {
		r := wire.Diagnose(ctx, *cfg, identifier, nil)
		if ctx.Err() != nil {
			return wire.Hello{}, context.Cause(ctx)
		}
		err := r.Err()
		if err == nil {
			return r.Hello, a.keepProxy(st, cfg.Proxy)
		}
		if errs.Is(err, errs.ProxyAuth) && a.asks() && !a.json {
			a.complain(err)
			if err := a.askProxyUser(ctx, &cfg.Proxy); err != nil {
				return wire.Hello{}, err
			}
			continue
		}
		if !a.json {
			for _, check := range r.Checks {
				if check.Outcome == wire.CheckPassed {
					a.showCheck(a.errOut, check)
				}
			}
		}
		return wire.Hello{}, err
	}
}

// keepProxy remembers proxy settings when they are others than before.
func (a *app) keepProxy(st *state.State, p wire.Proxy) error {
	p, err := p.Check()
	if err != nil {
		return err
	}
	kept, err := st.Connection()
	if err == nil && kept.Proxy.Equal(p) {
		return nil
	}
	return st.SetConnection(state.Connection{Proxy: p})
}

// askProxyUser asks for what a proxy wants to know.
func (a *app) askProxyUser(ctx context.Context, p *wire.Proxy) (err error) {
	if p.Username, err = a.ask(ctx, a.say.T("cli.proxy.ask.user"), p.Username); err != nil {
		return err
	}
	p.Password, err = a.askSecret(ctx, a.say.T("cli.proxy.ask.password"))
	return err
}

// showCheck writes a check as a line.
func (a *app) showCheck(to io.Writer, c wire.Check) {
	line := safe(c.Line(a.say))
	if a.colours(to) {
		style := map[string]string{wire.CheckPassed: green, wire.CheckFailed: red, wire.CheckSkipped: dim}[c.Outcome]
		line = "\x1b[" + style + "m" + line + "\x1b[0m"
	}
	fmt.Fprintln(to, line)
}

// commandLine is a command as it is to be typed for a server.
func commandLine(command, server, fingerprint, rest string) string {
	line := "backstay " + command + " --server " + server
	if fingerprint != "" {
		line += " --ca-fingerprint " + fingerprint
	}
	return line + " " + rest
}
