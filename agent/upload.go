package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/scan"
	"github.com/backstay/backstay/agent/upload"
	"github.com/backstay/backstay/backup/archive"
	"github.com/backstay/backstay/backup/restore"
	"github.com/backstay/backstay/wire"
)

// maxProblems is how many problems a result names: the answer of a running
// agent is one message.
const maxProblems = 500

// send makes one backup of what the job says.
func send(ctx context.Context, a *Agent, j job, progress func(wire.Progress)) (*control.Result, error) {
	var kept *keeping
	err := upload.InTurn(ctx, a.asking(progress), func() (err error) {
		kept, err = a.keep(ctx, j.folders)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer kept.close()
	excluded := j.settings.Excluded(j.home)
	view, err := scan.Freeze(ctx, j.folders, filepath.Join(a.state.Dir(), "view"))
	if err != nil {
		a.cfg.Log.Warn("no view of the disk at one moment can be made; files are read as they are", "err", err)
	}
	defer func() {
		if err := view.Release(); err != nil {
			a.cfg.Log.Error("the view of the disk is left behind until the next backup", "err", err)
		}
	}()
	r, err := upload.Run(ctx, upload.Config{
		Keep: kept.begin, KeptRoots: kept.roots(),
		Client: a.client, State: a.state, Device: a.device.Load(),
		Folders: kept.there(j.folders), Walk: j.walk, View: view, Excluded: func(path string) bool { return restore.Unfinished(path) || excluded(path) },
		Large: j.large(), Watch: a.unchanged, Policy: sha256.Sum256(j.settings.Encode()),
		Progress: progress, Pause: a.pause, Now: a.cfg.Now, Log: a.cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	a.kept(kept)
	result := &control.Result{
		Snapshot: r.Snapshot, Hash: r.Hash, Seq: r.Seq, Status: r.Status.String(),
		Entries: int64(r.Totals.Entries), Files: int64(r.Totals.Files), Bytes: int64(r.Totals.Bytes),
		Read: int64(r.Read), Sent: r.Sent, Unreadable: int64(r.Unreadable), Deferred: int64(r.Deferred), Carried: int64(r.Carried),
	}
	problems := slices.DeleteFunc(r.Problems, func(p archive.Problem) bool { return errors.Is(p.Err, archive.ErrWaits) })
	for _, p := range problems[:min(len(problems), maxProblems)] {
		result.Problems = append(result.Problems, control.Problem{Path: []byte(p.Path), Reason: reason(p)})
	}
	if r.Waiting > 0 {
		result.Waiting, result.Quota = int64(r.Waiting), control.Fail(r.Quota)
	}
	if r.Rediscovered != nil {
		result.Rediscovered = r.Rediscovered.Error()
	}
	return result, nil
}

// large are the files that wait, none when somebody asked for the backup.
func (j job) large() upload.Large {
	s := j.settings.Schedule
	return upload.Large{Bytes: s.BigFileBytes, Every: time.Duration(s.BigFileMinutes) * time.Minute, All: j.asked}
}

// reason is what the system said, without the path that stands before it anyway.
func reason(p archive.Problem) string {
	var errno syscall.Errno
	if errors.As(p.Err, &errno) {
		return errno.Error()
	}
	return p.Err.Error()
}
