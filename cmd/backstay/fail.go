package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// fail tells why a command failed, and returns its exit status.
func (a *app) fail(err error) int {
	status := exitStatus(err)
	if status == exitInterrupted {
		message := a.say.T("cli.interrupted")
		if a.resumes {
			message = a.say.T("cli.interrupted.backup")
		}
		fmt.Fprintln(a.errOut, message)
		return status
	}
	if a.json {
		a.failJSON(err)
		return status
	}
	fmt.Fprintf(a.errOut, "%s %s%s\n", a.paint(red, "backstay:"), a.message(err), a.code(err))
	for _, line := range a.details(err) {
		fmt.Fprintf(a.errOut, "  %s\n", line)
	}
	return status
}

// code is the code of a failure as it stands behind its message, "" without any.
func (a *app) code(err error) string {
	e := errs.Find(err)
	if e == nil || e.Code == "" {
		return ""
	}
	return a.paint(dim, fmt.Sprintf(" (%s)", e.Code))
}

func (a *app) failJSON(err error) {
	var out struct {
		Error struct {
			Code    string   `json:"code,omitempty"`
			Key     string   `json:"key,omitempty"`
			Message string   `json:"message"`
			Details []string `json:"details,omitempty"`
		} `json:"error"`
	}
	out.Error.Message, out.Error.Details = a.message(err), a.details(err)
	if e := errs.Find(err); e != nil {
		out.Error.Code, out.Error.Key = string(e.Code), e.Key
	}
	json.NewEncoder(a.errOut).Encode(out)
}

// exitStatus is the exit status that tells of err.
func exitStatus(err error) int {
	var u *usage
	var refused *wire.Refusal
	switch {
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &u):
		return exitUsage
	case errors.As(err, &refused) && refused.Status != http.StatusInternalServerError:
		return exitRefused
	}
	return exitFailed
}

// message is what failed. An error that nobody expected is told as it is: it
// is this computer's own, and its user may need it.
func (a *app) message(err error) string {
	e := errs.Find(err)
	if e == nil {
		return safe(err.Error())
	}
	if broken := wire.BrokenRules(e); len(broken) > 0 {
		lines := make([]string, len(broken))
		for i, rule := range broken {
			lines[i] = safe(rule.Text(a.say))
		}
		return a.say.T(e.Key, "rules", strings.Join(lines, " "))
	}
	return safe(a.say.Error(err))
}

// withCode is a failure of before in the middle of a line.
func (a *app) withCode(e *errs.Error) string {
	if e.Code == "" {
		return a.message(e)
	}
	return a.message(e) + " (" + string(e.Code) + ")"
}

// details are the lines below: why, and what to do about it.
func (a *app) details(err error) (lines []string) {
	var u *usage
	if errors.As(err, &u) {
		return []string{a.say.T("cli.usage.help", "command", u.command)}
	}
	e := errs.Find(err)
	if e == nil {
		return nil
	}
	if sentence := wire.Sentence(a.say, e); sentence != "" {
		lines = append(lines, safe(sentence))
	}
	for _, detail := range wire.CertDetails(e) {
		detail.Value = safe(detail.Value)
		lines = append(lines, detail.Text(a.say))
	}
	if why := a.because(e); why != "" {
		lines = append(lines, strings.Split(why, "\n")...)
	}
	for _, name := range wire.Choice(e) {
		lines = append(lines, safe(name))
	}
	if advice := wire.Advice(a.say, e); advice != "" {
		lines = append(lines, safe(advice))
	}
	key := "cli.hint." + cmp.Or(string(e.Code), e.Key)
	if hint := a.say.T(key, "command", cmp.Or(a.forgot, "backstay password forgot")); hint != key {
		lines = append(lines, hint)
	}
	return lines
}

// because is the cause of an expected failure in the words of whoever met it.
func (a *app) because(e *errs.Error) string {
	var refused *wire.Refusal
	if errors.As(e.Err, &refused) {
		if refused.RequestID != "" {
			return a.say.T("cli.request", "id", refused.RequestID)
		}
		return ""
	}
	if e.Err == nil {
		what, _ := e.Args["what"].(string) // the path that there is none of
		return what
	}
	// Each line of the cause for itself: several ways may have failed.
	var lines []string
	for line := range strings.Lines(e.Err.Error()) {
		lines = append(lines, safe(strings.TrimSpace(line)))
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// The few styles, as terminals know them.
const (
	dim   = "2"
	red   = "31"
	green = "32"
	bold  = "1"
)

// paint gives s, meant for the error stream, a style.
func (a *app) paint(style, s string) string {
	if !a.colours(a.errOut) {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}
