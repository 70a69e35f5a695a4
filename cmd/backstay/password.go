package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// maxPassword is as long as passwords get; a longer file is not one.
const maxPassword = 4096

// password reads the user's password: the first line of a file, the next line
// of standard input when the file is "-", or from the terminal, unseen.
func (a *app) password(ctx context.Context, file, user string) (string, error) {
	if file != "" {
		return a.secretFrom(file)
	}
	if !a.asks() {
		return "", errs.New(errs.Local, "cli.password.terminal")
	}
	return a.askSecret(ctx, a.say.T("cli.password.ask", "user", safe(user)))
}

// secretFrom reads a secret from the first line of a file, or the next one of
// standard input.
func (a *app) secretFrom(file string) (string, error) {
	in := a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", errs.New(errs.Local, "cli.password.file", "path", safe(file)).Because(err)
		}
		defer f.Close()
		in = f
	}
	line, err := readLine(in)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	if line == "" {
		return "", errs.New(errs.Local, "cli.password.empty")
	}
	return line, nil
}

// newPassword reads a new password from a file, or asks for it twice, and gives
// it to use. What the server does not take, it says why, and whoever sits there
// is asked again. rules are shown before the first question.
func (a *app) newPassword(ctx context.Context, file string, rules []wire.PasswordRule, use func(password string) error) error {
	if file != "" {
		password, err := a.secretFrom(file)
		if err != nil {
			return err
		}
		return use(password)
	}
	if a.asks() {
		a.showRules(a.say.T("cli.password.rules"), rules)
	}
	for {
		password, err := a.askTwice(ctx)
		if err != nil {
			return err
		}
		if err = use(password); err == nil || !aboutPassword(err) {
			return err
		}
		a.complain(err)
	}
}

func (a *app) askTwice(ctx context.Context) (string, error) {
	for {
		password, err := a.askSecret(ctx, a.say.T("cli.password.new"))
		if err != nil {
			return "", err
		}
		again, err := a.askSecret(ctx, a.say.T("cli.password.repeat"))
		if err != nil {
			return "", err
		}
		if again == password {
			return password, nil
		}
		fmt.Fprintln(a.errOut, a.say.T("cli.password.differ"))
	}
}

// aboutPassword reports whether the server refused a password that was chosen,
// so that another one may do.
func aboutPassword(err error) bool {
	e := errs.Find(err)
	return e != nil && e.Kind == errs.Invalid && strings.HasPrefix(e.Key, "user.password.")
}

// showRules lists what a password must be like.
func (a *app) showRules(head string, rules []wire.PasswordRule) {
	if len(rules) == 0 {
		return
	}
	fmt.Fprintln(a.errOut, head)
	for _, rule := range rules {
		fmt.Fprintf(a.errOut, "  - %s\n", safe(rule.Text(a.say)))
	}
}

// complain says why something was refused, to somebody who may try again.
func (a *app) complain(err error) {
	fmt.Fprintln(a.errOut, a.paint(red, a.message(err))+a.code(err))
	for _, line := range a.details(err) {
		fmt.Fprintf(a.errOut, "  %s\n", line)
	}
}

// askCode returns how the code of a second factor is come by: the one given on
// the command line, or from whoever sits at the terminal.
func (a *app) askCode(given string) wire.AskCode {
	var methods []string
	used := false
	return func(ctx context.Context, why error) (string, error) {
		if wire.FactorMethods(why) != nil {
			methods = wire.FactorMethods(why)
		}
		switch {
		case used && given != "" || len(methods) == 0:
			return "", why
		case given != "":
			used = true
			return given, nil
		case !a.asks():
			return "", why
		case errs.Find(why).Key != "login.second_factor":
			a.complain(why)
		}
		question := a.say.T("cli.code.ask")
		if slices.Contains(methods, wire.FactorRecovery) {
			question = a.say.T("cli.code.ask_recovery")
		}
		return a.ask(ctx, question, "")
	}
}
