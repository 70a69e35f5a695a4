package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/settings"
)

// relay is the mail server that takes our mail and delivers it.
type relay struct {
	settings.Mail
	password string
	roots    *x509.CertPool // nil: those that this computer trusts
}

// How long it may take: to connect, and for everything.
const (
	dialTime = 20 * time.Second
	sendTime = 2 * time.Minute
)

// refusal is why a mail was not taken. Lasting says that trying again cannot
// help; else the fault may be the network's or the settings'.
type refusal struct {
	*errs.Error
	lasting bool
}

func refuse(key string, args ...any) *refusal {
	return &refusal{Error: errs.New(errs.Unavailable, key, args...)}
}

// send hands one mail over, on a connection of its own. It ends when ctx does.
// When it returns nil the mail server has taken the mail.
func (r relay) send(ctx context.Context, m *gomail.Msg, from, to string) *refusal {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	conn, why := r.dial(ctx)
	if why != nil {
		return why
	}
	defer conn.Close()
	// No step waits longer than ctx lets it.
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	why = r.speak(conn, m, from, to)
	if why != nil && ctx.Err() != nil {
		return r.explain(context.DeadlineExceeded)
	}
	return why
}

// speak does what SMTP is about.
func (r relay) speak(conn net.Conn, m *gomail.Msg, from, to string) *refusal {
	client, why := r.greet(conn)
	if why != nil {
		return why
	}
	if why := r.login(client, conn); why != nil {
		return why
	}
	if why := r.hand(client, m, from, to); why != nil {
		return why
	}
	// The mail is theirs; how they say goodbye changes nothing.
	conn.SetDeadline(time.Now().Add(time.Second))
	client.Quit()
	return nil
}

func (r relay) tls() *tls.Config {
	return &tls.Config{ServerName: r.Host, RootCAs: r.roots, MinVersion: tls.VersionTLS12}
}

func (r relay) dial(ctx context.Context) (net.Conn, *refusal) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	host, port := r.Address()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, r.explain(err)
	}
	if r.Security != settings.TLS {
		return conn, nil
	}
	secure := tls.Client(conn, r.tls())
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, r.explain(err)
	}
	return secure, nil
}

func (r relay) greet(conn net.Conn) (*smtp.Client, *refusal) {
	// Who does not speak SMTP here mostly waits for us to begin.
	conn.SetDeadline(time.Now().Add(dialTime))
	client, err := smtp.NewClient(conn, r.Host)
	if err != nil {
		return nil, r.explain(err)
	}
	if err := client.Hello(hello(conn)); err != nil {
		return nil, r.explain(err)
	}
	if r.Security == settings.StartTLS {
		if offered, _ := client.Extension("STARTTLS"); !offered {
			return nil, refuse("mail.error.starttls", "host", r.Host)
		}
		if err := client.StartTLS(r.tls()); err != nil {
			return nil, r.explain(err)
		}
	}
	conn.SetDeadline(time.Now().Add(sendTime))
	return client, nil
}

// hello is the name that this computer has in SMTP: its address, which is
// always valid there and tells the mail server nothing new.
func hello(conn net.Conn) string {
	host, _, _ := net.SplitHostPort(conn.LocalAddr().String())
	host, _, _ = strings.Cut(host, "%")
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return "[IPv6:" + host + "]"
	}
	return "[" + host + "]"
}

func (r relay) login(client *smtp.Client, conn net.Conn) *refusal {
	if r.Username == "" {
		return nil
	}
	offered, names := client.Extension("AUTH")
	if !offered {
		return refuse("mail.error.login.none", "host", r.Host)
	}
	auth := r.auth(strings.Fields(strings.ToUpper(names)), unread(conn))
	if auth == nil {
		return refuse("mail.error.login.unknown", "host", r.Host, "ways", names)
	}
	if err := client.Auth(auth); err != nil {
		if answer := (*textproto.Error)(nil); errors.As(err, &answer) || !broken(err) {
			return refuse("mail.error.login", "user", r.Username, "answer", say(err))
		}
		return r.explain(err)
	}
	return nil
}

// unread reports whether nobody but this computer reads what goes over conn
// without TLS.
func unread(conn net.Conn) bool {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// auth is the best way to log in that the server offers, nil when we know none
// of them. The password itself is sent over TLS, or within this computer, only.
func (r relay) auth(offered []string, unread bool) smtp.Auth {
	switch {
	case slices.Contains(offered, "SCRAM-SHA-256"):
		return smtp.ScramSHA256Auth(r.Username, r.password)
	case slices.Contains(offered, "PLAIN"):
		return smtp.PlainAuth("", r.Username, r.password, r.Host, unread)
	case slices.Contains(offered, "LOGIN"):
		return smtp.LoginAuth(r.Username, r.password, r.Host, unread)
	case slices.Contains(offered, "SCRAM-SHA-1"):
		return smtp.ScramSHA1Auth(r.Username, r.password)
	case slices.Contains(offered, "CRAM-MD5"):
		return smtp.CRAMMD5Auth(r.Username, r.password)
	}
	return nil
}

// hand gives the mail itself.
func (r relay) hand(client *smtp.Client, m *gomail.Msg, from, to string) *refusal {
	// What goes beyond ASCII in our mails is encoded. Only an address that does
	// needs SMTPUTF8.
	client.SkipSMTPUTF8(ascii(from) && ascii(to))
	if err := client.Mail("<" + from + ">"); err != nil {
		answer := (*textproto.Error)(nil)
		switch {
		case !errors.As(err, &answer):
			return r.explain(err)
		case answer.Code == 530:
			return refuse("mail.error.login.wanted", "host", r.Host, "answer", say(err))
		case answer.Code == 421:
			return r.explain(err)
		}
		return refuse("mail.error.sender", "from", from, "answer", say(err))
	}
	if err := client.Rcpt("<" + to + ">"); err != nil {
		answer := (*textproto.Error)(nil)
		if !errors.As(err, &answer) {
			return r.explain(err)
		}
		// That it relays for nobody is about us, not about the recipient.
		if answer.Code == 530 || strings.Contains(strings.ToLower(answer.Msg), "relay") {
			return refuse("mail.error.relay", "host", r.Host, "answer", say(err))
		}
		return &refusal{errs.New(errs.Invalid, recipientRefused, "to", to, "answer", say(err)), answer.Code >= 500}
	}
	w, err := client.Data()
	if err == nil {
		if _, err = m.WriteTo(w); err == nil {
			err = w.Close()
		}
	}
	if answer := (*textproto.Error)(nil); errors.As(err, &answer) {
		return &refusal{errs.New(errs.Invalid, "mail.error.content", "answer", say(err)), answer.Code >= 500}
	}
	if err != nil {
		return r.explain(err)
	}
	return nil
}

// recipientRefused is the key of the failures that are the recipient's.
const recipientRefused = "mail.error.recipient"

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// say is what the server said, or what went wrong, for people to read: short,
// and of one line.
func say(err error) string {
	text := err.Error()
	if answer := (*textproto.Error)(nil); errors.As(err, &answer) {
		text = strconv.Itoa(answer.Code) + " " + answer.Msg
	}
	return shorten(clean(text), 300)
}
