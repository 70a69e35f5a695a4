//go:build linux

package scripttest

import (
	"io"
	"net"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

type lineKey struct{}

// line is a network between a computer and the server.
type line struct {
	net.Listener
	server string // host:port

	mu     sync.Mutex
	conns  map[net.Conn]net.Conn // the computer's ends, and the server's
	silent []net.Conn            // the server's ends of those that were lost
}

// lineCommand is a network between the computer and the server, $LINE, that can
// fail:
//
//	line start
//	line cut       ends all connections; both sides are told
//	line lose      ends all connections, and does not tell the server
//
// New connections work at once.
func lineCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: line start|cut|lose")
	}
	if args[0] == "start" {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		l := &line{Listener: listener, server: strings.TrimPrefix(ts.Getenv("SERVER"), "https://"), conns: map[net.Conn]net.Conn{}}
		ts.Defer(l.close)
		go l.serve()
		*ts.Value(lineKey{}).(**line) = l
		ts.Setenv("LINE", "https://"+l.Addr().String())
		return
	}
	l := *ts.Value(lineKey{}).(**line)
	if l == nil {
		ts.Fatalf("there is no line")
	}
	switch args[0] {
	case "cut":
		l.cut(true)
	case "lose":
		l.cut(false)
	default:
		ts.Fatalf("a line cannot %s", args[0])
	}
}

func (l *line) serve() {
	for {
		computer, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.server)
		if err != nil {
			computer.Close()
			continue
		}
		l.mu.Lock()
		l.conns[computer] = server
		l.mu.Unlock()
		go l.pass(computer, server, computer)
		go l.pass(computer, computer, server)
	}
}

// pass passes on what comes from one side of a computer's connection to the
// other, and how it ends.
func (l *line) pass(computer, to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err == nil {
		to.(*net.TCPConn).CloseWrite()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns[computer] != nil { // it was not the line that ended it
		to.Close()
		from.Close()
	}
}

// cut ends all connections. The server's ends stay open, and silent, when it is
// not to be told.
func (l *line) cut(tell bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for computer, server := range l.conns {
		computer.(*net.TCPConn).SetLinger(0)
		computer.Close()
		if tell {
			server.Close()
		} else {
			l.silent = append(l.silent, server)
		}
	}
	clear(l.conns)
}

func (l *line) close() {
	l.Close()
	l.cut(true)
	for _, server := range l.silent {
		server.Close()
	}
}
