package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/term"

	"github.com/backstay/backstay/errs"
)

// asks reports whether there is somebody at a terminal who can be asked.
func (a *app) asks() bool {
	_, ok := terminal(a.in)
	return ok
}

// ask asks for a line on the terminal. What is empty or blank gives what
// usually is meant.
func (a *app) ask(ctx context.Context, question, usual string) (string, error) {
	if usual != "" {
		question += " [" + usual + "]"
	}
	line, err := a.typed(ctx, question, func(int) (string, error) { return readLine(a.in) })
	if line = strings.TrimSpace(line); line == "" {
		line = usual
	}
	return line, err
}

// askSecret asks for a line that nobody sees.
func (a *app) askSecret(ctx context.Context, question string) (string, error) {
	secret, err := a.typed(ctx, question, func(fd int) (string, error) {
		line, err := term.ReadPassword(fd)
		fmt.Fprintln(a.errOut) // the reader's own line break was not shown either
		return string(line), err
	})
	if err == nil && secret == "" {
		err = errs.New(errs.Local, "cli.password.empty")
	}
	return secret, err
}

// agrees asks a question to which yes is the usual answer.
func (a *app) agrees(ctx context.Context, question string) (bool, error) {
	yes, no := a.say.T("cli.ask.yes"), a.say.T("cli.ask.no")
	for {
		answer, err := a.ask(ctx, question, yes)
		switch answer = strings.ToLower(answer); {
		case err != nil:
			return false, err
		case strings.HasPrefix(answer, yes):
			return true, nil
		case strings.HasPrefix(answer, no):
			return false, nil
		}
	}
}

// choose lets somebody choose one of a list by its number.
func (a *app) choose(ctx context.Context, question string, list []string) (string, error) {
	for i, item := range list {
		fmt.Fprintf(a.errOut, "  %d  %s\n", i+1, safe(item))
	}
	for {
		answer, err := a.ask(ctx, question, "")
		if err != nil {
			return "", err
		}
		if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(list) {
			return list[n-1], nil
		}
	}
}

// typed asks a question and waits for read. Ctrl-C gives the terminal back as it
// was before the command ends.
func (a *app) typed(ctx context.Context, question string, read func(fd int) (string, error)) (string, error) {
	if !a.asks() {
		return "", errs.New(errs.Local, "cli.ask.terminal", "question", strings.TrimSuffix(question, ":"))
	}
	fd := int(a.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("asking on the terminal: %w", err)
	}
	fmt.Fprint(a.errOut, question+" ")
	type answer struct {
		line string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		line, err := read(fd)
		answered <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		term.Restore(fd, before)
		fmt.Fprintln(a.errOut)
		return "", context.Cause(ctx)
	case got := <-answered:
		if errors.Is(got.err, io.EOF) {
			return "", errs.New(errs.Local, "cli.ask.ended")
		}
		if got.err != nil {
			return "", fmt.Errorf("asking on the terminal: %w", got.err)
		}
		return got.line, nil
	}
}

// readLine reads one line and nothing of the next.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < maxPassword; {
		n, err := r.Read(one)
		switch {
		case n == 1 && one[0] == '\n':
			return strings.TrimSuffix(string(line), "\r"), nil
		case n == 1:
			line = append(line, one[0])
		case errors.Is(err, io.EOF) && len(line) > 0:
			return string(line), nil
		case err != nil:
			return "", err
		}
	}
	return string(line), nil
}
