package server

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/version"
)

// Serve answers on l, which it closes, until ctx ends or the store fails. When
// ctx ends no new request is taken, waiting devices are answered at once, and
// what runs may finish within the grace; the result is then nil. The jobs run
// as long as Serve does.
func (s *Server) Serve(ctx context.Context, l net.Listener) error { return s.ServeApart(ctx, l, nil) }

// ServeApart is Serve with the console on a listener of its own, as AdminListen
// wants it.
func (s *Server) ServeApart(ctx context.Context, l, console net.Listener) error {
	s.address.Store(s.cfg.URL(l.Addr()))
	if console != nil {
		s.consoleAddress.Store(s.cfg.ConsoleURL(console.Addr()))
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var jobs sync.WaitGroup
	for _, job := range s.jobs {
		jobs.Go(func() { job(running) })
	}

	done := make(chan error, 2)
	servers := []*http.Server{s.answer(bound(l, maxConnections(openFiles()), s.cfg.Log), s.handler, done)}
	s.cfg.Log.Info("serving", "url", s.cfg.URL(l.Addr()), "listen", l.Addr().String(), "version", version.String())
	if console != nil {
		servers = append(servers, s.answer(console, s.console, done))
		s.cfg.Log.Info("serving the console", "url", s.consoleURL(), "listen", console.Addr().String())
	}

	var err error
	select {
	case err = <-done:
		err = fmt.Errorf("serving: %w", err)
	case <-s.failed:
		err = fmt.Errorf("the store failed: %w", s.failure)
	case <-ctx.Done():
		s.cfg.Log.Info("stopping")
	}
	stop() // ends the jobs, and with them the long polls
	s.shutdown(ctx, servers)
	jobs.Wait()
	s.cfg.Log.Info("stopped")
	return err
}

// answer begins to answer on a listener, and says in done why it ended.
func (s *Server) answer(l net.Listener, h http.Handler, done chan<- error) *http.Server {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(connectionLog{s.cfg.Log}, "", 0),
	}
	serve := server.Serve
	if s.certs != nil {
		server.TLSConfig = s.certs.config(s.cfg.TLS12)
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	go func() { done <- serve(l) }()
	return server
}

// shutdown lets running requests finish, and ends those that do not in time.
// What they did not acknowledge, devices send again.
func (s *Server) shutdown(ctx context.Context, servers []*http.Server) {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Grace)
	defer cancel()
	var all sync.WaitGroup
	for _, server := range servers {
		all.Go(func() {
			if err := server.Shutdown(grace); errors.Is(err, context.DeadlineExceeded) {
				s.cfg.Log.Warn("ending requests that did not finish in time")
				server.Close()
			}
		})
	}
	all.Wait()
}

// connectionLog takes what net/http has to say, above all about connections
// that fail to begin, which scanners and impatient browsers cause all day.
type connectionLog struct{ log *slog.Logger }

func (c connectionLog) Write(line []byte) (int, error) {
	c.log.Debug("connection", "event", strings.TrimSpace(string(line)))
	return len(line), nil
}
