package passwords

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/backstay/backstay/errs"
)

// Policy is a named set of rules that a new password must meet.
type Policy string

// The policies. No common password meets any of them, nor one that is made of
// the account's own names.
const (
	Classic     Policy = "classic"      // 8 characters, upper, lower, digit, and none of " ' < > & ;
	Modern      Policy = "modern"       // 15 characters, 8 with a second factor, whatever they are
	StrongAdmin Policy = "strong-admin" // 12 to 64 characters, upper, lower, digit, symbol
)

// forbidden is what classic takes no password with.
const forbidden = `"'<>&;`

// The bounds of the lengths that policies ask for.
const (
	modernAlone   = 15
	modernWith    = 8
	strongAtLeast = 12
	strongAtMost  = 64
)

// Context is what a policy has to know of an account: what a guess at its
// password would begin with, and whether the password stands alone.
type Context struct {
	Username string
	Email    string
	Org      string // the organisation's name
	Product  string
	Factor   bool // there is a second factor
}

// Rule is a line of a policy's checklist.
type Rule struct {
	Name string `json:"name"` // for the live checklist of a form: data-rule
	Key  string `json:"key"`  // of the message, what is asked for
	Args []any  `json:"-"`    // its values
	OK   bool   `json:"ok"`

	// Wrong is the key of what is said when the rule is broken, with Found
	// among its values where there is something to point at.
	Wrong string `json:"wrong"`
	Found string `json:"found,omitempty"`
}

// Names of rules. A form's script knows the first ones and marks them as they
// are typed; the others take the server.
const (
	LengthRule  = "length"
	UpperRule   = "upper"
	LowerRule   = "lower"
	DigitRule   = "digit"
	SymbolRule  = "symbol"
	AllowedRule = "allowed"
	CommonRule  = "common"
)

// Rules are the lines of a policy for somebody who has typed nothing yet.
func (p Policy) Rules(c Context) []Rule { return p.Check("", c) }

// Check goes through a policy's rules for a password. Its characters count
// after NFC, as they are kept.
func (p Policy) Check(password string, c Context) []Rule {
	password = norm.NFC.String(password)
	least, most := p.length(c)
	n := utf8.RuneCountInString(password)
	length := Rule{Name: LengthRule, Key: "password.rule.length", Args: []any{"n", least}, OK: n >= least && n <= most, Wrong: "password.wrong.short"}
	if most < maxLength || n > most {
		length.Key, length.Args = "password.rule.lengths", []any{"n", least, "max", most}
	}
	if n > most {
		length.Wrong = "password.wrong.long"
	}
	rules := []Rule{length}
	if p != Modern {
		rules = append(rules,
			has(UpperRule, password, func(r rune) bool { return 'A' <= r && r <= 'Z' }),
			has(LowerRule, password, func(r rune) bool { return 'a' <= r && r <= 'z' }),
			has(DigitRule, password, func(r rune) bool { return '0' <= r && r <= '9' }))
	}
	switch p {
	case Classic:
		rules = append(rules, allowed(password))
	case StrongAdmin:
		rules = append(rules, has(SymbolRule, password, symbol))
	}
	common := Rule{Name: CommonRule, Key: "password.rule.common", Wrong: "password.wrong.common", OK: password != ""}
	if word := c.made(password); word != "" {
		common.OK, common.Wrong, common.Found = false, "password.wrong.named", word
	} else if Common(password) {
		common.OK = false
	}
	if p == Classic {
		// Five lines, as it is written; the sixth shows only when it is broken.
		if common.OK || password == "" {
			return rules
		}
	}
	return append(rules, common)
}

func (p Policy) length(c Context) (least, most int) {
	switch {
	case p == StrongAdmin:
		return strongAtLeast, strongAtMost
	case p == Modern && !c.Factor:
		return modernAlone, maxLength
	case p == Modern:
		return modernWith, maxLength
	}
	return minLength, maxLength
}

func has(name, password string, is func(rune) bool) Rule {
	return Rule{Name: name, Key: "password.rule." + name, Wrong: "password.wrong." + name, OK: strings.ContainsFunc(password, is)}
}

// symbol is what is neither a letter nor a digit nor a space.
func symbol(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsSpace(r) && !unicode.IsControl(r)
}

// allowed looks for characters that classic forbids. They are named, and never
// taken out: a password is what was typed.
func allowed(password string) Rule {
	found := ""
	for _, r := range password {
		if strings.ContainsRune(forbidden, r) && !strings.ContainsRune(found, r) {
			found += string(r)
		}
	}
	return Rule{Name: AllowedRule, Key: "password.rule.allowed", Args: []any{"characters", spaced(forbidden)}, OK: password != "" && found == "",
		Wrong: "password.wrong.allowed", Found: spaced(found)}
}

func spaced(s string) string { return strings.Join(strings.Split(s, ""), " ") }

// made returns the name that a password is made of, "" for none: nothing but
// names, however often, with digits and symbols around them. Backstay2026! is
// made of the product's name.
func (c Context) made(password string) string {
	local, _, _ := strings.Cut(c.Email, "@")
	words := []string{c.Email, c.Product, c.Org, c.Username, local}
	// Of a name that is part of another, the longer is looked for first.
	slices.SortStableFunc(words, func(a, b string) int { return len(b) - len(a) })
	rest, found := fold(password), ""
	for _, word := range words {
		for _, w := range []string{fold(word), strings.TrimFunc(fold(word), notLetter)} {
			if w != "" && strings.Contains(rest, w) {
				rest = strings.ReplaceAll(rest, w, "")
				found = cmp.Or(found, word)
			}
		}
	}
	if strings.ContainsFunc(rest, unicode.IsLetter) {
		return ""
	}
	return found
}

func notLetter(r rune) bool { return !unicode.IsLetter(r) }

// Refuse is the failure that names all rules a password breaks, in lines of the
// argument "rules"; nil when it breaks none.
func Refuse(p Policy, password string, c Context) error {
	if utf8.RuneCountInString(norm.NFC.String(password)) > maxLength {
		return Check(password)
	}
	var broken []Rule
	for _, r := range p.Check(password, c) {
		if !r.OK {
			broken = append(broken, r)
		}
	}
	if len(broken) == 0 {
		return nil
	}
	return errs.New(errs.Invalid, "user.password.policy", "rules", Broken(broken))
}

// Broken are rules that a password breaks, as the value of a message.
type Broken []Rule

// Say is what is wrong in a reader's language, one sentence for each rule. say
// translates a key with its values.
func (b Broken) Say(say func(key string, args ...any) string) string {
	var lines []string
	for _, r := range b {
		args := r.Args
		if r.Found != "" {
			args = append(args[:len(args):len(args)], "found", r.Found)
		}
		lines = append(lines, say(r.Wrong, args...))
	}
	return strings.Join(lines, " ")
}

// fold is a password as common ones are compared.
func fold(s string) string { return norm.NFC.String(strings.ToLower(s)) }
