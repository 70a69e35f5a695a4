package console

import (
	"net/http"
	"strings"

	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/settings"
)

// limit is a number among the settings of signing in. The keys are those of its
// label, its unit and, where there is one, what explains it.
type limit struct {
	Name, Label, Unit, Hint string
	Min, Max                int
	value                   *int
}

// Value is the number.
func (l limit) Value() int { return *l.value }

// limits are the numbers of one card.
type limits struct {
	Title  string
	Limits []limit
}

// signInLimits are all numbers that the page of signing in shows and its form
// sets, card by card.
func signInLimits(s *settings.SignIn) []limits {
	return []limits{
		{"settings.signin.passwords", []limit{
			{"history", "settings.signin.history", "unit.passwords", "settings.signin.history.hint", 0, 24, &s.History},
			{"expiry_days", "settings.signin.expiry", "unit.days", "settings.signin.expiry.hint", 0, 99, &s.ExpiryDays},
		}},
		{"settings.signin.lock", []limit{
			{"lock_after", "settings.signin.lock_after", "unit.failures", "settings.signin.lock_after.hint", 3, 100, &s.LockAfter},
			{"lock_minutes", "settings.signin.lock_minutes", "profile.minutes", "settings.signin.lock_minutes.hint", 1, 60, &s.LockMinutes},
			{"network_per_hour", "settings.signin.network", "unit.per_hour", "", 10, 100000, &s.NetworkPerHour},
		}},
		{"settings.signin.sessions", []limit{
			{"user_idle_minutes", "settings.signin.user_idle", "profile.minutes", "", 5, 527040, &s.UserIdleMinutes},
			{"user_absolute_minutes", "settings.signin.user_absolute", "profile.minutes", "", 5, 527040, &s.UserAbsoluteMinutes},
			{"admin_idle_minutes", "settings.signin.admin_idle", "profile.minutes", "", 5, 527040, &s.AdminIdleMinutes},
			{"admin_absolute_minutes", "settings.signin.admin_absolute", "profile.minutes", "", 5, 527040, &s.AdminAbsoluteMinutes},
		}},
		{"settings.signin.proofs", []limit{
			{"admin_factor_days", "settings.signin.admin_factor", "unit.days", "settings.signin.admin_factor.hint", 0, 90, &s.AdminFactorDays},
			{"step_up_minutes", "settings.signin.step_up", "profile.minutes", "settings.signin.step_up.hint", 1, 15, &s.StepUpMinutes},
			{"activation_days", "settings.signin.activation", "unit.days", "", 1, 30, &s.ActivationDays},
			{"reset_minutes", "settings.signin.reset", "profile.minutes", "", 10, 60, &s.ResetMinutes},
			{"code_minutes", "settings.signin.code", "profile.minutes", "", 2, 60, &s.CodeMinutes},
		}},
	}
}

func editSignIn(r *http.Request, _ *visit, s *settings.Settings) {
	s.SignIn.UserPolicy, s.SignIn.AdminPolicy = r.PostFormValue("user_policy"), r.PostFormValue("admin_policy")
	for _, card := range signInLimits(&s.SignIn) {
		for _, l := range card.Limits {
			*l.value = number(r, l.Name)
		}
	}
}

// showSignIn puts the rules of each password policy into words, and the numbers
// into cards.
func showSignIn(page *rulesPage, _ *visit) {
	p := page.Printer()
	page.Cards = signInLimits(&page.Set.SignIn)
	for _, name := range []passwords.Policy{passwords.Classic, passwords.Modern, passwords.StrongAdmin} {
		x := policy{Name: string(name), Text: p.T("settings.policy." + strings.ReplaceAll(string(name), "-", "_"))}
		for _, rule := range name.Check("", passwords.Context{}) {
			x.Rules = append(x.Rules, p.T(rule.Key, rule.Args...))
		}
		page.Policies = append(page.Policies, x)
	}
}
