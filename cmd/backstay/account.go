package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// passwordCommand holds what may be done about a password.
func (a *app) passwordCommand() *cobra.Command {
	cmd := a.command("password COMMAND", "cli.account.", nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError(cmd, errs.New(errs.Invalid, "cli.usage.command", "name", safe(args[0])))
		}
		return cmd.Help()
	}
	cmd.AddCommand(a.forgotCommand(), a.changeCommand())
	return cmd
}

// forgotCommand recovers a lost password, or a lost username.
func (a *app) forgotCommand() *cobra.Command {
	var server serverFlags
	var username, email string
	cmd := a.command("forgot", "cli.forgot.", func(cmd *cobra.Command, _ []string) error {
		if username != "" && email != "" {
			return usageError(cmd, errs.New(errs.Invalid, "cli.usage.either", "a", "username", "b", "email"))
		}
		if err := a.atDevice(&server, &username, email); err != nil {
			return err
		}
		if err := server.check(cmd); err != nil {
			return err
		}
		if username == "" && email == "" {
			return usageError(cmd, errs.New(errs.Invalid, "cli.usage.flag.missing", "name", "username"))
		}
		st, err := a.openState()
		if err != nil {
			return err
		}
		cfg, err := server.config(cmd, st)
		if err != nil {
			return err
		}
		client, err := wire.New(cfg)
		if err != nil {
			return err
		}
		defer client.Close()
		message := a.say.T("cli.forgot.done_email", "email", safe(email))
		if email != "" {
			err = client.ForgotUsername(cmd.Context(), email)
		} else {
			message = a.say.T("cli.forgot.done", "user", safe(username))
			err = client.ForgotPassword(cmd.Context(), username)
		}
		if err != nil {
			return err
		}
		if a.json {
			return a.writeJSON(map[string]bool{"asked": true})
		}
		fmt.Fprintln(a.out, message)
		return nil
	})
	cmd.Args = maxArgs(0)
	server.add(a, cmd)
	cmd.Flags().StringVar(&username, "username", "", a.say.T("cli.forgot.flag.username"))
	cmd.Flags().StringVar(&email, "email", "", a.say.T("cli.forgot.flag.email"))
	return a.withJSON(cmd)
}

// atDevice fills in what was not said from the device that this computer is, if
// it is one.
func (a *app) atDevice(server *serverFlags, username *string, email string) error {
	if server.url != "" {
		return nil
	}
	st, err := a.openState()
	if err != nil {
		return err
	}
	device, err := st.Device()
	if errs.Is(err, errs.NotActivated) {
		return nil
	}
	if err != nil {
		return err
	}
	server.url, server.fingerprint = device.Server, device.Fingerprint
	if *username == "" && email == "" {
		*username = device.Username
	}
	return nil
}

// changeCommand changes the password of the device's user.
func (a *app) changeCommand() *cobra.Command {
	var passwordFile, newFile, code string
	cmd := a.command("change", "cli.change.", func(cmd *cobra.Command, _ []string) error {
		device, client, err := a.connect()
		if err != nil {
			return err
		}
		defer client.Close()
		offer, err := client.SignIn(cmd.Context())
		if err != nil {
			return err
		}
		var in wire.ChangePassword
		if in.Password, err = a.password(cmd.Context(), passwordFile, device.Username); err != nil {
			return err
		}
		ask := a.askCode(code)
		err = a.newPassword(cmd.Context(), newFile, offer.PasswordPolicy.Rules, func(password string) error {
			in.NewPassword = password
			return wire.WithCode(cmd.Context(), ask, func(code string) error {
				in.SecondFactor = agent.PlainCode(code)
				return client.ChangePassword(cmd.Context(), in)
			})
		})
		if err != nil {
			return err
		}
		if a.json {
			return a.writeJSON(map[string]bool{"changed": true})
		}
		fmt.Fprintln(a.out, a.say.T("cli.change.done"))
		return nil
	})
	cmd.Args = maxArgs(0)
	cmd.Flags().StringVar(&passwordFile, "password-file", "", a.say.T("cli.flag.password_file"))
	cmd.Flags().StringVar(&newFile, "new-password-file", "", a.say.T("cli.change.flag.new_password_file"))
	cmd.Flags().StringVar(&code, "code", "", a.say.T("cli.flag.code"))
	return a.withJSON(cmd)
}
