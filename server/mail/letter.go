package mail

import (
	"context"
	netmail "net/mail"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/settings"
)

// letter is a mail on its way out.
type letter struct {
	Mail
	id     string // the same at each try
	at     time.Time
	server string // who sends it
	url    string
}

// badAddress is the key of the failure that a mail has nowhere to go.
const badAddress = "mail.error.address"

func (l letter) send(ctx context.Context, r relay) *refusal {
	if address, err := netmail.ParseAddress(l.To); err != nil || address.Address != l.To {
		return &refusal{errs.New(errs.Invalid, badAddress, "to", clean(l.To)), true}
	}
	m, err := l.message(r.Mail)
	if err != nil {
		return &refusal{errs.New(errs.Internal, "mail.error.unreadable").Because(err), true}
	}
	return r.send(ctx, m, r.From, l.To)
}

// message writes the letter: text and HTML, which say the same.
func (l letter) message(cfg settings.Mail) (*gomail.Msg, error) {
	text, err := l.render()
	if err != nil {
		return nil, err
	}
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := m.FromFormat(clean(cfg.FromName), cfg.From); err != nil {
		return nil, err
	}
	if err := m.To(l.To); err != nil {
		return nil, err
	}
	m.Subject(text.subject)
	m.SetDateWithValue(l.at)
	_, domain, _ := strings.Cut(cfg.From, "@")
	m.SetMessageIDWithValue(l.id + "@" + domain)
	// Nobody's holiday should answer, and filters can tell one kind from another.
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetGenHeader("X-Auto-Response-Suppress", "All")
	m.SetGenHeader("X-Backstay-Mail", string(l.Template))
	m.SetBodyString(gomail.TypeTextPlain, text.text)
	m.AddAlternativeString(gomail.TypeTextHTML, text.html)
	return m, nil
}

// Test sends a mail that says that mail works, and reports what is in its way
// in words that say what to do.
func Test(ctx context.Context, cfg settings.Mail, password, to, language string) error {
	return test(ctx, relay{Mail: cfg, password: password}, to, language)
}

func test(ctx context.Context, r relay, to, language string) error {
	if !r.Configured() {
		return errs.New(errs.Invalid, "mail.error.unset")
	}
	now := time.Now()
	l := letter{Mail: Mail{To: to, Language: language, Template: TestMail}, id: now.Format("20060102150405.000000000"), at: now, server: r.FromName}
	if why := l.send(ctx, r); why != nil {
		return why.Error
	}
	return nil
}
