package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// errSilent says that nothing moved on a connection for too long.
var errSilent = errors.New("the connection stands still")

// countedConn counts the bytes that pass, so that a slow connection can be told
// from a dead one.
// It is here that they are slowed too, below TLS: piece by piece, so that a slow
// connection always moves.
type countedConn struct {
	net.Conn
	server   netip.Addr // that it leads to, not valid when a proxy is between
	moved    atomic.Int64
	sent     atomic.Int64 // of moved, what was written
	closed   atomic.Bool
	up, down atomic.Pointer[brake] // of the call that has it now
}

func (c *countedConn) Read(p []byte) (int, error) {
	limiter := c.down.Load().on(c)
	if limiter == nil {
		return c.read(p)
	}
	n, err := c.read(p[:min(len(p), limiter.Burst())])
	if n > 0 {
		limiter.WaitN(context.Background(), n)
	}
	return n, err
}

func (c *countedConn) read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.moved.Add(int64(n))
	return n, err
}

// Write waits a fraction of a second before each piece. A call that is given up
// closes the connection, and ends with the next one.
func (c *countedConn) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		// Asked anew for each piece: while nothing limits, the line is measured.
		limiter := c.up.Load().on(c)
		if limiter == nil {
			m, err := c.write(p[n:])
			return n + m, err
		}
		piece := p[n:min(len(p), n+limiter.Burst())]
		limiter.WaitN(context.Background(), len(piece))
		var m int
		m, err = c.write(piece)
		n += m
	}
	return n, err
}

func (c *countedConn) write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.moved.Add(int64(n))
	c.sent.Add(int64(n))
	return n, err
}

// Close closes the connection.
func (c *countedConn) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// watch ends a call whose connection does not move for the time limit. Time
// that our own side needs, to produce what is sent or to use what was read,
// does not count, nor does it count that a call as a whole takes long.
type watch struct {
	cancel context.CancelCauseFunc
	limit  time.Duration
	up     *brake // for what the call sends, nil for none
	down   *brake // and receives
	conn   atomic.Pointer[countedConn]
	ours   atomic.Int32 // above zero while we are the ones to wait for

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
	seen    int64
	still   time.Duration
}

// watchCall returns a context that ends when the call stands still, and the
// watch, to be stopped when the call is over. The brakes are on whichever
// connection the call has, until another one has it.
func watchCall(ctx context.Context, limit time.Duration, up, down *brake) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{cancel: cancel, limit: limit, up: up, down: down}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { w.use(counted(info.Conn)) },
	})
	w.mu.Lock() // look may run before its timer is known
	w.timer = time.AfterFunc(limit/8, w.look)
	w.mu.Unlock()
	return ctx, w
}

func (w *watch) use(c *countedConn) {
	w.conn.Store(c)
	if c != nil {
		c.up.Store(w.up)
		c.down.Store(w.down)
	}
}

// counted finds the counting connection under the layers of TLS.
func counted(conn net.Conn) *countedConn {
	for conn != nil {
		if c, ok := conn.(*countedConn); ok {
			return c
		}
		layer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		conn = layer.NetConn()
	}
	return nil
}

func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	var moved int64
	if c := w.conn.Load(); c != nil {
		// What waits in the system's buffer shrinks as the other side takes it:
		// at 16 kB/s a full buffer moves for minutes after the last write.
		moved = c.moved.Load() - int64(unsent(c.Conn))
	}
	if moved != w.seen || w.ours.Load() > 0 {
		w.seen, w.still = moved, 0
	} else if w.still += w.limit / 8; w.still >= w.limit {
		w.cancel(errSilent)
		return
	}
	w.timer.Reset(w.limit / 8)
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// sending wraps a request's body.
func (w *watch) sending(r io.Reader) io.ReadCloser { return &sendBody{r: r, w: w} }

type sendBody struct {
	r io.Reader
	w *watch
}

func (b *sendBody) Read(p []byte) (int, error) {
	b.w.ours.Add(1)
	defer b.w.ours.Add(-1)
	return b.r.Read(p)
}

func (b *sendBody) Close() error { return nil }

// receiving wraps an answer's body: from now on the time between two reads is
// our own.
func (w *watch) receiving(r io.Reader) io.Reader {
	w.ours.Add(1)
	return &receiveBody{r: r, w: w}
}

type receiveBody struct {
	r io.Reader
	w *watch
}

func (b *receiveBody) Read(p []byte) (int, error) {
	b.w.ours.Add(-1)
	defer b.w.ours.Add(1)
	return b.r.Read(p)
}
