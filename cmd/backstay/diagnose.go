package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// diagnoseCommand goes the way to the server and shows each step.
func (a *app) diagnoseCommand() *cobra.Command {
	var server serverFlags
	var user string
	cmd := a.command("diagnose", "cli.diagnose.", func(cmd *cobra.Command, _ []string) error {
		return a.diagnose(cmd, &server, user)
	})
	cmd.Args = maxArgs(0)
	server.add(a, cmd)
	cmd.Flags().StringVar(&user, "user", "", a.say.T("cli.activate.flag.user"))
	return a.withJSON(cmd)
}

func (a *app) diagnose(cmd *cobra.Command, server *serverFlags, user string) error {
	st, err := a.openState()
	if err != nil {
		return err
	}
	if err := known(st, server, &user); err != nil {
		return err
	}
	if err := server.check(cmd); err != nil {
		return err
	}
	cfg, err := server.config(cmd, st)
	if err != nil {
		return err
	}
	r := wire.Diagnose(cmd.Context(), cfg, user, func(c wire.Check) {
		if !a.json {
			a.showCheck(a.out, c)
		}
	})
	if err := cmd.Context().Err(); err != nil {
		return err
	}
	if err := r.Err(); err != nil {
		a.status = exitStatus(err)
	}
	if a.json {
		return a.writeJSON(reportOf(r, a))
	}
	return a.showReport(r)
}

// known takes from this computer what the flags do not say: the server of the
// device, or of a registration that waits.
func known(st *state.State, server *serverFlags, user *string) error {
	if server.url != "" {
		return nil
	}
	device, err := st.Device()
	if err == nil {
		server.url, server.fingerprint = device.Server, cmp.Or(server.fingerprint, device.Fingerprint)
		*user = cmp.Or(*user, device.Username)
		return nil
	}
	if !errs.Is(err, errs.NotActivated) {
		return err
	}
	waiting, err := st.Registration()
	if err != nil || waiting == nil {
		return err
	}
	server.url, server.fingerprint = waiting.Server, cmp.Or(server.fingerprint, waiting.Fingerprint)
	*user = cmp.Or(*user, waiting.Username)
	return nil
}

// showReport says what to do about what failed, and gives the block to copy.
func (a *app) showReport(r wire.Report) error {
	if failed := r.Failed(); failed != nil {
		if advice := failed.Advice(a.say); advice != "" {
			fmt.Fprintf(a.out, "\n%s\n", safe(advice))
		}
	}
	_, err := fmt.Fprintf(a.out, "\n%s\n%s", a.say.T("cli.diagnose.copy"), r.Text(a.say))
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// reportJSON is a report for scripts.
type reportJSON struct {
	Server  string      `json:"server"`
	At      string      `json:"at"`
	Client  string      `json:"client_version"`
	Reached bool        `json:"reached"` // every step was passed or skipped
	Checks  []checkJSON `json:"checks"`
	Text    string      `json:"text"`
}

type checkJSON struct {
	Step    string            `json:"step"`
	Outcome string            `json:"outcome"`
	TookMS  int64             `json:"took_ms"`
	Code    string            `json:"code,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	Message string            `json:"message,omitempty"`
	Advice  string            `json:"advice,omitempty"`
	Details map[string]string `json:"details,omitempty"`
}

func reportOf(r wire.Report, a *app) reportJSON {
	out := reportJSON{Server: r.Server, At: r.At.UTC().Format("2006-01-02T15:04:05Z"), Client: r.Client, Reached: r.Err() == nil, Text: r.Text(a.say)}
	for _, c := range r.Checks {
		j := checkJSON{Step: string(c.Step), Outcome: c.Outcome, TookMS: c.Took.Milliseconds(), Code: string(c.Code()), Details: map[string]string{}}
		if e := errs.Find(c.Err); e != nil {
			j.Reason, _ = e.Args["why"].(string)
			j.Message, j.Advice = c.Sentence(a.say), c.Advice(a.say)
		}
		for _, d := range c.Details {
			j.Details[d.Name] = d.Value
		}
		out.Checks = append(out.Checks, j)
	}
	return out
}
