package mail

import (
	"context"
	"crypto/x509"
	"net"

	"github.com/wneessen/go-mail/smtp"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/settings"
)

// CheckBy is Test at a mail server whose certificate is from roots.
func CheckBy(ctx context.Context, cfg settings.Mail, password string, roots *x509.CertPool, to, language string) error {
	return test(ctx, relay{Mail: cfg, password: password, roots: roots}, to, language)
}

// Unread reports whether what goes over conn without TLS stays on this computer.
func Unread(conn net.Conn) bool { return unread(conn) }

// StartLogin begins to log in as the server offers, at a host that is elsewhere.
func StartLogin(way string, tls bool) error {
	r := relay{Mail: settings.Mail{Host: "mail.example.org", Username: "backup"}, password: "Mail-Password-1"}
	_, _, err := r.auth([]string{way}, false).Start(&smtp.ServerInfo{Name: r.Host, TLS: tls, Auth: []string{way}})
	return err
}

// Render is what a mail says.
func Render(m Mail, server, url string) (subject, text, html string, err error) {
	l := letter{Mail: m, server: server, url: url}
	r, err := l.render()
	return r.subject, r.text, r.html, err
}

// Values are the names of the values that t must and may have.
func Values(t Template) (must, may []string) { return templates[t].must, templates[t].may }

// After is how long a mail waits after so many tries.
var After = after

// Languages are those of the templates.
func Languages() []locale.Lang { return languages() }
