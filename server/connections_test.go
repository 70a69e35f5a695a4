package server

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
)

// At the bound, who comes waits until somebody goes: nobody is refused, and the
// log says so once.
func TestBoundedConnections(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	b := bound(l, 2, slog.New(slog.NewTextHandler(&said, nil)))
	type taken struct {
		net.Conn
		err error
	}
	all := make(chan taken)
	go func() {
		for {
			c, err := b.Accept()
			all <- taken{c, err}
			if err != nil {
				return
			}
		}
	}()
	for range 6 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	open := []net.Conn{(<-all).Conn, (<-all).Conn}
	for range 3 {
		select {
		case c := <-all:
			t.Errorf("a connection more than the bound was taken: %v", c)
		default:
		}
		open[0].Close()
		open[0].Close() // as net/http does
		open = append(open[1:], (<-all).Conn)
	}
	b.Close()
	if last := <-all; !errors.Is(last.err, net.ErrClosed) {
		t.Errorf("after the end: %v, %v", last.Conn, last.err)
	}
	if n := strings.Count(said.String(), "LimitNOFILE"); n != 1 {
		t.Errorf("the log said it %d times, want once:\n%s", n, said.String())
	}
	for _, c := range open {
		c.Close()
	}
}

func TestMaxConnections(t *testing.T) {
	t.Parallel()
	for files, want := range map[int]int{65536: 65280, 1024: 768, 256: 128, manyFiles: manyFiles - filesLeft} {
		if got := maxConnections(files); got != want {
			t.Errorf("with %d files: %d connections, want %d", files, got, want)
		}
	}
}
