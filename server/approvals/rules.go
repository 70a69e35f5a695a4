package approvals

import (
	"context"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/settings"
)

// ruleKind is the act of asking for fewer acts to take two.
const ruleKind = "rules"

func (d *Desk) rules() Kind {
	return Kind{Name: ruleKind, Action: access.ManageSettings, Always: true, Do: func(ctx context.Context, tx *db.Tx, by access.Caller, a Approval) error {
		var rules settings.Approvals
		if err := a.Read(&rules); err != nil {
			return err
		}
		return setRules(ctx, tx, by, rules)
	}}
}

func setRules(ctx context.Context, tx *db.Tx, by access.Caller, rules settings.Approvals) error {
	return settings.Change(ctx, tx, by, func(s *settings.Settings) error {
		s.Approvals = rules
		return nil
	})
}

// SetRules says which acts take two administrators. More of them, or a longer
// delay, holds at once; less is an act that takes two itself, and asked is what
// has to be approved.
func (d *Desk) SetRules(ctx context.Context, tx *db.Tx, by access.Caller, rules settings.Approvals, reason string) (a Approval, asked bool, err error) {
	set, err := settings.Load(ctx, tx)
	if err != nil {
		return Approval{}, false, err
	}
	if !set.Approvals.Loosened(rules) {
		return Approval{}, false, setRules(ctx, tx, by, rules)
	}
	a, err = d.Ask(ctx, tx, by, Request{Kind: ruleKind, Data: rules, Reason: reason,
		Summary: map[string]any{"alone": append([]string{}, rules.Alone...), "minutes": rules.DelayMinutes}})
	return a, true, err
}
