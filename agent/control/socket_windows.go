package control

import (
	"errors"
	"net"
)

// BUG: on Windows there is no named pipe yet, so commands do not find a
// running agent and answer E1502.

var errNoPipe = errors.New("not available on Windows yet")

func listen(string) (net.Listener, error) { return nil, errNoPipe }

func dial(string) (net.Conn, error) { return nil, errNoPipe }

func checkPeer(net.Conn) error { return errForeignPeer }
