package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/passwords"
)

// newAccount is what the commands that make accounts are told.
type newAccount struct {
	org, role          string
	email, first, last string
	language           string
	passwordFile       string
}

func (p *program) adminCreate() *cobra.Command {
	n := &newAccount{}
	cmd := p.command("create USERNAME", "server.cli.admin.create.", `backstay-server admin create --org Example alice
backstay-server admin create --org Example --role viewer --password-file /run/secrets/bob bob`,
		func(cmd *cobra.Command, args []string) error {
			return p.create(cmd, n, accounts.New{Kind: access.AdminKind, Role: access.Role(n.role), Username: args[0]}, true)
		})
	p.accountFlags(cmd, n)
	var roles []string
	for _, r := range access.Roles() {
		roles = append(roles, string(r))
	}
	n.role = string(access.ServerAdmin)
	p.textFlag(cmd, &n.role, "role", "ROLE", "server.flag.role", "roles", strings.Join(roles, ", "), "value", n.role)
	return cmd
}

func (p *program) userCreate() *cobra.Command {
	n := &newAccount{}
	cmd := p.command("create USERNAME", "server.cli.user.create.", `backstay-server user create --org Example --email carol@example.org carol
backstay-server user create --password-file - carol < password`,
		func(cmd *cobra.Command, args []string) error {
			return p.create(cmd, n, accounts.New{Kind: access.UserKind, Username: args[0]}, false)
		})
	p.accountFlags(cmd, n)
	return cmd
}

// accountFlags are what both kinds of accounts have.
func (p *program) accountFlags(cmd *cobra.Command, n *newAccount) {
	cmd.Args = p.arguments(1)
	p.textFlag(cmd, &n.org, "org", "NAME", "server.flag.org")
	p.textFlag(cmd, &n.email, "email", "ADDRESS", "server.flag.email")
	p.textFlag(cmd, &n.first, "first-name", "NAME", "server.flag.first_name")
	p.textFlag(cmd, &n.last, "last-name", "NAME", "server.flag.last_name")
	p.textFlag(cmd, &n.language, "language", "LANGUAGE", "server.flag.language")
	p.textFlag(cmd, &n.passwordFile, "password-file", "FILE", "server.flag.password_file")
	p.addConfigFlags(cmd, "data", "db", "vault")
}

// create makes an account behind the server's back: with the rights of whoever
// can read its keys.
func (p *program) create(cmd *cobra.Command, n *newAccount, account accounts.New, makeOrg bool) error {
	ctx := cmd.Context()
	c, err := p.configure(cmd)
	if err != nil {
		return err
	}
	cfg := c.settings.server
	cfg.Hasher = p.hasher
	cfg.Log = slog.New(slog.NewTextHandler(p.err, &slog.HandlerOptions{Level: max(c.settings.logLevel, slog.LevelWarn)}))
	password, made, err := p.password(n.passwordFile, account.Username)
	if err != nil {
		return err
	}
	s, err := server.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	by := access.System("backstay-server " + cmd.Parent().Name() + " create")
	org, err := p.organisation(cmd, s, by, n.org, makeOrg)
	if err != nil {
		return err
	}
	account.Org, account.Email, account.FirstName, account.LastName, account.Language = org.ID, n.email, n.first, n.last, n.language
	u, err := s.NewAccount(ctx, by, account, password)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.out, p.say.T("account.created", "name", u.Username, "org", org.Name))
	if made {
		fmt.Fprintln(p.out, p.say.T("account.password", "password", password))
	}
	return nil
}

// organisation finds the one that is meant, and may make it.
func (p *program) organisation(cmd *cobra.Command, s *server.Server, by access.Caller, name string, make bool) (o orgs.Org, err error) {
	ctx := cmd.Context()
	if name != "" && make {
		o, made, err := s.EnsureOrg(ctx, by, name)
		if made {
			fmt.Fprintln(p.out, p.say.T("org.created", "name", o.Name))
		}
		return o, err
	}
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		if name != "" {
			o, err = orgs.FindByName(ctx, tx, name)
			return err
		}
		all, err := orgs.List(ctx, tx, by)
		if err != nil {
			return err
		}
		if len(all) != 1 {
			return errs.New(errs.Invalid, "org.which")
		}
		o = all[0]
		return nil
	})
	return o, err
}

// password is what the file says, or somebody types; else it is made, and then
// has to be shown.
func (p *program) password(file, username string) (password string, made bool, err error) {
	switch {
	case file == "-":
		password, err = firstLine(p.in)
		return password, false, err
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return "", false, fmt.Errorf("reading the password: %w", err)
		}
		defer f.Close()
		password, err = firstLine(f)
		return password, false, err
	case p.in == nil || !term.IsTerminal(int(p.in.Fd())):
		return passwords.Readable(), true, nil
	}
	password, err = p.ask(p.say.T("account.password.ask", "name", username))
	if err != nil {
		return "", false, err
	}
	if password == "" {
		return passwords.Readable(), true, nil
	}
	again, err := p.ask(p.say.T("account.password.again"))
	if err == nil && again != password {
		err = errs.New(errs.Invalid, "account.password.different")
	}
	return password, false, err
}

func (p *program) ask(question string) (string, error) {
	fmt.Fprint(p.err, question+" ")
	answer, err := term.ReadPassword(int(p.in.Fd()))
	fmt.Fprintln(p.err)
	return string(answer), err
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errs.New(errs.Invalid, "account.password.empty")
	}
	return line, nil
}
