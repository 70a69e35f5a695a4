// Package localui is Backstay's window: pages on this computer for the user who
// sits at it, by which it is activated and, afterwards, looked after.
//
// A window is a process of that user, with that user's rights and no others. It
// listens on 127.0.0.1 at a port of its own and lets one browser in: whoever
// opens its link, which is good once, gets a cookie that no other site can make
// the browser send. Everything lies below a path that nobody else knows, since
// cookies know no ports. What does not name the window's own address as its host
// and origin is refused, and on Linux every connection that another user of this
// computer opened. The window ends when nobody has looked at it for a while.
//
// BUG(localui): on Windows and macOS nothing tells whose process connects; there
// the link and the cookie alone keep others out.
package localui

import (
	"cmp"
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/web"
)

//go:embed templates/*.html
var templates embed.FS

// Config is what a window works with.
type Config struct {
	State  *state.State
	Getenv func(string) string
	System bool             // it activates for the whole computer, with the system's rights
	Now    func() time.Time // time.Now when nil
	Log    *slog.Logger     // nowhere when nil

	idle time.Duration // tests are less patient
}

// idle is how long a window stays that nobody looks at: an open page asks now
// and then by itself, so this is about windows that were closed.
const idle = 15 * time.Minute

// Window is one window.
type Window struct {
	cfg      Config
	site     *web.Site
	assets   *web.Assets
	routes   *http.ServeMux
	pages    http.Handler
	listener net.Listener
	addr     string // 127.0.0.1:PORT
	base     string // the path below which the pages lie
	session  string // what the cookie holds
	stead    stead

	mu   sync.Mutex
	key  string    // of the link, "" when it was used
	seen time.Time // somebody looked
	flow flow

	sizes   sizes
	reading reading
}

// New makes a window and opens its port. Serve shows it.
func New(cfg Config) (*Window, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	w := &Window{cfg: cfg, base: "/" + rand.Text(), session: rand.Text(), key: rand.Text(), seen: cfg.Now()}
	w.cfg.idle = cmp.Or(cfg.idle, idle)
	w.stead = stead{window: w}
	var err error
	if w.assets, err = web.LoadAssets(); err != nil {
		return nil, err
	}
	pages, err := web.Parse(templates)
	if err != nil {
		return nil, err
	}
	w.site, err = web.New(web.Config{Name: "window", Base: w.base, Templates: pages, Local: true, Log: cfg.Log, Now: cfg.Now})
	if err != nil {
		return nil, err
	}
	w.routes = w.newRoutes()
	w.pages = w.site.Handler(w.routes)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errs.New(errs.Local, "window.port").Because(err)
	}
	w.listener, w.addr = own{l}, l.Addr().String()
	return w, nil
}

// Link is the address that lets one browser in, once.
func (w *Window) Link() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return "http://" + w.addr + w.base + "/open?" + url.Values{"key": {w.key}}.Encode()
}

// Serve shows the window until ctx ends or nobody has looked at it for a while.
func (w *Window) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler: w, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(w.cfg.Log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.watched(ctx)
		cancel()
		server.Close()
	}()
	w.stead.begin(ctx)
	defer w.stead.end()
	w.reading.begin(ctx)
	defer w.reading.end()
	err := server.Serve(w.listener)
	cancel()
	<-ended
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("showing the window: %w", err)
}

// watched returns when ctx ends, or when nobody has looked for long and nothing
// runs here that should go on.
func (w *Window) watched(ctx context.Context) {
	tick := time.NewTicker(min(w.cfg.idle/10, time.Minute))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.mu.Lock()
			unseen := w.cfg.Now().Sub(w.seen)
			w.mu.Unlock()
			w.forget()
			if unseen > w.cfg.idle && !w.stead.busy() && !w.brings() {
				return
			}
		}
	}
}
