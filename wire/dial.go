package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/proxy"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/version"
)

// hopTimeout is how long each part of opening a connection may take.
const hopTimeout = 10 * time.Second

// maxProxyAnswer is the longest answer of a proxy that is read.
const maxProxyAnswer = 64 << 10

// dial opens a connection to the server by the first way that leads there. A
// proxy that wants a password is there, and no reason to go around it.
func (c *Client) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	ways, missing, err := c.ways(ctx)
	if err != nil {
		return nil, err
	}
	var first *errs.Error
	for _, w := range ways {
		conn, err := c.open(ctx, w, addr)
		if err == nil {
			return conn, nil
		}
		e := errs.Find(err)
		if ctx.Err() != nil || e == nil || e.Code != errs.CannotConnect {
			return nil, err
		}
		c.avoid(w)
		if first == nil {
			first = e
			continue
		}
		first.Because(errors.Join(first.Err, e.Err))
	}
	if missing != nil {
		first.Because(errors.Join(missing, first.Err))
	}
	return nil, first
}

// open opens a connection to addr by one way.
func (c *Client) open(ctx context.Context, w way, addr string) (net.Conn, error) {
	if w.proxy == nil {
		return c.reach(ctx, addr, false)
	}
	conn, err := c.reach(ctx, w.proxy.Host, true)
	if err != nil {
		return nil, err
	}
	return c.pass(ctx, conn, w.proxy, addr)
}

// use has the first request go over a connection that is open.
func (c *Client) use(conn *tls.Conn) {
	var first atomic.Pointer[tls.Conn]
	first.Store(conn)
	c.transport.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if conn := first.Swap(nil); conn != nil {
			return conn, nil
		}
		raw, err := c.dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		layer := tls.Client(raw, c.transport.TLSClientConfig)
		if err := layer.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		return layer, nil
	}
}

// reach opens a TCP connection to a server or a proxy.
func (c *Client) reach(ctx context.Context, addr string, isProxy bool) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: hopTimeout, KeepAlive: 15 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, unreached(addr, isProxy, err)
	}
	counted := &countedConn{Conn: conn}
	if to, ok := conn.RemoteAddr().(*net.TCPAddr); ok && !isProxy {
		counted.server = to.AddrPort().Addr().Unmap()
	}
	return counted, nil
}

// unreached is E1001 with what a dial failed by.
func unreached(addr string, isProxy bool, err error) error {
	host, port, _ := net.SplitHostPort(addr)
	step, why := StepConnection, "connection.failed"
	var name *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		step, why = StepName, "name.unknown"
	case errors.As(err, &name):
		step, why = StepName, "name.failed"
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "connection.refused"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		why = "connection.unreachable"
	case errors.As(err, &timeout) && timeout.Timeout():
		why = "connection.silent"
	}
	if isProxy {
		why += ".proxy"
	}
	return stopped(step, why, err, "host", host, "port", port)
}

// stopped is E1001: the step at which the way to the server ended, and why, for
// Why to say.
func stopped(step Step, why string, cause error, args ...any) *errs.Error {
	e := errs.Of(errs.CannotConnect, append(args, "step", string(step), "why", why)...)
	return e.Because(cause)
}

// pass has a proxy pass a connection to it on to target. The connection is
// closed when that fails.
func (c *Client) pass(ctx context.Context, conn net.Conn, via *url.URL, target string) (_ net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, hopTimeout)
	defer cancel()
	base := conn
	// What is read and written here knows no context.
	stop := context.AfterFunc(ctx, func() { base.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			base.Close()
			err = c.unpassed(ctx, via, target, err)
		}
	}()
	if via.Scheme == "socks5" {
		return socks(ctx, conn, via, target)
	}
	if via.Scheme == "https" {
		layer := tls.Client(conn, &tls.Config{ServerName: via.Hostname(), MinVersion: tls.VersionTLS12, Time: c.cfg.Now})
		if err := layer.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = layer
	}
	return conn, tunnel(conn, via, target)
}

// tunnel asks an HTTP proxy for a tunnel to target.
func tunnel(conn net.Conn, via *url.URL, target string) error {
	var ask strings.Builder
	fmt.Fprintf(&ask, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: backstay/%s\r\n", target, target, version.Number())
	if via.User != nil {
		password, _ := via.User.Password()
		basic := base64.StdEncoding.EncodeToString([]byte(via.User.Username() + ":" + password))
		fmt.Fprintf(&ask, "Proxy-Authorization: Basic %s\r\n", basic)
	}
	ask.WriteString("\r\n")
	if _, err := io.WriteString(conn, ask.String()); err != nil {
		return err
	}
	in := bufio.NewReader(io.LimitReader(conn, maxProxyAnswer))
	answer, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	if answer.StatusCode/100 != 2 {
		return proxyStatus(answer.StatusCode)
	}
	if in.Buffered() > 0 {
		return errors.New("it speaks before it was spoken to") // a TLS server does not
	}
	return nil
}

// proxyStatus is what a proxy refuses by.
type proxyStatus int

func (s proxyStatus) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", int(s), http.StatusText(int(s))))
}

var errSocksUser = errors.New("the proxy does not accept the user name and password")

// socks asks a SOCKS 5 proxy for a connection to target, whose name it looks up
// itself.
func socks(ctx context.Context, conn net.Conn, via *url.URL, target string) (net.Conn, error) {
	var user *proxy.Auth
	if via.User != nil {
		password, _ := via.User.Password()
		user = &proxy.Auth{User: via.User.Username(), Password: password}
	}
	d, err := proxy.SOCKS5("tcp", via.Host, user, opened{conn})
	if err != nil {
		return nil, err
	}
	if _, err = d.(proxy.ContextDialer).DialContext(ctx, "tcp", target); err != nil {
		// The library says it in words alone.
		if strings.Contains(err.Error(), "no acceptable authentication") || strings.Contains(err.Error(), "username/password authentication failed") {
			err = errSocksUser
		}
		return nil, err
	}
	return conn, nil
}

// opened is a dialer that has dialed already.
type opened struct{ net.Conn }

func (o opened) Dial(string, string) (net.Conn, error) { return o.Conn, nil }

func (o opened) DialContext(context.Context, string, string) (net.Conn, error) { return o.Conn, nil }

// unpassed says why a proxy did not pass us on.
func (c *Client) unpassed(ctx context.Context, via *url.URL, target string, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	where := via.Host
	if e := c.certError(err, via.Hostname()); e != nil {
		e.Args["proxy"], e.Args["step"] = where, string(StepProxy)
		return e
	}
	var status proxyStatus
	var timeout interface{ Timeout() bool }
	why := "proxy.broken"
	switch {
	case errors.As(err, &status) && status == http.StatusProxyAuthRequired, errors.Is(err, errSocksUser):
		why = "proxy.password.missing"
		if via.User != nil {
			why = "proxy.password.wrong"
		}
		return errs.Of(errs.ProxyAuth, "proxy", where, "step", string(StepProxy), "why", why)
	case errors.As(err, &status):
		return stopped(StepProxy, "proxy.refused", fmt.Errorf("the proxy %s: %w", where, err),
			"proxy", where, "target", target, "status", status.Error())
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		why = "proxy.silent"
	}
	return stopped(StepProxy, why, fmt.Errorf("the proxy %s: %w", where, err), "proxy", where)
}
