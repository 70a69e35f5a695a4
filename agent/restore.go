package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// Place is where a folder of another computer goes on this one.
type Place struct {
	From, To string
	Aside    bool // nothing here says where it belongs
}

// Places shows where the folders of a device go whose files come back here, as
// far as the server knows them: what a snapshot really has shows when it is
// opened. maps are what somebody asks for.
func Places(r wire.Restorable, device string, maps []state.PathMap, now time.Time) []Place {
	m := move{fromOS: r.OS, fromHome: r.Home, toOS: runtime.GOOS, toHome: home(), maps: maps, aside: asideFolder(home(), device, now), writable: writable}
	var roots []string
	for _, f := range r.Folders {
		roots = append(roots, inCatalog(r.OS, f))
	}
	var places []Place
	for _, p := range m.parts(roots) {
		places = append(places, Place{p.from, p.to, p.aside})
	}
	return places
}

// restoreOf is what a grant begins.
func restoreOf(g wire.RestoreGrant, maps []state.PathMap, now time.Time) *state.Restore {
	return &state.Restore{ID: g.ID, Token: g.Token, Expires: g.ExpiresAt, Snapshot: g.Snapshot, Device: g.Device, OS: g.OS, Home: g.Home,
		Maps: maps, Began: now, State: wire.RestoreRunning}
}

// BeginRestore has the files brought back of the computer that this one
// replaced, by the agent in the background. The user is present; they may leave.
// One that was begun and has not ended goes on.
func BeginRestore(ctx context.Context, st *state.State, user *wire.User, maps []state.PathMap) (*state.Restore, error) {
	g, err := user.BeginRestore(ctx)
	if err != nil {
		return nil, err
	}
	r := restoreOf(g, maps, time.Now())
	return r, st.AskRestore(r)
}

// CancelRestore has nothing more brought back; what is back stays. It returns the
// restore that it ends.
func CancelRestore(st *state.State) (*state.Restore, error) {
	r, err := st.Restore()
	if err != nil {
		return nil, err
	}
	if asked, err := st.RestoreAsked(); err == nil && asked != nil {
		r = asked
	}
	if r == nil || over(r) {
		return nil, errs.New(errs.Conflict, "restore.beside.none")
	}
	return r, st.AskRestore(&state.Restore{ID: r.ID, State: wire.RestoreCancelled})
}

// ReadReport reads what of a restore is not as it was, a line at a time.
func ReadReport(st *state.State, each func(Reported) error) error {
	f, err := os.Open(st.RestoreReport())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the report of what came back: %w", err)
	}
	defer f.Close()
	for in := json.NewDecoder(bufio.NewReader(f)); ; {
		var line Reported
		err := in.Decode(&line)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil // the last line may be on its way
		}
		if err != nil {
			return fmt.Errorf("reading the report of what came back: %w", err)
		}
		if err := each(line); err != nil {
			return err
		}
	}
}
