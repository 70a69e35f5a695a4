package server

import (
	"log/slog"
	"net"
	"sync"
	"time"
)

// filesLeft is how many of the files that this process may have open are not
// for connections: the database, the store and the log need some at any time.
const filesLeft = 256

// manyFiles is how many files count as no limit.
const manyFiles = 1 << 20

// maxConnections is how many connections are taken at once by a process that may
// have so many files open.
func maxConnections(files int) int { return max(files-filesLeft, files/2) }

// bounded is a listener that takes so many connections at once. Those beyond wait
// with the system until others end: taken, they would leave no file to write a
// backup or the database with.
type bounded struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	close  func()
	log    *slog.Logger
	said   time.Time
}

// tellEvery is how often the log says that the bound is reached.
const tellEvery = time.Hour

func bound(l net.Listener, most int, log *slog.Logger) *bounded {
	b := &bounded{Listener: l, places: make(chan struct{}, most), closed: make(chan struct{}), log: log}
	b.close = sync.OnceFunc(func() { close(b.closed) })
	return b
}

// Accept takes the next connection when there is a place for it. It is for one
// goroutine.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.places <- struct{}{}:
	default:
		b.tell()
		select {
		case b.places <- struct{}{}:
		case <-b.closed:
			return nil, net.ErrClosed
		}
	}
	conn, err := b.Listener.Accept()
	if err != nil {
		<-b.places
		return nil, err
	}
	return &placed{Conn: conn, leave: sync.OnceFunc(func() { <-b.places })}, nil
}

func (b *bounded) Close() error {
	b.close()
	return b.Listener.Close()
}

func (b *bounded) tell() {
	if now := time.Now(); now.Sub(b.said) >= tellEvery {
		b.said = now
		b.log.Error("as many connections are open as the limit of open files allows; others wait until some end: raise LimitNOFILE", "connections", cap(b.places))
	}
}

// placed is a connection that gives its place back.
type placed struct {
	net.Conn
	leave func()
}

func (p *placed) Close() error {
	defer p.leave()
	return p.Conn.Close()
}
