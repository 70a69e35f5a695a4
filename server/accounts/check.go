package accounts

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
)

const (
	maxUsername = 64
	maxEmail    = 254
	maxName     = 100
)

// normalise brings an account's fields into the form they are kept in, and
// refuses what cannot be one.
func (u *User) normalise() error {
	u.Username = strings.TrimSpace(norm.NFC.String(u.Username))
	u.FirstName = strings.TrimSpace(norm.NFC.String(u.FirstName))
	u.LastName = strings.TrimSpace(norm.NFC.String(u.LastName))
	if u.Username == "" {
		return errs.New(errs.Invalid, "user.username.empty")
	}
	// Characters that nobody sees make two names that look like one.
	if !printable(u.Username) || strings.ContainsFunc(u.Username, isFormat) {
		return errs.New(errs.Invalid, "user.username.characters")
	}
	if utf8.RuneCountInString(u.Username) > maxUsername {
		return errs.New(errs.Invalid, "user.username.long", "n", maxUsername)
	}
	for _, name := range []string{u.FirstName, u.LastName} {
		if !printable(name) || utf8.RuneCountInString(name) > maxName {
			return errs.New(errs.Invalid, "user.name.invalid", "n", maxName)
		}
	}
	email, ok := normaliseEmail(u.Email)
	if !ok {
		return errs.New(errs.Invalid, "user.email.invalid")
	}
	u.Email = email
	switch u.Language {
	case "", "en", "fr":
	default:
		return errs.New(errs.Invalid, "user.language.unknown")
	}
	switch {
	case u.Kind == access.UserKind && u.Role == "":
	case u.Kind == access.AdminKind && knownRole(u.Role):
	default:
		return errs.New(errs.Invalid, "user.role.invalid")
	}
	return nil
}

func knownRole(r access.Role) bool {
	for _, known := range access.Roles() {
		if r == known {
			return true
		}
	}
	return false
}

func isFormat(r rune) bool { return unicode.Is(unicode.Cf, r) }

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// normaliseEmail trims an address and puts its domain in lower case. Whether it
// reaches anybody, only a mail to it can tell; an empty one is allowed.
func normaliseEmail(s string) (string, bool) {
	s = strings.TrimSpace(norm.NFC.String(s))
	if s == "" {
		return "", true
	}
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at == len(s)-1 || len(s) > maxEmail || !printable(s) || strings.ContainsFunc(s, unicode.IsSpace) {
		return "", false
	}
	return s[:at+1] + strings.ToLower(s[at+1:]), true
}
