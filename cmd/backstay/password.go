package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/backstay/backstay/errs"
)

// maxPassword is as long as passwords get; a longer file is not one.
const maxPassword = 4096

// password reads the user's password: the first line of a file, of standard
// input when the file is "-", or from the terminal, unseen.
func (a *app) password(ctx context.Context, file, user string) (string, error) {
	switch file {
	case "":
		return a.askPassword(ctx, user)
	case "-":
		return firstLine(a.in)
	}
	f, err := os.Open(file)
	if err != nil {
		return "", errs.New(errs.Local, "cli.password.file", "path", safe(file)).Because(err)
	}
	defer f.Close()
	return firstLine(f)
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPassword)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errs.New(errs.Local, "cli.password.empty")
	}
	return line, nil
}

// askPassword asks on the terminal. Ctrl-C there gives the terminal its echo
// back before the command ends.
func (a *app) askPassword(ctx context.Context, user string) (string, error) {
	if _, ok := terminal(a.in); !ok {
		return "", errs.New(errs.Local, "cli.password.terminal")
	}
	fd := int(a.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("asking for the password: %w", err)
	}
	fmt.Fprint(a.errOut, a.say.T("cli.password.ask", "user", safe(user))+" ")
	type answer struct {
		line []byte
		err  error
	}
	typed := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		typed <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		term.Restore(fd, before)
		fmt.Fprintln(a.errOut)
		return "", context.Cause(ctx)
	case got := <-typed:
		fmt.Fprintln(a.errOut)
		if got.err != nil {
			return "", fmt.Errorf("asking for the password: %w", got.err)
		}
		if len(got.line) == 0 {
			return "", errs.New(errs.Local, "cli.password.empty")
		}
		return string(got.line), nil
	}
}
