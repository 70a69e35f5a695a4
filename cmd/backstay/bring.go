package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// What --restore says.
const (
	sayNothing = "nothing"
	sayFiles   = "files"
)

// pathMaps reads the values of --map, OLD=NEW: a folder of another computer and
// where it is on this one.
func pathMaps(values []string) (maps []state.PathMap, err error) {
	for _, v := range values {
		from, to, ok := strings.Cut(v, "=")
		if !ok || from == "" || !filepath.IsAbs(to) {
			return nil, errs.New(errs.Invalid, "cli.map.invalid", "value", safe(v))
		}
		maps = append(maps, state.PathMap{From: []byte(from), To: []byte(filepath.Clean(to))})
	}
	return maps, nil
}

// chooseRestore asks what comes back of the files of a device that is replaced.
// Nothing is what is meant where the computer is the same one. System settings
// wait for a release that can bring them back.
func (a *app) chooseRestore(ctx context.Context, p *agent.Preview, card wire.DeviceCard, in activating, choice *agent.Choice) error {
	switch {
	case choice.Choice != wire.Replace || p.Restore == nil:
		return nil
	case in.restore == "" && a.asks():
		labels := []string{
			a.say.T("cli.activate.restore.nothing"),
			a.say.T("cli.activate.restore.files", "files", a.say.N("cli.count.files", p.Restore.Files), "bytes", a.say.Bytes(p.Restore.Bytes)),
		}
		usual := 1
		if p.SameComputer {
			usual = 0
		}
		n, err := a.pickUsual(ctx, a.say.T("cli.activate.restore.ask"), labels, usual)
		if err != nil {
			return err
		}
		if n == 1 {
			choice.Restore, choice.Maps = wire.RestoreFiles, in.places
		}
	}
	if choice.Restore != wire.RestoreFiles {
		return nil
	}
	if err := a.askMaps(ctx, *p.Restore, card.Name, choice, p.OtherSystem && a.asks() && len(in.maps) == 0); err != nil {
		return err
	}
	fmt.Fprintln(a.errOut, a.say.T("cli.activate.restore.places"))
	return a.showPlaces(agent.Places(*p.Restore, card.Name, choice.Maps, a.now()))
}

// askMaps asks where folders of another system are here that have no place of
// their own.
func (a *app) askMaps(ctx context.Context, r wire.Restorable, device string, choice *agent.Choice, asks bool) error {
	if !asks {
		return nil
	}
	for _, p := range agent.Places(r, device, choice.Maps, a.now()) {
		if !p.Aside {
			continue
		}
		for {
			to, err := a.ask(ctx, a.say.T("cli.activate.restore.where", "path", safe(p.From)), p.To)
			if err != nil {
				return err
			}
			if to == p.To {
				break
			}
			if filepath.IsAbs(to) {
				choice.Maps = append(choice.Maps, state.PathMap{From: []byte(p.From), To: []byte(filepath.Clean(to))})
				break
			}
		}
	}
	return nil
}

func (a *app) showPlaces(places []agent.Place) error {
	for _, p := range places {
		if _, err := fmt.Fprintf(a.errOut, "  %s → %s\n", safe(p.From), safe(p.To)); err != nil {
			return err
		}
	}
	return nil
}

// beside is what restore does with the files of the computer that this one
// replaced, beside the backups.
type beside struct {
	delta  bool
	cancel bool
	report bool
	maps   []string
}

func (b *beside) flags(a *app, cmd *cobra.Command) {
	cmd.Flags().BoolVar(&b.delta, "delta", false, a.say.T("cli.restore.flag.delta"))
	cmd.Flags().BoolVar(&b.cancel, "cancel", false, a.say.T("cli.restore.flag.cancel"))
	cmd.Flags().BoolVar(&b.report, "report", false, a.say.T("cli.restore.flag.report"))
	cmd.Flags().StringArrayVar(&b.maps, "map", nil, a.say.T("cli.flag.map"))
	cmd.MarkFlagsMutuallyExclusive("delta", "cancel", "report", "target")
}

// asked reports whether one of these is meant, and not a restore to a folder.
func (b *beside) asked() bool { return b.delta || b.cancel || b.report }

func (b *beside) do(a *app, cmd *cobra.Command, r reading) error {
	st, err := a.openState()
	if err != nil {
		return err
	}
	switch {
	case b.report:
		return a.showBack(st)
	case b.cancel:
		return a.cancelRestore(st)
	}
	maps, err := pathMaps(b.maps)
	if err != nil {
		return usageError(cmd, err)
	}
	device, client, err := a.connect()
	if err != nil {
		return err
	}
	defer client.Close()
	password, err := a.password(cmd.Context(), r.passwordFile, device.Username)
	if err != nil {
		return err
	}
	user, err := client.Login(cmd.Context(), password, a.askCode(r.code))
	if err != nil {
		return err
	}
	begun, err := agent.BeginRestore(cmd.Context(), st, user, maps)
	if err != nil {
		return err
	}
	if a.json {
		return a.writeJSON(besideOf(begun))
	}
	fmt.Fprintln(a.out, a.say.T("cli.restore.beside.begun", "name", safe(begun.Device)))
	return nil
}

func (a *app) cancelRestore(st *state.State) error {
	r, err := agent.CancelRestore(st)
	if err != nil {
		return err
	}
	if a.json {
		return a.writeJSON(besideOf(r))
	}
	fmt.Fprintln(a.out, a.say.T("cli.restore.beside.cancelled", "name", safe(r.Device)))
	return nil
}

// showBack lists what did not come back as it was.
func (a *app) showBack(st *state.State) error {
	r, err := st.Restore()
	if err == nil && r == nil {
		err = errs.New(errs.Conflict, "restore.beside.none")
	}
	if err != nil {
		return err
	}
	type line struct {
		Kind string `json:"kind"`
		pathJSON
		To     *pathJSON `json:"to,omitempty"`
		Reason string    `json:"reason,omitempty"`
	}
	var lines []line
	err = agent.ReadReport(st, func(x agent.Reported) error {
		l := line{Kind: x.Kind, pathJSON: toJSON(string(x.Path))}
		if len(x.To) > 0 {
			to := toJSON(string(x.To))
			l.To = &to
		}
		if x.Failure != nil {
			l.Reason = a.reason(x.Failure.Err())
		}
		if lines = append(lines, l); a.json {
			return nil
		}
		_, err := fmt.Fprintln(a.out, a.reportLine(x, l.Reason))
		return err
	})
	if err != nil {
		return err
	}
	if a.json {
		return a.writeJSON(struct {
			Restore besideJSON `json:"restore"`
			Lines   []line     `json:"lines"`
		}{besideOf(r), lines})
	}
	fmt.Fprintln(a.out, a.besideText(r))
	return nil
}

func (a *app) reportLine(x agent.Reported, reason string) string {
	return a.say.T("cli.restore.report."+x.Kind, "path", safe(string(x.Path)), "to", safe(string(x.To)), "why", safe(reason))
}

// besideJSON is a restore beside the backups for scripts.
type besideJSON struct {
	State      string    `json:"state"`
	Code       string    `json:"code,omitempty"`
	Device     string    `json:"device"`
	Snapshot   string    `json:"snapshot"`
	BeganAt    time.Time `json:"began_at,omitzero"`
	EndedAt    time.Time `json:"ended_at,omitzero"`
	Files      int64     `json:"files"`
	TotalFiles int64     `json:"total_files"`
	Bytes      int64     `json:"bytes"`
	TotalBytes int64     `json:"total_bytes"`
	Failed     int64     `json:"failed"`
}

func besideOf(r *state.Restore) besideJSON {
	p := agent.RestoreProgress(r)
	return besideJSON{r.State, string(r.Code), r.Device, r.Short(), r.Began, r.Ended, p.Files, p.TotalFiles, p.Bytes, p.TotalBytes, p.Errors}
}

// besideText tells how a restore beside the backups goes on.
func (a *app) besideText(r *state.Restore) string {
	p := agent.RestoreProgress(r)
	args := []any{"name", safe(r.Device), "files", p.Files, "total", p.TotalFiles, "bytes", a.say.Bytes(p.Bytes), "total_bytes", a.say.Bytes(p.TotalBytes)}
	if r.State == wire.RestoreWaiting || r.State == wire.RestoreFailed {
		args = append(args, "why", a.besideWhy(r))
	}
	key := r.State
	if key == wire.RestoreCancelled {
		key = "state.cancelled"
	}
	text := a.say.T("cli.restore.beside."+key, args...)
	if e := r.Failure(); r.State == wire.RestoreCancelled && e != nil {
		text += " " + a.withCode(e)
	}
	if p.Errors > 0 {
		text += " " + a.say.N("cli.restore.beside.errors", p.Errors)
	}
	return text
}

func (a *app) besideWhy(r *state.Restore) string {
	if e := r.Failure(); e != nil {
		return a.withCode(e)
	}
	return a.say.T("cli.restore.beside.unknown")
}
