package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

func (a *app) backupCommand() *cobra.Command {
	cmd := a.command("backup [FOLDER...]", "cli.backup.", func(cmd *cobra.Command, args []string) error {
		folders := make([]string, 0, len(args))
		for _, arg := range args {
			folder, err := realFolder(arg)
			if err != nil {
				return err
			}
			folders = append(folders, folder)
		}
		st, err := a.openState()
		if err != nil {
			return err
		}
		if _, err := st.Device(); err != nil {
			return err
		}
		a.resumes = true
		p := a.newProgress()
		result, err := a.makeBackup(cmd.Context(), st, folders, p.show)
		p.done()
		if err != nil {
			return err
		}
		return a.showBackup(result)
	})
	return a.withJSON(cmd)
}

// realFolder is the folder behind an argument.
func realFolder(arg string) (string, error) {
	path, err := filepath.Abs(arg)
	if err != nil {
		return "", errs.New(errs.Local, "backup.folder.unreadable", "path", safe(arg)).Because(err)
	}
	return agent.FindFolder(path)
}

// makeBackup backs up in this process, or by the agent when one is running.
func (a *app) makeBackup(ctx context.Context, st *state.State, folders []string, progress func(wire.Progress)) (*control.Result, error) {
	locked := st.Lock()
	if errs.Is(locked, errs.AlreadyRunning) {
		return handOver(ctx, st, folders, progress, locked)
	}
	if locked != nil {
		return nil, locked
	}
	defer st.Unlock()
	ag, err := agent.New(agent.Config{State: st, Log: a.logger(slog.LevelWarn)})
	if err != nil {
		return nil, err
	}
	defer ag.Client().Close()
	return ag.Once(ctx, folders, progress)
}

func handOver(ctx context.Context, st *state.State, folders []string, progress func(wire.Progress), locked error) (*control.Result, error) {
	req := control.Request{Do: control.Backup}
	for _, folder := range folders {
		req.Folders = append(req.Folders, []byte(folder))
	}
	answer, err := control.Ask(ctx, st.Dir(), req, progress)
	switch {
	case errors.Is(err, control.ErrNobody):
		return nil, locked
	case err != nil:
		return nil, err
	case answer.Result == nil:
		return nil, errors.New("the agent answered without a result")
	}
	return answer.Result, nil
}

// problemJSON is something that could not be read or restored.
type problemJSON struct {
	pathJSON
	Reason string `json:"reason"`
}

// shownProblems is how many lines of them a person is given.
const shownProblems = 20

func (a *app) showBackup(r *control.Result) error {
	if r.Unreadable > 0 || r.Waiting > 0 {
		a.status = exitUnreadable
	}
	if a.json {
		problems := make([]problemJSON, 0, len(r.Problems))
		for _, p := range r.Problems {
			problems = append(problems, problemJSON{toJSON(string(p.Path)), p.Reason})
		}
		return a.writeJSON(struct {
			Snapshot   string        `json:"snapshot"`
			Hash       string        `json:"hash"`
			Seq        uint64        `json:"seq"`
			Status     string        `json:"status"`
			Entries    int64         `json:"entries"`
			Files      int64         `json:"files"`
			Bytes      int64         `json:"bytes"`
			Read       int64         `json:"bytes_read"`
			Sent       int64         `json:"bytes_sent"`
			Unreadable int64         `json:"unreadable"`
			Waiting    int64         `json:"waiting,omitempty"`
			Problems   []problemJSON `json:"problems"`
			Seconds    float64       `json:"seconds"`
		}{r.Snapshot, r.Hash, r.Seq, r.Status, r.Entries, r.Files, r.Bytes, r.Read, r.Sent, r.Unreadable, r.Waiting, problems, r.Took.Seconds()})
	}
	if r.Rediscovered != "" {
		fmt.Fprintln(a.errOut, a.say.T("cli.backup.rediscovered", "reason", safe(r.Rediscovered)))
	}
	fmt.Fprintln(a.out, a.say.T("cli.backup.done", "snapshot", r.Snapshot, "files", a.say.N("cli.count.files", r.Files),
		"bytes", a.say.Bytes(r.Bytes), "read", a.say.Bytes(r.Read), "sent", a.say.Bytes(r.Sent), "time", r.Took))
	for _, h := range r.Hooks {
		fmt.Fprintln(a.errOut, safe(a.say.Error(h.Failure())))
	}
	if r.Waiting > 0 {
		fmt.Fprintln(a.errOut, a.withCode(r.Quota.Failure()))
		fmt.Fprintln(a.errOut, a.say.N("cli.backup.waiting", r.Waiting))
	}
	if r.Unreadable > 0 {
		fmt.Fprintln(a.errOut, a.say.N("cli.backup.unreadable", r.Unreadable))
		a.listProblems(r.Unreadable, len(r.Problems), func(i int) (string, string) {
			return string(r.Problems[i].Path), r.Problems[i].Reason
		})
	}
	return nil
}

// listProblems writes the first of n problems, of which known have names.
func (a *app) listProblems(n int64, known int, problem func(i int) (path, reason string)) {
	shown := min(known, shownProblems)
	for i := range shown {
		path, reason := problem(i)
		fmt.Fprintf(a.errOut, "  %s: %s\n", safe(path), safe(reason))
	}
	if more := n - int64(shown); more > 0 {
		fmt.Fprintf(a.errOut, "  %s\n", a.say.N("cli.problems.more", more))
	}
}

// logger writes what is worth knowing to the error stream.
func (a *app) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(a.errOut, &slog.HandlerOptions{Level: level}))
}
