package passwords

import (
	"github.com/backstay/backstay/errs"
)

// Policy is a named set of rules that a new password must meet.
type Policy string

// The policies.
const (
	Classic     Policy = "classic"      // 8 characters, upper, lower, digit, and none of " ' < > & ;
	Modern      Policy = "modern"       // 15 characters, 8 with a second factor, whatever they are
	StrongAdmin Policy = "strong-admin" // 12 to 64 characters, upper, lower, digit, symbol
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
	Name string // for the live checklist of a form: data-rule
	Key  string // of the message
	Args []any  // its values
	OK   bool
}

// Check goes through the policy's rules for a password.
func (p Policy) Check(password string, c Context) []Rule {
	return []Rule{{Name: "length", Key: "user.password.short", Args: []any{"n", minLength}, OK: Check(password) == nil}}
}

// Refuse is the failure that names all rules a password breaks, nil when it
// breaks none.
func Refuse(p Policy, password string, c Context) error {
	if err := Check(password); err != nil {
		return err
	}
	for _, r := range p.Check(password, c) {
		if !r.OK {
			return errs.New(errs.Invalid, r.Key, r.Args...)
		}
	}
	return nil
}
