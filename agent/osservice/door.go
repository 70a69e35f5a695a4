package osservice

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/door"
	"github.com/backstay/backstay/agent/state"
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
	Do     string `json:"do"`
	State  []byte `json:"state,omitempty"`
	Server string `json:"server,omitempty"`
}

type answer struct {
	Kept       []Kept            `json:"kept,omitempty"`
	Deployment *state.Deployment `json:"deployment,omitempty"`
	Failure    *control.Failure  `json:"failure,omitempty"`
}

// listen opens the service's door. Everybody may knock: what they may ask about
// is decided by who they are.
func listen(path string) (net.Listener, error) {
	if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return door.Listen(path, door.Everybody)
}

// serve answers until ctx ends.
func (s *supervisor) serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	peers := &peers{of: map[string]int{}}
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("answering on the service's socket: %w", err)
		}
		id, err := door.Peer(conn)
		if err != nil || !peers.enter(id) {
			conn.Close()
			continue
		}
		s.wg.Go(func() {
			defer peers.leave(id)
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			var req request
			if err := json.NewDecoder(io.LimitReader(conn, maxRequest)).Decode(&req); err != nil {
				s.cfg.Log.Info("a request cannot be read", "user_id", id, "err", err)
				return
			}
			json.NewEncoder(conn).Encode(s.answer(id, req))
		})
	}
}

// answer does what a user asks about their own enrolment.
func (s *supervisor) answer(id string, req request) answer {
	var err error
	switch req.Do {
	case adopt:
		var kept Kept
		if kept, err = s.adopt(id, req.State, req.Server); err == nil {
			return answer{Kept: []Kept{kept}}
		}
	case Drop:
		if err = s.drop(id); err == nil {
			return answer{}
		}
	case Status:
		return answer{Kept: s.show(id)}
	case deployment:
		var d *state.Deployment
		if d, err = s.deployment(); err == nil {
			return answer{Deployment: d}
		}
	default:
		err = errs.New(errs.Invalid, "control.request.unknown", "request", req.Do)
	}
	s.cfg.Log.Info("a request is refused", "user_id", id, "do", req.Do, "err", err)
	return answer{Failure: control.Fail(err)}
}

// deployment is how it stands with this computer where management has it enrol.
func (s *supervisor) deployment() (*state.Deployment, error) {
	st, err := state.Open(s.dir)
	if err != nil {
		return nil, err
	}
	return st.Deployment()
}

// peers counts who is connected.
type peers struct {
	mu  sync.Mutex
	all int
	of  map[string]int
}

func (p *peers) enter(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all >= maxPeers || p.of[id] >= maxOfOne {
		return false
	}
	p.all++
	p.of[id]++
	return true
}

func (p *peers) leave(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.of[id]--; p.of[id] == 0 {
		delete(p.of, id)
	}
}

// Ask asks the service of this computer on behalf of the user whose process this
// is: what is Drop or Status. What is kept of the user's comes back, to root what
// is kept of everybody's. Where no service answers it is ErrNoService.
func Ask(ctx context.Context, getenv func(string) string, what string) ([]Kept, error) {
	a, err := ask(ctx, getenv, request{Do: what})
	return a.Kept, err
}

// HandOver has the service keep the agent of a state folder of the user whose
// process this is, whose device backs up to server.
func HandOver(ctx context.Context, getenv func(string) string, state, server string) ([]Kept, error) {
	a, err := ask(ctx, getenv, request{Do: adopt, State: []byte(state), Server: server})
	return a.Kept, err
}

// Deployment is how it stands with this computer where management has it enrol
// as a device of its own, nil when that is not so or it is one. Everybody here may
// know: one of them may be who has to sign in.
func Deployment(ctx context.Context, getenv func(string) string) (*state.Deployment, error) {
	a, err := ask(ctx, getenv, request{Do: deployment})
	return a.Deployment, err
}

func ask(ctx context.Context, getenv func(string) string, req request) (a answer, err error) {
	conn, err := door.Dial(ctx, socketPath(getenv, "BACKSTAY_SERVICE"))
	if err != nil {
		return a, fmt.Errorf("%w: %w", ErrNoService, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetDeadline(time.Now().Add(2 * patience))
	if err := json.NewEncoder(conn).Encode(req); err != nil {
		return a, fmt.Errorf("asking the service: %w", err)
	}
	if err := json.NewDecoder(io.LimitReader(conn, maxAnswer)).Decode(&a); err != nil {
		return a, fmt.Errorf("hearing the service: %w", err)
	}
	if a.Failure != nil {
		return answer{}, a.Failure.Err()
	}
	return a, nil
}
