package web

import (
	"net/http"

	"github.com/backstay/backstay/errs"
)

// Box is one box of a serial number or of a mailed code.
type Box struct {
	Number int
	Value  string
	Bad    bool
}

// How many boxes a serial number and a mailed code have.
const (
	SerialBoxes = 5
	CodeBoxes   = 6
)

// Boxes are n boxes with what was typed into the first of them.
func Boxes(n int, typed ...string) []Box {
	list := make([]Box, n)
	for i := range list {
		list[i].Number = i + 1
		if i < len(typed) {
			list[i].Value = typed[i]
		}
	}
	return list
}

// Typed is what was typed into the boxes of one name.
func Typed(r *http.Request, name string) []string {
	r.PostFormValue(name) // reads the form
	return r.PostForm[name]
}

// Rule is a line of a password policy. Name, N and Max are for the script that
// checks while the password is typed.
type Rule struct {
	Name, Text string
	N, Max     any
	OK, Failed bool
}

// NewPassword is that of a form with two fields for it.
func NewPassword(r *http.Request) (string, error) {
	password := r.PostFormValue("password")
	if password != r.PostFormValue("again") {
		return "", errs.New(errs.Invalid, "entry.password.different", "field", "again")
	}
	return password, nil
}
