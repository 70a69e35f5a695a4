package wire

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
)

// Title says in a few words what step is passed by: a line of the list that is
// ticked off.
func (s Step) Title(say *locale.Printer) string { return say.T("connect.step." + string(s)) }

// Sentence says why the way to a server ended where it did, for errors of this
// package; "" for others, of which their own message says all there is.
func Sentence(say *locale.Printer, err error) string {
	e := errs.Find(err)
	if e == nil || why(e) == "" {
		return ""
	}
	return say.Error(&errs.Error{Kind: e.Kind, Key: "connect.why." + why(e), Args: e.Args})
}

// Advice says what to do about such an error, or about E1004 and E1005; "" where
// nothing is known that helps.
func Advice(say *locale.Printer, err error) string {
	e := errs.Find(err)
	if e == nil {
		return ""
	}
	about := cmp.Or(why(e), string(e.Code))
	if strings.HasSuffix(about, ".proxy") {
		about = "proxy"
	}
	// What is said of a kind of failure goes for all below it.
	for ; about != ""; about = about[:max(0, strings.LastIndexByte(about, '.'))] {
		key := "connect.do." + about
		if text := say.Error(&errs.Error{Kind: e.Kind, Key: key, Args: e.Args}); text != key {
			return text
		}
	}
	return ""
}

func why(e *errs.Error) string {
	s, _ := e.Args["why"].(string)
	return s
}

// StepOf is the step at which an error ended the way to the server, "" when that
// is not known.
func StepOf(err error) Step {
	if e := errs.Find(err); e != nil {
		switch step, _ := e.Args["step"].(string); {
		case step != "":
			return Step(step)
		case e.Code == errs.ClockSkew:
			return StepClock
		case e.Code == errs.ClientTooOld:
			return StepVersion
		}
	}
	return ""
}

// CertDetails are what E1002 knows of the certificate, in the order to show it;
// nil for other errors.
func CertDetails(err error) []Detail {
	if e := errs.Find(err); e != nil && e.Code == errs.UntrustedCert {
		return certDetails(e.Args)
	}
	return nil
}

// Sentence says why a check failed, "" when it did not.
func (c Check) Sentence(say *locale.Printer) string {
	if c.Err == nil {
		return ""
	}
	return printable(cmp.Or(Sentence(say, c.Err), say.Error(c.Err)))
}

// Advice says what to do about it.
func (c Check) Advice(say *locale.Printer) string { return printable(Advice(say, c.Err)) }

// Code is the code of the failure, "" when there is none.
func (c Check) Code() errs.Code {
	if e := errs.Find(c.Err); e != nil {
		return e.Code
	}
	return ""
}

// Cause is what lies below the failure, in the words of whoever met it.
func (c Check) Cause() string {
	if e := errs.Find(c.Err); e != nil && e.Err != nil {
		return printable(e.Err.Error())
	}
	return ""
}

// Lines are the details of a check, one a line.
func (c Check) Lines(say *locale.Printer) (lines []string) {
	for _, d := range c.Details {
		if d.Value != "" {
			lines = append(lines, d.Text(say))
		}
	}
	return lines
}

// Text is a line that tells the detail.
func (d Detail) Text(say *locale.Printer) string {
	return say.T("connect.detail", "name", say.T("connect.detail."+d.Name), "value", printable(d.Value))
}

// marks are what stands before a check.
var marks = map[string]string{CheckPassed: "\u2713", CheckFailed: "\u2717", CheckSkipped: "\u2013"}

// Line is the check in one line: what was passed, or why it was not.
func (c Check) Line(say *locale.Printer) string {
	text := c.Step.Title(say)
	switch c.Outcome {
	case CheckFailed:
		text = c.Sentence(say)
		if code := c.Code(); code != "" {
			text += " (" + string(code) + ")"
		}
	case CheckSkipped:
		text = say.T("connect.skipped", "step", text)
	}
	return marks[c.Outcome] + " " + text
}

// Text is all of the report in the reader's language, to be copied and sent to
// somebody who can help. It holds no secret.
func (r Report) Text(say *locale.Printer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "backstay %s, %s\n%s\n", r.Client, r.At.UTC().Format(instant), printable(r.Server))
	for _, c := range r.Checks {
		b.WriteString(c.Line(say))
		if c.Outcome != CheckSkipped {
			fmt.Fprintf(&b, " (%d ms)", c.Took.Milliseconds())
		}
		b.WriteString("\n")
		for _, line := range c.Lines(say) {
			fmt.Fprintf(&b, "    %s\n", line)
		}
		if cause := c.Cause(); cause != "" {
			fmt.Fprintf(&b, "    %s\n", cause)
		}
	}
	return b.String()
}

// printable is s without what could move a cursor or hide: names in
// certificates are anybody's.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || unicode.Is(unicode.Zs, r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
