package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/backstay/backstay/agent/door"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// Handler does what requests ask. progress may be called from any goroutine;
// the context ends when the asker has gone.
type Handler interface {
	Backup(ctx context.Context, folders []string, progress func(wire.Progress)) (*Result, error)
	Live() Live
	Change(Change) error
	Start()
}

// Server answers on the socket of a state folder.
type Server struct {
	l   net.Listener
	h   Handler
	log *slog.Logger
	wg  sync.WaitGroup
}

// Listen opens the door of the state folder dir. The caller holds the folder's
// lock, so a socket that is there already was left behind.
func Listen(dir string, h Handler, log *slog.Logger) (*Server, error) {
	l, err := door.Listen(filepath.Join(dir, socket), door.Owner)
	if err != nil {
		return nil, fmt.Errorf("opening the agent's socket: %w", err)
	}
	return &Server{l: l, h: h, log: log}, nil
}

// Serve answers until ctx ends, and then for as long as the answers in hand
// need.
func (s *Server) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.l.Close() })
	defer stop()
	defer s.wg.Wait()
	for {
		conn, err := s.l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("answering on the agent's socket: %w", err)
		}
		s.wg.Go(func() {
			defer conn.Close()
			if err := s.answer(ctx, conn); err != nil {
				s.log.Info("a request over the socket failed", "err", err)
			}
		})
	}
}

func (s *Server) answer(ctx context.Context, conn net.Conn) error {
	if err := checkPeer(conn); err != nil {
		return err
	}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	in := newReader(conn)
	var req Request
	if err := readLine(in, &req); err != nil {
		return fmt.Errorf("reading a request: %w", err)
	}
	conn.SetReadDeadline(time.Time{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Nothing more is said by the asker: the next thing to read is its end.
	go func() {
		in.ReadByte()
		cancel()
	}()
	a := &answerer{conn: conn}
	switch req.Do {
	case Status:
		live := s.h.Live()
		return a.send(Answer{Live: &live})
	case Start:
		s.h.Start()
		return a.send(Answer{Done: true})
	case Choose:
		if req.Change == nil {
			return a.send(Answer{Failure: Fail(errs.New(errs.Invalid, "control.request.unknown", "request", req.Do))})
		}
		if err := s.h.Change(*req.Change); err != nil {
			return a.send(Answer{Failure: Fail(err)})
		}
		return a.send(Answer{Done: true})
	case Backup:
		folders := make([]string, len(req.Folders))
		for i, f := range req.Folders {
			folders[i] = string(f)
		}
		result, err := s.h.Backup(ctx, folders, func(p wire.Progress) { a.send(Answer{Progress: &p}) })
		if err != nil {
			return a.send(Answer{Failure: Fail(err)})
		}
		return a.send(Answer{Result: result})
	}
	return a.send(Answer{Failure: Fail(errs.New(errs.Invalid, "control.request.unknown", "request", req.Do))})
}

// answerer writes lines from several goroutines. An asker that does not read
// loses its connection rather than hold up the agent.
type answerer struct {
	mu   sync.Mutex
	conn net.Conn
	err  error
}

func (a *answerer) send(v Answer) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return a.err
	}
	a.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	a.err = writeLine(a.conn, v)
	return a.err
}

var errForeignPeer = errors.New("somebody else's process asked")

// checkPeer lets in the user the agent runs as, and root.
func checkPeer(conn net.Conn) error {
	who, err := door.Peer(conn)
	if err != nil {
		return err
	}
	if who != door.Root && who != door.Self() {
		return fmt.Errorf("%w: user %s", errForeignPeer, who)
	}
	return nil
}
