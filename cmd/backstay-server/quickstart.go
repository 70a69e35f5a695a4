package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/web"
)

// firstListen is where a quickstart listens, and then ever again: its device
// knows the address.
const firstListen = "127.0.0.1:8443"

// quickstart is the main job on one computer: a server, a device, a backup, a
// restore, and the proof that both trees are the same.
type quickstart struct {
	*program
	data, listen string
	exit         bool // after the comparison
	system       bool // activate as a device that backs up with root's rights
	folder       string

	credentials credentials
	server      *server.Server
	url         string
	steps       []step
}

// step is a line of the table: what was done, and how long it took.
type step struct {
	key  string
	took time.Duration
}

func (p *program) quickstartCommand() *cobra.Command {
	q := &quickstart{program: p}
	cmd := p.command("quickstart FOLDER", "server.cli.quickstart.", `backstay-server quickstart ~/Documents
backstay-server quickstart --exit --data /tmp/try /usr/share/doc`, func(cmd *cobra.Command, args []string) error {
		q.folder = args[0]
		return q.run(cmd.Context())
	})
	cmd.Args = p.arguments(1)
	flags := cmd.Flags()
	p.textFlag(cmd, &q.data, "data", "FOLDER", "server.flag.quickstart.data")
	p.textFlag(cmd, &q.listen, "listen", "ADDRESS", "server.flag.quickstart.listen", "address", firstListen)
	flags.BoolVar(&q.exit, "exit", false, p.say.T("server.flag.quickstart.exit"))
	flags.BoolVar(&q.system, "system-device", os.Geteuid() == 0, p.say.T("server.flag.quickstart.system_device"))
	return cmd
}

func (q *quickstart) run(ctx context.Context) error {
	if err := q.prepare(); err != nil {
		return err
	}
	unlock, err := lockFolder(q.data)
	if errors.Is(err, errLocked) {
		return errs.New(errs.Conflict, "quickstart.running", "data", q.data)
	}
	if err != nil {
		return fmt.Errorf("locking %s: %w", q.data, err)
	}
	defer unlock()
	if err := q.sweep(); err != nil {
		return err
	}
	ctx, stop, err := q.start(ctx)
	if err != nil {
		return err
	}
	same, err := q.work(ctx)
	if err == nil && !q.exit {
		q.invite()
		<-ctx.Done()
	}
	err = errors.Join(err, stop())
	if err == nil && !same {
		return silentError(exitFailed)
	}
	return err
}

// prepare finds everything out that can be wrong before anything is made.
func (q *quickstart) prepare() error {
	folder, err := realFolder(q.folder)
	if err != nil {
		return err
	}
	q.folder = folder
	if q.client == "" {
		if q.client, err = findClient(); err != nil {
			return err
		}
	}
	if q.data == "" {
		q.data = filepath.Join(dataHome(q.getenv), "backstay-quickstart")
	}
	if q.data, err = filepath.Abs(q.data); err != nil {
		return err
	}
	if err := q.checkData(); err != nil {
		return err
	}
	if err := durable.MkdirAll(q.data, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	if q.data, err = filepath.EvalSymlinks(q.data); err != nil {
		return err
	}
	if inside(q.folder, q.data) {
		return errs.New(errs.Invalid, "quickstart.data_inside", "data", q.data, "folder", q.folder)
	}
	return nil
}

// checkData refuses a folder with something in it that no quickstart made: a
// slip of --data must not scatter a vault over somebody's files.
func (q *quickstart) checkData() error {
	list, err := os.ReadDir(q.data)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(list) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking into the data folder: %w", err)
	}
	if _, err := os.Lstat(filepath.Join(q.data, lockName)); err != nil {
		return errs.New(errs.Conflict, "quickstart.data_foreign", "data", q.data)
	}
	return nil
}

// lockName is held while a quickstart runs, and marks the folder as one's.
const lockName = ".quickstart"

// realFolder is the folder that somebody named, absolute and without links.
func realFolder(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", errs.New(errs.NotFound, "quickstart.folder_missing", "folder", abs)
	case errors.Is(err, fs.ErrPermission):
		return "", errs.New(errs.Forbidden, "quickstart.folder_denied", "folder", abs)
	case err != nil:
		return "", err
	case !info.IsDir():
		return "", errs.New(errs.Invalid, "quickstart.not_a_folder", "folder", abs)
	}
	return filepath.EvalSymlinks(abs)
}

// inside reports whether path is folder or lies below it.
func inside(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// sweep removes what a run that was killed left behind.
func (q *quickstart) sweep() error {
	left, err := filepath.Glob(filepath.Join(q.data, restorePrefix+"*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := removeTree(path); err != nil {
			return fmt.Errorf("removing what an earlier run left: %w", err)
		}
	}
	return nil
}

// start runs the server in this process, and makes the accounts. The context
// that it returns ends when the server does; stop stops it.
func (q *quickstart) start(ctx context.Context) (_ context.Context, stop func() error, err error) {
	if q.credentials, err = readCredentials(q.data); err != nil {
		return nil, nil, err
	}
	address, err := q.address()
	if err != nil {
		return nil, nil, err
	}
	l, err := listen(address)
	if err != nil {
		return nil, nil, err
	}
	logs, err := os.OpenFile(filepath.Join(q.data, "server.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	cfg := server.Config{Data: q.data, Listen: l.Addr().String(), Hasher: q.hasher, Log: slog.New(slog.NewTextHandler(logs, nil))}
	if q.server, err = server.New(ctx, cfg); err != nil {
		return nil, nil, errors.Join(q.outdated(err), l.Close(), logs.Close())
	}
	q.url = cfg.URL(l.Addr())
	// Ctrl-C ends the work first, and the server only then: the client's last
	// words have to reach it.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- q.server.Serve(serving, l)
		cancel()
	}()
	stop = func() error {
		stopServing()
		return errors.Join(<-ended, q.server.Close(), logs.Close())
	}
	if err := q.accounts(ctx, cfg); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return ctx, stop, nil
}

// outdated says of a database of another version which folder it is in: nobody
// named that folder who just ran make quickstart again.
func (q *quickstart) outdated(err error) error {
	e := errs.Find(err)
	if e == nil || e.Code != errs.SchemaVersion {
		return err
	}
	about := errs.Of(errs.SchemaVersion, "a", e.Args["a"], "b", e.Args["b"], "data", web.Quote(q.data))
	about.Key = "quickstart.newer"
	if e.Key == "error.E1602.older" {
		about.Key = "quickstart.older"
	}
	return about
}

// address is where to listen: where the device of an earlier run looks, else
// where --listen says.
func (q *quickstart) address() (string, error) {
	wish := q.listen
	if wish != "" {
		var err error
		if wish, err = listenAddress(wish); err != nil {
			return "", errs.New(errs.Invalid, "quickstart.listen", "address", q.listen)
		}
	}
	known := ""
	if u, err := url.Parse(q.credentials.Portal); err == nil {
		known = u.Host
	}
	switch {
	case known == "" && wish == "":
		return firstListen, nil
	case known == "":
		return wish, nil
	case wish == "" || strings.HasSuffix(wish, ":0"):
		return known, nil
	}
	if _, port, _ := net.SplitHostPort(wish); !strings.HasSuffix(known, ":"+port) {
		return "", errs.New(errs.Conflict, "quickstart.listen_moved", "known", known, "data", q.data)
	}
	return wish, nil
}

// work is the main job. It reports whether the trees are the same.
func (q *quickstart) work(ctx context.Context) (same bool, err error) {
	if err := q.activate(ctx); err != nil {
		return false, err
	}
	fmt.Fprintln(q.out, q.say.T("quickstart.reading", "folder", q.folder))
	trees := &trees{}
	if inside(q.data, q.folder) {
		trees.without = q.data
	}
	if err := trees.readBefore(ctx, q.folder); err != nil {
		return false, err
	}
	stored, err := q.stored(ctx)
	if err != nil {
		return false, err
	}
	fmt.Fprintln(q.out, q.say.T("quickstart.backup"))
	if err := q.timed("quickstart.step.backup", func() error { return q.backup(ctx) }); err != nil {
		return false, err
	}
	if err := trees.readAfter(ctx, q.folder); err != nil {
		return false, err
	}
	target, err := os.MkdirTemp(q.data, restorePrefix)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, removeTree(target)) }()
	fmt.Fprintln(q.out, q.say.T("quickstart.restore"))
	if err := q.timed("quickstart.step.restore", func() error { return q.restore(ctx, target) }); err != nil {
		return false, err
	}
	fmt.Fprintln(q.out, q.say.T("quickstart.compare"))
	err = q.timed("quickstart.step.compare", func() error {
		return trees.compare(ctx, filepath.Join(target, q.folder))
	})
	if err != nil {
		return false, err
	}
	same = q.judge(trees)
	now, err := q.stored(ctx)
	if err != nil {
		return false, err
	}
	q.report(trees, stored, now)
	return same, nil
}

const restorePrefix = "restore-"

func (q *quickstart) timed(key string, f func() error) error {
	began := time.Now()
	err := f()
	q.steps = append(q.steps, step{key, time.Since(began)})
	return err
}
