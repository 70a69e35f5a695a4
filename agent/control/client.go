package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"

	"github.com/backstay/backstay/agent/door"
	"github.com/backstay/backstay/wire"
)

// ErrNobody says that no agent answers for the state folder.
var ErrNobody = errors.New("no agent is running")

// Ask sends a request to the agent of the state folder dir and returns its last
// answer; progress, when not nil, is given the others. An agent that is not
// there is ErrNobody. When ctx ends, so does what was asked for, and the
// context's cause comes back.
func Ask(ctx context.Context, dir string, req Request, progress func(wire.Progress)) (Answer, error) {
	conn, err := door.Dial(ctx, filepath.Join(dir, socket))
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrNobody, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { closeWrite(conn) })
	defer stop()
	if err := writeLine(conn, req); err != nil {
		return Answer{}, fmt.Errorf("asking the agent: %w", err)
	}
	in := newReader(conn)
	for {
		var a Answer
		if err := readLine(in, &a); err != nil {
			if ctx.Err() != nil {
				return Answer{}, context.Cause(ctx)
			}
			if errors.Is(err, io.EOF) {
				err = errors.New("the agent stopped")
			}
			return Answer{}, fmt.Errorf("hearing the agent: %w", err)
		}
		switch {
		case a.Progress != nil:
			if progress != nil {
				progress(*a.Progress)
			}
		case a.Failure != nil:
			if ctx.Err() != nil {
				return Answer{}, context.Cause(ctx)
			}
			return Answer{}, a.Failure.Err()
		default:
			return a, nil
		}
	}
}

// closeWrite ends our side, so that the agent stops and can still answer.
func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
		return
	}
	conn.Close()
}
