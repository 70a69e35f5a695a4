package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// lookEvery is how often a computer that waits looks whether its file is another
// one, or somebody has activated it.
const lookEvery = 5 * time.Second

func (a *app) deployCommand() *cobra.Command {
	var file string
	var once bool
	cmd := a.command("deploy --config FILE", "cli.deploy.", func(cmd *cobra.Command, _ []string) error {
		if file == "" {
			return usageError(cmd, errs.New(errs.Invalid, "cli.usage.flag.missing", "name", "config"))
		}
		st, err := a.openState()
		if err != nil {
			return err
		}
		return a.deploy(cmd.Context(), st, file, once)
	})
	cmd.Args = maxArgs(0)
	cmd.Flags().StringVar(&file, "config", "", a.say.T("cli.deploy.flag.config"))
	cmd.Flags().BoolVar(&once, "once", false, a.say.T("cli.deploy.flag.once"))
	cmd.AddCommand(a.deployWriteCommand())
	return cmd
}

// deployWriteCommand leaves the file for the service: installers run it with what
// they were told.
func (a *app) deployWriteCommand() *cobra.Command {
	var f agent.DeployFile
	path := agent.DeployPath(a.getenv)
	cmd := a.command("write --server URL --token TOKEN", "cli.deploy.write.", func(*cobra.Command, []string) error {
		if err := agent.WriteDeployFile(path, f, a.getenv); err != nil {
			return err
		}
		fmt.Fprintln(a.out, a.say.T("cli.deploy.write.done", "path", path))
		return nil
	})
	cmd.Args = maxArgs(0)
	for _, flag := range []struct {
		name string
		to   *string
	}{{"server", &f.Server}, {"ca-sha256", &f.CASHA256}, {"token", &f.Token}, {"proxy", &f.Proxy}, {"edition", &f.Edition}, {"identity", &f.Identity}, {"config", &path}} {
		cmd.Flags().StringVar(flag.to, flag.name, *flag.to, a.say.T("cli.deploy.write.flag."+flag.name))
	}
	return cmd
}

// deploy tries until this computer is a device.
func (a *app) deploy(ctx context.Context, st *state.State, path string, once bool) error {
	for failed := 1; ; failed++ {
		before := stamp(path)
		d, f, err := a.deployOnce(ctx, st, path)
		if err == nil && d == nil {
			fmt.Fprintln(a.out, a.say.T("cli.deploy.signed_in", "server", safe(f.Server)))
			return nil
		}
		if err == nil {
			fmt.Fprintln(a.out, a.say.T("cli.deploy.done", "name", safe(d.Name), "username", safe(d.Username)))
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		wait := agent.NextTry(failed, err, rand.Float64())
		if err := a.noteDeployment(st, f, failed, err, wait); err != nil {
			return err
		}
		if once || f.Server == "" && failed == 1 {
			return err // a file that is wrong is for whoever types this
		}
		fmt.Fprintln(a.errOut, a.message(err))
		fmt.Fprintln(a.errOut, a.say.T("cli.deploy.again", "at", a.say.Exact(a.now().Add(wait).Local())))
		ownerless := agent.Ownerless(err)
		changed, err := a.waitForTry(ctx, st, path, before, wait, func() bool { return ownerless && agent.SignedIn(ctx, a.getenv, f.Server) })
		if err != nil {
			return err
		}
		if changed {
			failed = 0
		}
	}
}

// deployOnce is one try. A computer that somebody activated meanwhile is done: it
// is their device, and none of this state folder when they did that for themselves.
func (a *app) deployOnce(ctx context.Context, st *state.State, path string) (d *state.Device, f agent.DeployFile, err error) {
	f, err = agent.ReadDeployFile(path, a.getenv)
	if err != nil {
		return nil, agent.DeployFile{}, err
	}
	if f.Token == "" {
		d, err := st.Device()
		if err == nil || agent.SignedIn(ctx, a.getenv, f.Server) {
			return d, f, st.SetDeployment(nil)
		}
		return nil, f, errs.New(errs.Local, "deploy.file.missing", "path", path, "name", "token")
	}
	in := agent.Activation{Server: f.Server, Fingerprint: f.CASHA256, Token: f.Token, Identity: f.Identity, System: a.root}
	if f.System != nil {
		in.System = *f.System
	}
	if a.root && !in.System {
		return nil, f, errs.New(errs.Forbidden, "deploy.file.root", "path", path)
	}
	d, err = a.enrol(ctx, st, f, in)
	if err != nil && !(agent.Ownerless(err) && agent.SignedIn(ctx, a.getenv, f.Server)) {
		return nil, f, err
	}
	if err := st.SetDeployment(nil); err != nil {
		return nil, f, err
	}
	return d, f, agent.ForgetToken(path)
}

func (a *app) enrol(ctx context.Context, st *state.State, f agent.DeployFile, in agent.Activation) (*state.Device, error) {
	cfg, err := f.Config()
	if err != nil {
		return nil, err
	}
	switch err := agent.MayActivate(ctx, st, in.Server); {
	case errs.Find(err) != nil && errs.Find(err).Key == "activation.already":
		d, readErr := st.Device()
		if readErr == nil && d.Server == in.Server {
			a.giveBack(st) // a try that was cut off may not have come so far
			return d, nil
		}
		return nil, err
	case err != nil:
		return nil, err
	}
	if err := agent.LockToActivate(ctx, a.getenv, st); err != nil {
		return nil, err
	}
	defer a.giveBack(st)
	client, err := wire.New(cfg)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	d, err := agent.Deploy(ctx, st, client, in)
	if err != nil {
		return nil, err
	}
	if f.Proxy != "" {
		err = a.keepProxy(st, cfg.Proxy)
	}
	return d, err
}

// noteDeployment keeps why this computer is no device yet, for its status.
func (a *app) noteDeployment(st *state.State, f agent.DeployFile, failed int, err error, wait time.Duration) error {
	now := a.now()
	return st.SetDeployment(&state.Deployment{Server: f.Server, Fingerprint: f.CASHA256, Note: errs.NoteOf(err), At: now, Tries: failed, Next: now.Add(wait)})
}

// stamp tells a file from one that it was changed to.
func stamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size(), info.Mode())
}

// waitForTry waits, and reports whether it ended because the file was changed.
// It ends, too, when somebody has activated the computer, for it or, as signedIn
// says, for themselves.
func (a *app) waitForTry(ctx context.Context, st *state.State, path, before string, wait time.Duration, signedIn func() bool) (changed bool, err error) {
	end := time.NewTimer(wait)
	defer end.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	_, had := st.Device()
	for {
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-end.C:
			return false, nil
		case <-look.C:
			_, has := st.Device()
			if stamp(path) != before || had != nil && has == nil || signedIn() {
				return true, nil
			}
		}
	}
}

// showDeployment is the status of a computer that enrols by itself and is no
// device yet; of any other it is notYet.
func (a *app) showDeployment(ctx context.Context, notYet error) error {
	st, err := a.openState()
	if err != nil {
		return err
	}
	d := agent.Deploying(ctx, a.getenv, st)
	if d == nil {
		return notYet
	}
	why := a.say.T("error.unexpected")
	if e := d.Failure(); e != nil {
		why = a.message(e)
	}
	a.status = exitFailed
	if a.json {
		return a.writeJSON(struct {
			Activated bool      `json:"activated"`
			Protected bool      `json:"protected"`
			Server    string    `json:"server"`
			Code      string    `json:"code,omitempty"`
			Key       string    `json:"key,omitempty"`
			Error     string    `json:"error"`
			Email     string    `json:"email,omitempty"`
			At        time.Time `json:"failed_at"`
			Tries     int       `json:"tries"`
			Next      time.Time `json:"next_try_at"`
		}{false, false, d.Server, string(d.Code), d.Key, why, d.Email(), d.At, d.Tries, d.Next})
	}
	fmt.Fprintln(a.out, a.say.T("cli.deploy.waiting", "server", safe(d.Server)))
	fmt.Fprintln(a.out, why)
	fmt.Fprintln(a.out, a.say.T("cli.deploy.again", "at", a.say.Exact(d.Next.Local())))
	return nil
}
