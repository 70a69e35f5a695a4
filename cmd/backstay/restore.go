package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/backup/restore"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

func (a *app) restoreCommand() *cobra.Command {
	var r reading
	var target string
	var b beside
	cmd := a.command("restore --target DIR [PATH...]", "cli.restore.", func(cmd *cobra.Command, args []string) (err error) {
		if b.asked() {
			return b.do(a, cmd, r)
		}
		if target == "" {
			return usageError(cmd, errs.New(errs.Invalid, "cli.usage.flag.missing", "name", "target"))
		}
		if target, err = filepath.Abs(target); err != nil {
			return fmt.Errorf("finding the target: %w", err)
		}
		paths := make([]string, len(args))
		for i, arg := range args {
			if paths[i], err = snapshotPath(arg); err != nil {
				return err
			}
		}
		found, opened, err := r.open(a, cmd)
		if err != nil {
			return err
		}
		return a.restore(cmd, found, opened, target, paths)
	})
	r.flags(a, cmd)
	cmd.Flags().StringVar(&target, "target", "", a.say.T("cli.restore.flag.target"))
	b.flags(a, cmd)
	return a.withJSON(cmd)
}

func (a *app) restore(cmd *cobra.Command, found wire.Snapshot, opened *agent.Opened, target string, paths []string) error {
	var total restore.Progress
	if len(paths) == 0 {
		total.Files, total.Bytes = found.Files, found.Bytes
	}
	p := a.newProgress()
	began := a.now()
	result, err := restore.Run(cmd.Context(), restore.Config{
		Catalog: opened.Catalog,
		Target:  target,
		Paths:   paths,
		// Root has the rights, and asked: owners and devices come back too (R22).
		Privileged: os.Geteuid() == 0,
		Progress: func(now restore.Progress) {
			p.show(wire.Progress{Files: now.Files, TotalFiles: total.Files, Bytes: now.Bytes, TotalBytes: total.Bytes, Errors: now.Failed})
		},
	})
	p.done()
	if lost := a.noteRestore(cmd, found.Snapshot, target, began, result, err); lost != nil {
		a.logger(slog.LevelWarn).Warn("the restore cannot be listed among what was done", "err", lost)
	}
	if err != nil {
		return err
	}
	return a.showRestore(found.Snapshot, target, result, a.now().Sub(began))
}

// noteRestore lists a restore among what this computer did.
func (a *app) noteRestore(cmd *cobra.Command, snapshot, target string, began time.Time, r *restore.Result, failed error) error {
	st, err := a.openState()
	if err != nil {
		return err
	}
	return st.AddActivity(agent.RestoreDone(cmd.Context(), snapshot, target, began, a.now(), r, failed))
}

// renamedJSON is something that was in the way.
type renamedJSON struct {
	pathJSON
	RenamedTo pathJSON `json:"renamed_to"`
}

func (a *app) showRestore(snapshot, target string, r *restore.Result, took time.Duration) error {
	if r.Progress.Failed > 0 {
		a.status = exitUnreadable
	}
	if a.json {
		problems := func(list []restore.Problem) []problemJSON {
			out := make([]problemJSON, 0, len(list))
			for _, p := range list {
				out = append(out, problemJSON{toJSON(p.Path), a.reason(p.Err)})
			}
			return out
		}
		renamed := make([]renamedJSON, 0, len(r.Renamed))
		for _, x := range r.Renamed {
			renamed = append(renamed, renamedJSON{toJSON(x.Path), toJSON(x.Name)})
		}
		return a.writeJSON(struct {
			Snapshot     string        `json:"snapshot"`
			Target       pathJSON      `json:"target"`
			Files        int64         `json:"files"`
			Folders      int64         `json:"folders"`
			Others       int64         `json:"others"`
			Bytes        int64         `json:"bytes"`
			Kept         int64         `json:"kept"`
			FailedCount  int64         `json:"failed_count"`
			Failed       []problemJSON `json:"failed"`
			WarningCount int64         `json:"warning_count"`
			Warnings     []problemJSON `json:"warnings"`
			Renamed      []renamedJSON `json:"renamed"`
			Seconds      float64       `json:"seconds"`
		}{snapshot, toJSON(target), r.Files, r.Folders, r.Others, r.Bytes, r.Kept, r.Progress.Failed, problems(r.Failed),
			r.WarningCount, problems(r.Warnings), renamed, took.Seconds()})
	}
	fmt.Fprintln(a.out, a.say.T("cli.restore.done", "files", a.say.N("cli.count.files", r.Files), "bytes", a.say.Bytes(r.Bytes),
		"target", safe(target), "time", took))
	if n := r.Progress.Failed; n > 0 {
		fmt.Fprintln(a.errOut, a.say.N("cli.restore.failed", n))
		a.listProblems(n, len(r.Failed), func(i int) (string, string) { return r.Failed[i].Path, a.reason(r.Failed[i].Err) })
	}
	if n := r.WarningCount; n > 0 {
		fmt.Fprintln(a.errOut, a.say.N("cli.restore.warnings", n))
		a.listProblems(n, len(r.Warnings), func(i int) (string, string) { return r.Warnings[i].Path, a.reason(r.Warnings[i].Err) })
	}
	if n := r.RenamedCount; n > 0 {
		fmt.Fprintln(a.errOut, a.say.N("cli.restore.renamed", n))
		a.listProblems(n, len(r.Renamed), func(i int) (string, string) {
			return r.Renamed[i].Path, a.say.T("cli.restore.renamed.to", "name", r.Renamed[i].Name)
		})
	}
	return nil
}

// reason is why something could not be done to one item.
func (a *app) reason(err error) string {
	if errs.Find(err) != nil {
		return a.say.Error(err)
	}
	return err.Error()
}
