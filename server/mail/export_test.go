package mail

import (
	"context"
	"crypto/x509"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/settings"
)

// CheckBy is Test at a mail server whose certificate is from roots.
func CheckBy(ctx context.Context, cfg settings.Mail, password string, roots *x509.CertPool, to, language string) error {
	return test(ctx, relay{Mail: cfg, password: password, roots: roots}, to, language)
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
