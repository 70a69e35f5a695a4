package osservice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
)

const (
	socket = "service.sock"
	// maxRequest and maxAnswer are the longest messages.
	maxRequest = 16 << 10
	maxAnswer  = 1 << 20
	patience   = 10 * time.Second
	// No user can keep the others out by staying connected.
	maxPeers, maxOfOne = 64, 4
)

type request struct {
	Do    string `json:"do"`
	State []byte `json:"state,omitempty"`
}

type answer struct {
	Kept    []Kept           `json:"kept,omitempty"`
	Failure *control.Failure `json:"failure,omitempty"`
}

// listen makes the socket. Everybody may connect: what they may ask about is
// decided by who they are.
func listen(path string) (*net.UnixListener, error) {
	if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// serve answers until ctx ends.
func (s *supervisor) serve(ctx context.Context, l *net.UnixListener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	peers := &peers{of: map[uint32]int{}}
	for {
		conn, err := l.AcceptUnix()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("answering on the service's socket: %w", err)
		}
		uid, err := peer(conn)
		if err != nil || !peers.enter(uid) {
			conn.Close()
			continue
		}
		s.wg.Go(func() {
			defer peers.leave(uid)
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			var req request
			if err := json.NewDecoder(io.LimitReader(conn, maxRequest)).Decode(&req); err != nil {
				s.cfg.Log.Info("a request cannot be read", "uid", uid, "err", err)
				return
			}
			json.NewEncoder(conn).Encode(s.answer(uid, req))
		})
	}
}

// answer does what a user asks about their own enrolment.
func (s *supervisor) answer(uid uint32, req request) answer {
	var err error
	switch req.Do {
	case Adopt:
		var kept Kept
		if kept, err = s.adopt(uid, req.State); err == nil {
			return answer{Kept: []Kept{kept}}
		}
	case Drop:
		if err = s.drop(uid); err == nil {
			return answer{}
		}
	case Status:
		return answer{Kept: s.show(uid)}
	default:
		err = errs.New(errs.Invalid, "control.request.unknown", "request", req.Do)
	}
	s.cfg.Log.Info("a request is refused", "uid", uid, "do", req.Do, "err", err)
	return answer{Failure: control.Fail(err)}
}

// peer asks the system who is at the other end.
func peer(conn *net.UnixConn) (uint32, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return 0, fmt.Errorf("asking who asks: %w", err)
	}
	return cred.Uid, nil
}

// peers counts who is connected.
type peers struct {
	mu  sync.Mutex
	all int
	of  map[uint32]int
}

func (p *peers) enter(uid uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all >= maxPeers || p.of[uid] >= maxOfOne {
		return false
	}
	p.all++
	p.of[uid]++
	return true
}

func (p *peers) leave(uid uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.of[uid]--; p.of[uid] == 0 {
		delete(p.of, uid)
	}
}

// Ask asks the service of this computer on behalf of the user whose process this
// is: what (Adopt, Drop, Status), and for Adopt of which state folder. What is
// kept of the user's comes back, to root what is kept of everybody's. Where no
// service answers it is ErrNoService.
func Ask(ctx context.Context, getenv func(string) string, what, state string) ([]Kept, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", filepath.Join(folder(getenv, "BACKSTAY_SERVICE", runtimeDir), socket))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoService, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetDeadline(time.Now().Add(2 * patience))
	if err := json.NewEncoder(conn).Encode(request{Do: what, State: []byte(state)}); err != nil {
		return nil, fmt.Errorf("asking the service: %w", err)
	}
	var a answer
	if err := json.NewDecoder(io.LimitReader(conn, maxAnswer)).Decode(&a); err != nil {
		return nil, fmt.Errorf("hearing the service: %w", err)
	}
	if a.Failure != nil {
		return nil, a.Failure.Err()
	}
	return a.Kept, nil
}
