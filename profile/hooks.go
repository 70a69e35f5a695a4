package profile

import (
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay/errs"
)

// Hook is a script around backups. The administrator says here which one by the
// SHA-256 of its content; root of the computer has laid it into the folder of
// hooks there. Neither alone makes a device run anything.
type Hook struct {
	When   HookTime `json:"when"`
	Name   string   `json:"name"`   // of the file in that folder
	SHA256 string   `json:"sha256"` // of its content, in hexadecimal digits
	// Minutes are how long it may take, UsualHookMinutes when 0.
	Minutes int `json:"minutes,omitempty"`
	// Optional is one without which there is a backup all the same.
	Optional bool `json:"optional,omitempty"`
	// Users also has it around the backups of users, with their rights; else it
	// is around those of whole computers alone.
	Users bool `json:"users,omitempty"`
}

// HookTime says when a hook runs.
type HookTime string

// When a hook runs.
const (
	Before HookTime = "before"
	After  HookTime = "after"
)

// Limits of hooks.
const (
	MaxHooks         = 20
	MaxHookMinutes   = 24 * 60
	UsualHookMinutes = 10
)

var (
	hookName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)
	hookHash = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func (h Hook) normal() Hook {
	h.Name, h.SHA256 = strings.TrimSpace(h.Name), strings.ToLower(strings.TrimSpace(h.SHA256))
	if h.Minutes == UsualHookMinutes {
		h.Minutes = 0
	}
	return h
}

// HooksAt are the hooks that run before or after the backups of a whole computer,
// or of a user, in their order. One that cannot be meant is among them: whoever
// runs it has to refuse it.
func (s Settings) HooksAt(when HookTime, wholeComputer bool) []Hook {
	var list []Hook
	for _, h := range s.Hooks {
		if h.When == when && (wholeComputer || h.Users) {
			list = append(list, h.normal())
		}
	}
	return list
}

// Validate refuses a hook that cannot be meant. Its name has no path in it.
func (h Hook) Validate() error {
	h = h.normal()
	switch {
	case h.When != Before && h.When != After:
		return errs.New(errs.Invalid, "profile.value.invalid", "name", "hooks.when")
	case !hookName.MatchString(h.Name):
		return errs.New(errs.Invalid, "profile.hooks.name", "name", h.Name)
	case !hookHash.MatchString(h.SHA256):
		return errs.New(errs.Invalid, "profile.hooks.sha256", "name", h.Name)
	case h.Minutes < 0 || h.Minutes > MaxHookMinutes:
		return errs.New(errs.Invalid, "profile.hooks.minutes", "name", h.Name, "max", MaxHookMinutes)
	}
	return nil
}

func (s Settings) validateHooks() error {
	if len(s.Hooks) > MaxHooks {
		return errs.New(errs.Invalid, "profile.hooks.many", "n", MaxHooks)
	}
	if i := slices.IndexFunc(s.Hooks, func(h Hook) bool { return h.Validate() != nil }); i >= 0 {
		return s.Hooks[i].Validate()
	}
	return nil
}
