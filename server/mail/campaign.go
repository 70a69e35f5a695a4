package mail

import (
	"context"
	"fmt"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// Preview is the subject and the text of a mail as it would go out from a
// server of that name and address.
func Preview(m Mail, server, url string) (subject, text string, err error) {
	if err := m.Template.check(m.Values); err != nil {
		return "", "", err
	}
	r, err := letter{Mail: m, server: server, url: url}.render()
	return r.subject, r.text, err
}

// Progress is how many of the mails of one kind that were queued for an
// organisation since then are in each state.
func Progress(ctx context.Context, tx *db.Tx, by access.Caller, org access.OrgID, t Template, since time.Time) (map[State]int, error) {
	if err := audit.See(by, access.ManageUsers, org, "", "mail"); err != nil {
		return nil, err
	}
	counts, err := db.Counts[State](ctx, tx, "SELECT state, count(*) FROM outbox WHERE org = $1 AND template = $2 AND created_at >= $3 GROUP BY state",
		org, t, db.Micros(since))
	if err != nil {
		return nil, fmt.Errorf("counting mails %s: %w", t, err)
	}
	return counts, nil
}
