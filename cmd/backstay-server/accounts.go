package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
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
	licence            string // serial number
	licenceID          orgs.LicenceID
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
	p.textFlag(cmd, &n.licence, "licence", "SERIAL", "server.flag.licence")
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

// create makes an account, with the password that was given or a made one.
func (p *program) create(cmd *cobra.Command, n *newAccount, account accounts.New, makeOrg bool) error {
	return p.withServer(cmd, func(ctx context.Context, s *server.Server, by access.Caller) error {
		password, made, err := p.password(n.passwordFile, account.Username)
		if err != nil {
			return err
		}
		org, err := p.organisationOf(cmd, s, by, n, makeOrg)
		if err != nil {
			return err
		}
		account.Org, account.Email, account.FirstName, account.LastName, account.Language = org.ID, n.email, n.first, n.last, n.language
		account.Licence = string(n.licenceID)
		u, err := s.NewAccount(ctx, by, account, password)
		if err != nil {
			return err
		}
		fmt.Fprintln(p.out, p.say.T("account.created", "name", u.Username, "org", org.Name))
		if made {
			fmt.Fprintln(p.out, p.say.T("account.password", "password", password))
		}
		return nil
	})
}

// organisationOf is the organisation of a new account. A licence that was named
// says it as well.
func (p *program) organisationOf(cmd *cobra.Command, s *server.Server, by access.Caller, n *newAccount, makeOrg bool) (orgs.Org, error) {
	if n.licence == "" {
		return p.organisation(cmd, s, by, n.org, makeOrg)
	}
	var o orgs.Org
	err := s.DB.Read(cmd.Context(), func(tx *db.Tx) error {
		l, err := orgs.FindSerial(cmd.Context(), tx, s.Keys, n.licence)
		if err != nil {
			return err
		}
		n.licenceID = l.ID
		o, err = orgs.Find(cmd.Context(), tx, l.Org)
		if err == nil && n.org != "" && orgs.Fold(n.org) != orgs.Fold(o.Name) {
			err = errs.New(errs.Invalid, "licence.elsewhere", "name", l.Name, "org", o.Name)
		}
		return err
	})
	return o, err
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
