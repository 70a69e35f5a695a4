package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/backstay/backstay/agent/connection"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// DeployFile is what management leaves on a computer that is to enrol by itself.
type DeployFile struct {
	Server   string `toml:"server,omitempty"`
	CASHA256 string `toml:"ca_sha256,omitempty"` // of the server's key, or "" to trust the system's roots
	Token    string `toml:"token,omitempty"`
	Proxy    string `toml:"proxy,omitempty"`
	Identity string `toml:"identity,omitempty"` // auto, or email: and an address
	Edition  string `toml:"edition,omitempty"`  // the name of a server of editions.toml, in place of server
	System   *bool  `toml:"system,omitempty"`   // it backs up with the system's rights; as whoever runs this when not said
}

const maxDeployFile = 64 << 10

// ReadDeployFile reads the file and refuses one that others can read: it holds a
// secret.
func ReadDeployFile(path string, getenv func(string) string) (f DeployFile, err error) {
	file, err := os.Open(path)
	if err != nil {
		return f, errs.New(errs.Local, "deploy.file.unreadable", "path", path).Because(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return f, fmt.Errorf("looking at %s: %w", path, err)
	}
	// On Windows the folder's rights count, which installers set.
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return f, errs.New(errs.Local, "deploy.file.open", "path", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxDeployFile))
	if err != nil {
		return f, fmt.Errorf("reading %s: %w", path, err)
	}
	meta, err := toml.Decode(string(data), &f)
	if err != nil {
		// What the parser says would show the line, and with it the token.
		if e := (toml.ParseError{}); errors.As(err, &e) {
			return f, errs.New(errs.Local, "deploy.file.wrong", "path", path, "line", e.Position.Line)
		}
		return f, errs.New(errs.Local, "deploy.file.kind", "path", path)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return f, errs.New(errs.Local, "deploy.file.key", "path", path, "name", unknown[0].String())
	}
	return f, f.normalise(path, getenv)
}

func (f *DeployFile) normalise(path string, getenv func(string) string) (err error) {
	if f.Server == "" && f.Edition != "" {
		editions, err := connection.Editions(getenv)
		if err != nil {
			return err
		}
		for _, e := range editions {
			if strings.EqualFold(e.Name, f.Edition) {
				f.Server, f.CASHA256 = e.URL, e.Fingerprint
			}
		}
	}
	if f.Server == "" {
		return errs.New(errs.Local, "deploy.file.missing", "path", path, "name", "server")
	}
	if f.Server, err = wire.ParseServer(f.Server); err != nil {
		return err
	}
	if f.CASHA256 != "" {
		if f.CASHA256, err = wire.ParseFingerprint(f.CASHA256); err != nil {
			return err
		}
	}
	f.Token = strings.TrimSpace(f.Token)
	return nil
}

// Config is the way to the server.
func (f DeployFile) Config() (wire.Config, error) {
	var p wire.Proxy
	if f.Proxy != "" {
		var err error
		if p, err = wire.ParseProxy(f.Proxy); err != nil {
			return wire.Config{}, err
		}
	}
	cfg := connection.With(p)
	cfg.Server, cfg.Fingerprint = f.Server, f.CASHA256
	return cfg, nil
}

// WriteDeployFile leaves the file at path, for the service to find, in a folder
// that it makes when it is missing. What cannot be right is refused, and nothing
// written.
func WriteDeployFile(path string, f DeployFile, getenv func(string) string) error {
	written := f
	if err := f.normalise(path, getenv); err != nil {
		return err
	}
	if f.Token == "" {
		return errs.New(errs.Local, "deploy.file.missing", "path", path, "name", "token")
	}
	if _, err := f.Config(); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := toml.NewEncoder(&text).Encode(written); err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	if err := makeDeployDir(filepath.Dir(path)); err != nil {
		return err
	}
	return durable.WriteFile(path, text.Bytes(), 0o600)
}

// ForgetToken takes the token out of the file: it did its work. The lines that
// hold it go, however they write it, and comments with it too; where the rest
// then says something else, the file is written anew from what it said.
func ForgetToken(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	var f DeployFile
	if _, err := toml.Decode(string(data), &f); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	token := f.Token
	if token == "" {
		return nil
	}
	f.Token = ""
	var left []byte
	for line := range bytes.Lines(data) {
		if !bytes.Contains(line, []byte(strings.TrimSpace(token))) {
			left = append(left, line...)
		}
	}
	var rest DeployFile
	if _, err := toml.Decode(string(left), &rest); err != nil || !reflect.DeepEqual(rest, f) {
		if left, err = toml.Marshal(f); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	return durable.WriteFile(path, left, 0o600)
}

// Deploy tries once to make this computer a device by a token, and remembers it.
// While an administrator has to approve it the error is device.waiting; called
// again it goes on. The caller holds the state folder's lock.
func Deploy(ctx context.Context, st *state.State, client *wire.Client, in Activation) (*state.Device, error) {
	p, err := st.Pending()
	if err != nil {
		return nil, err
	}
	// What was chosen is not begun again while it waits. The server says for how
	// long: an administrator may take days.
	if p != nil && p.Begun != nil && p.Choice != nil && p.Root == rootOf(in.Token) && p.Root != "" && p.Server == in.Server {
		d, err := Finish(ctx, st, client, Choice{Choice: p.Choice.Choice, DeviceID: p.Choice.DeviceID, Rename: p.Choice.RenameIfTaken, Overflows: p.Choice.Overflows})
		if errs.KindOf(err) != errs.Gone {
			return d, err
		}
	}
	offer, err := Begin(ctx, st, client, in)
	if err != nil {
		return nil, err
	}
	choice := Choice{Choice: wire.Add, Rename: true}
	if offer.Suggest == wire.Reactivate && offer.Match != nil {
		p, err := PreviewChoice(ctx, st, client, wire.Reactivate, offer.Match.DeviceID)
		if err != nil {
			return nil, err
		}
		choice = Choice{Choice: wire.Reactivate, DeviceID: offer.Match.DeviceID, Overflows: p.Overflows}
	}
	return Finish(ctx, st, client, choice)
}

// rootOf is the fingerprint of the organisation's root key that a deployment
// token names, "" for what is none.
func rootOf(token string) string {
	if parts := strings.Split(token, "."); len(parts) == 4 {
		return parts[3]
	}
	return ""
}

// trusted refuses an organisation that is not the one of the deployment token:
// what the server answered would be somebody else's to read.
func trusted(p *state.Pending, d *state.Device) error {
	if p.Root == "" {
		return nil
	}
	org, err := snapshot.DecodeOrgRecord(d.OrgRecord)
	if err == nil && snapshot.RootFingerprint(org) != p.Root {
		err = errs.Of(errs.Mismatch).Because(errors.New("the organisation is not the one of the deployment token"))
	}
	return err
}

// The waits between tries to enrol, and after a failure that lasts.
var tries = []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute}

const lastingWait = 24 * time.Hour

// NextTry is how long to wait after so many tries that failed, the last one with
// err: 1, 2, 5, 10, then 30 minutes; a day when only somebody else can mend it.
// The long waits are given or taken a fifth, as spread says between 0 and 1, so
// that a fleet does not come at once.
func NextTry(failed int, err error, spread float64) time.Duration {
	wait := tries[min(max(failed, 1), len(tries))-1]
	if Lasting(err) {
		wait = lastingWait
	}
	if wait >= tries[len(tries)-1] {
		wait += time.Duration((2*spread - 1) * float64(wait) / 5)
	}
	return wait
}

// Ownerless reports whether a try failed since nothing says whose the computer is,
// or since its user already has a device: then whoever signs in at it settles that.
func Ownerless(err error) bool {
	e := errs.Find(err)
	return e != nil && (e.Key == "deploy.prompt" || slices.Contains([]errs.Code{errs.NoDeviceMapping, errs.AmbiguousAccount, errs.FirstDeviceOnly}, e.Code))
}

// Lasting reports whether trying again is of no use until somebody changes the
// file, the token or the profile.
func Lasting(err error) bool {
	return errs.Is(err, errs.BadDeployToken) || errs.Is(err, errs.AddDeviceNotAllowed) || errs.KindOf(err) == errs.Invalid
}
