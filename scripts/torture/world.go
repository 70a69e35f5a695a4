package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/wire"

	backstay "github.com/backstay/backstay/server"
)

// world is the data of the server, behind its back.
type world struct {
	*backstay.Server
	devices []*device
}

var by = access.System("torture")

const (
	perUser    = 100 // devices, as many as a profile allows
	stoppedOne = 10  // one of so many devices is disabled
)

// prepare makes a server's data with so many devices.
func prepare(ctx context.Context, dir, dsn string, n int) (*world, error) {
	inner, err := backstay.New(ctx, backstay.Config{Data: filepath.Join(dir, "data"), DB: dsn, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	w := &world{Server: inner}
	org, _, err := inner.EnsureOrg(ctx, by, "Torture "+uuid.NewString())
	if err != nil {
		return w, err
	}
	var profile profiles.Profile
	err = w.DB.Write(ctx, func(tx *db.Tx) (err error) {
		if profile, err = profiles.Default(ctx, tx, org.ID); err != nil {
			return err
		}
		profile.Settings.MaxDevices = perUser
		profile, err = profiles.Save(ctx, tx, by, profile.ID, profile.Revision, profiles.Changes{Settings: &profile.Settings})
		return err
	})
	for err == nil && len(w.devices) < n {
		var some []*device
		err = w.DB.Write(ctx, func(tx *db.Tx) (err error) {
			some, err = w.user(ctx, tx, org.ID, min(perUser, n-len(w.devices)))
			return err
		})
		w.devices = append(w.devices, some...)
	}
	return w, err
}

// user makes a user with so many devices.
func (w *world) user(ctx context.Context, tx *db.Tx, org access.OrgID, n int) (list []*device, err error) {
	u, err := accounts.Create(ctx, tx, by, w.Keys, accounts.New{Org: org, Kind: access.UserKind, Username: uuid.NewString(), PasswordHash: "none"})
	if err != nil {
		return nil, err
	}
	p, err := profiles.Of(ctx, tx, u)
	if err != nil {
		return nil, err
	}
	_, public, err := crypt.GenerateKey()
	if err != nil {
		return nil, err
	}
	for range n {
		key, signing, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		name := uuid.NewString()
		done, err := devices.Activate(ctx, tx, u.Caller(by), w.Keys, u, devices.Activation{RequestID: uuid.NewString(), Name: name,
			Hardware: wire.Hardware{MachineID: name, Hostname: name, OS: "linux", Arch: "amd64"}, SigningKey: key, EnrolmentKey: public})
		if err != nil {
			return nil, err
		}
		id, err := backup.ParseUUID(string(done.Device.ID))
		if err != nil {
			return nil, err
		}
		if err := devices.Fetched(ctx, tx, access.Caller{Device: done.Device.ID}, p.Version); err != nil {
			return nil, err
		}
		d := &device{id: id, name: string(done.Device.ID), signing: signing, stopped: len(list)%stoppedOne == 0}
		if d.stopped {
			if err := devices.SetState(ctx, tx, by, done.Device.ID, devices.Disabled, "for the measurement"); err != nil {
				return nil, err
			}
		}
		list = append(list, d)
	}
	return list, nil
}

// ask puts a request to a device, or lets it in again when it is stopped, as an
// administrator does on another server.
func (w *world) ask(ctx context.Context, d *device) error {
	return w.DB.Write(ctx, func(tx *db.Tx) error {
		is, err := devices.Find(ctx, tx, devices.ID(d.name))
		if err != nil {
			return err
		}
		if is.State == devices.Disabled {
			return devices.SetState(ctx, tx, by, is.ID, devices.Active, "")
		}
		_, err = devices.Ask(ctx, tx, by, devices.ID(d.name), wire.RequestBackup, []byte(strconv.FormatInt(time.Now().UnixNano(), 10)))
		return err
	})
}

// server is the program under load.
type server struct {
	cmd     *exec.Cmd
	address string
	roots   *x509.CertPool
}

var address = regexp.MustCompile(`https://[^\s/"]+`)

// start serves the data that prepare made, and returns when it does.
func start(ctx context.Context, dir, dsn string, at ...string) (*server, error) {
	listen := "127.0.0.1:0"
	if len(at) > 0 {
		listen = at[0]
	}
	args := []string{"serve", "--data", filepath.Join(dir, "data"), "--listen", listen}
	if dsn != "" {
		args = append(args, "--db", dsn)
	}
	s := &server{cmd: exec.CommandContext(ctx, filepath.Join("bin", "backstay-server"), args...)}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	out, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the server did not start: %s", line), s.cmd.Wait())
		}
		if found := address.FindString(line); found != "" {
			u, err := url.Parse(found)
			if err != nil {
				return nil, err
			}
			s.address = u.Host
			break
		}
	}
	go in.WriteTo(nowhere{})
	chain, err := backstay.Chain(backstay.Config{Data: filepath.Join(dir, "data")})
	if err != nil {
		return nil, err
	}
	s.roots = x509.NewCertPool()
	s.roots.AddCert(chain[0])
	return s, nil
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.cmd.Wait()
}

func (s *server) pid() int { return s.cmd.Process.Pid }
