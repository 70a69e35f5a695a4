package mail_test

import (
	"context"
	"crypto/x509"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/mail/mailtest"
	"github.com/backstay/backstay/server/settings"
)

// speaker is something that listens, and is no mail server of today.
func speaker(t *testing.T, speak func(net.Conn)) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				speak(conn)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// refusing is a port at which nobody listens, nor can before the test ends: it is
// taken by one end of a connection.
func refusing(t *testing.T) int {
	t.Helper()
	port := speaker(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().(*net.TCPAddr).Port
}

// way is how a test reaches a mail server.
type way struct {
	cfg      settings.Mail
	password string
	roots    *x509.CertPool
}

// A test says what is in its way, in both languages.
func TestTest(t *testing.T) {
	t.Parallel()
	const password = "Mail-Password-1"
	closed := refusing(t)
	for _, c := range []struct {
		key     string // "" for a mail that comes
		options []mailtest.Option
		edit    func(*mailtest.Server, *way)
	}{
		{key: ""},
		{key: "", options: []mailtest.Option{mailtest.Security(settings.StartTLS), mailtest.Login("backup", password)}},
		{key: "", options: []mailtest.Option{mailtest.Security(settings.TLS)}},
		{key: "mail.error.unset", edit: func(_ *mailtest.Server, w *way) { w.cfg.From = "" }},
		{key: "mail.error.name", edit: func(_ *mailtest.Server, w *way) { w.cfg.Host = "no-such-host.invalid" }},
		{key: "mail.error.refused", edit: func(_ *mailtest.Server, w *way) { w.cfg.Port = closed }},
		{key: "mail.error.starttls", edit: func(_ *mailtest.Server, w *way) { w.cfg.Security = settings.StartTLS }},
		{key: "mail.error.tls.none", edit: func(_ *mailtest.Server, w *way) { w.cfg.Security = settings.TLS }},
		{key: "mail.error.tls.unknown", options: []mailtest.Option{mailtest.Security(settings.TLS)}, edit: func(_ *mailtest.Server, w *way) { w.roots = nil }},
		{key: "mail.error.tls.unknown", options: []mailtest.Option{mailtest.Security(settings.StartTLS)}, edit: func(_ *mailtest.Server, w *way) { w.roots = nil }},
		{key: "mail.error.tls.name", options: []mailtest.Option{mailtest.Security(settings.TLS)}, edit: func(_ *mailtest.Server, w *way) { w.cfg.Host = "localhost" }},
		{key: "mail.error.login", options: []mailtest.Option{mailtest.Login("backup", password)}, edit: func(_ *mailtest.Server, w *way) { w.password = "wrong" }},
		{key: "mail.error.login.none", edit: func(_ *mailtest.Server, w *way) { w.cfg.Username = "backup" }},
		{key: "mail.error.sender", edit: func(s *mailtest.Server, _ *way) { s.Refuse(refuseFirst(1, "from", mailtest.Lasting("not yours"))) }},
		{key: "mail.error.recipient", edit: func(s *mailtest.Server, _ *way) { s.Refuse(refuseFirst(1, "to", mailtest.Lasting("no such mailbox"))) }},
		{key: "mail.error.relay", edit: func(s *mailtest.Server, _ *way) {
			s.Refuse(refuseFirst(1, "to", mailtest.Lasting("Relay access denied")))
		}},
		{key: "mail.error.content", edit: func(s *mailtest.Server, _ *way) { s.Refuse(refuseFirst(1, "data", mailtest.Lasting("spam"))) }},
		{key: "mail.error.answer", edit: func(s *mailtest.Server, _ *way) { s.Refuse(refuseFirst(2, "connect", mailtest.Temporary("busy"))) }},
		{key: "mail.error.protocol", edit: func(_ *mailtest.Server, w *way) {
			w.cfg.Port = speaker(t, func(c net.Conn) { c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) })
		}},
		{key: "mail.error.broken", edit: func(_ *mailtest.Server, w *way) { w.cfg.Port = speaker(t, func(net.Conn) {}) }},
		{key: "mail.error.login.unknown", edit: func(_ *mailtest.Server, w *way) {
			w.cfg.Username = "backup"
			w.cfg.Port = speaker(t, func(c net.Conn) {
				c.Write([]byte("220 hello\r\n"))
				c.Read(make([]byte, 100))
				c.Write([]byte("250-hello\r\n250 AUTH GSSAPI\r\n"))
				c.Read(make([]byte, 100))
			})
		}},
		{key: "mail.error.timeout", edit: func(_ *mailtest.Server, w *way) {
			w.cfg.Port = speaker(t, func(net.Conn) { time.Sleep(5 * time.Second) })
		}},
	} {
		t.Run(c.key, func(t *testing.T) {
			t.Parallel()
			s := mailtest.New(t, c.options...)
			w := &way{s.Settings, s.Password, s.Roots}
			if c.edit != nil {
				c.edit(s, w)
			}
			ctx := t.Context()
			if c.key == "mail.error.timeout" {
				short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
				defer cancel()
				ctx = short
			}
			err := mail.CheckBy(ctx, w.cfg, w.password, w.roots, "admin@example.org", "fr")
			if c.key == "" {
				if err != nil {
					t.Fatal(err)
				}
				if m := s.Wait("admin@example.org", mail.TestMail); m.Subject != "Les e-mails de Backstay fonctionnent" {
					t.Errorf("it came as %q", m.Subject)
				}
				return
			}
			e := errs.Find(err)
			if e == nil || e.Key != c.key {
				t.Fatalf("%v, want %s", err, c.key)
			}
			for _, l := range locale.Langs() {
				said := locale.For(l).Error(err)
				if said == c.key || strings.Contains(said, "<no value>") || strings.Contains(said, password) {
					t.Errorf("in %s: %s", l, said)
				}
			}
		})
	}
}

// The password is not sent where others can read it, whatever the settings say.
func TestPasswordStaysHere(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 1)
	port := speaker(t, func(c net.Conn) {
		c.Write([]byte("220 hello\r\n"))
		c.Read(make([]byte, 100))
		c.Write([]byte("250-hello\r\n250 AUTH PLAIN LOGIN\r\n"))
		said := make([]byte, 100)
		n, _ := c.Read(said)
		heard <- string(said[:n])
	})
	cfg := settings.Mail{Host: "127.0.0.1", Port: port, Security: settings.StartTLS, From: "a@example.org", Username: "backup"}
	err := mail.CheckBy(t.Context(), cfg, "Mail-Password-1", nil, "admin@example.org", "en")
	if e := errs.Find(err); e == nil || e.Key != "mail.error.starttls" {
		t.Errorf("without STARTTLS: %v", err)
	}
	if said := <-heard; said != "" {
		t.Errorf("the server heard %q", said)
	}
}

type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }

func TestPasswordNeedsTLS(t *testing.T) {
	t.Parallel()
	if mail.Unread(elsewhere{}) {
		t.Error("another computer is taken for this one")
	}
	for _, way := range []string{"PLAIN", "LOGIN"} {
		if err := mail.StartLogin(way, false); err == nil {
			t.Errorf("%s sends the password without TLS", way)
		}
		if err := mail.StartLogin(way, true); err != nil {
			t.Errorf("%s over TLS: %v", way, err)
		}
	}
}
