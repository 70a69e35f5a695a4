// Package cli is what the command lines of both programs have in common: what
// they say in the reader's language where the library would say it in English.
package cli

import (
	"errors"

	"github.com/spf13/pflag"

	"github.com/backstay/backstay/errs"
)

// FlagError tells what is wrong with flags that could not be read.
func FlagError(err error) error {
	var unknown *pflag.NotExistError
	var bare *pflag.ValueRequiredError
	var value *pflag.InvalidValueError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &unknown):
		return errs.New(errs.Invalid, "cli.usage.flag", "name", Safe(dashed(unknown)))
	case errors.As(err, &bare):
		return errs.New(errs.Invalid, "cli.usage.flag.bare", "name", Safe(dashed(bare)))
	case errors.As(err, &value):
		return errs.New(errs.Invalid, "cli.usage.flag.value", "name", value.GetFlag().Name, "value", Safe(value.GetValue()))
	case errors.As(err, &syntax):
		return errs.New(errs.Invalid, "cli.usage.flag.syntax", "name", Safe(syntax.GetSpecifiedFlag()))
	}
	return errs.New(errs.Invalid, "cli.usage.other", "detail", Safe(err.Error()))
}

// dashed is a flag as it was typed.
func dashed(e interface {
	GetSpecifiedName() string
	GetSpecifiedShortnames() string
}) string {
	if e.GetSpecifiedShortnames() != "" {
		return "-" + e.GetSpecifiedName()
	}
	return "--" + e.GetSpecifiedName()
}
