package approvals

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
)

// Words says an act in the reader's language.
func (a Approval) Words(p *locale.Printer) string {
	var args []any
	for name, value := range a.Summary {
		args = append(args, name, said(p, value))
	}
	return p.T("approval.act."+a.Kind, args...)
}

// said is a value of a summary, as JSON has it, for a sentence: a list is one
// of kinds of acts.
func said(p *locale.Printer, value any) any {
	switch v := value.(type) {
	case float64:
		return int64(v)
	case []any:
		var names []string
		for _, kind := range v {
			names = append(names, p.T("approval.kind."+fmt.Sprint(kind)))
		}
		if len(names) == 0 {
			return p.T("approval.kind.none")
		}
		return strings.Join(names, ", ")
	}
	return value
}

// tell writes to the administrators where an act is.
func (d *Desk) tell(ctx context.Context, tx *db.Tx, a Approval) error {
	return orgs.NotifyEach(ctx, tx, d.keys, a.Org, func(p *locale.Printer) mail.Mail {
		values := map[string]string{"act": a.Words(p), "state": string(a.State), "asked": a.AskedName, "reason": a.Reason,
			"until": a.ExpiresAt.Format(time.RFC3339), "link": d.console() + "/admin/approvals/" + a.ID}
		if a.DecidedName != "" && a.State != Withdrawn {
			values["decided"] = a.DecidedName
		}
		if a.State == Approved {
			values["at"] = a.NotBefore.Format(time.RFC3339)
		}
		if a.Failure != nil {
			values["failure"] = p.Error(a.Failure)
		}
		return mail.Mail{Template: mail.Approval, Values: values}
	})
}
