package cli

import (
	"testing"
	"unicode"

	"github.com/spf13/pflag"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
)

func TestFlagError(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{
		"--nothing":    "There is no option --nothing here.",
		"-vx":          "There is no option -x here.",
		"--a\x1b[2J=x": `There is no option --a\x1b[2J here.`,
		"--to":         "--to needs a value.",
		"-vt":          "-t needs a value.",
		"--json=maybe": "--json does not take maybe.",
		"-n=\x1b":      `--number does not take \x1b.`,
		"--=x":         "--=x is not an option: write --NAME or --NAME=VALUE.",
	} {
		flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
		flags.BoolP("verbose", "v", false, "")
		flags.StringP("to", "t", "", "")
		flags.Bool("json", false, "")
		flags.IntP("number", "n", 0, "")
		err := FlagError(flags.Parse([]string{arg}))
		if got := locale.For(locale.English).Error(err); got != want || errs.KindOf(err) != errs.Invalid {
			t.Errorf("%q: %q, want %q", arg, got, want)
		}
	}
}

func TestSafe(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"report.odt":                 "report.odt",
		"d\u00e9j\u00e0 vu":          "d\u00e9j\u00e0 vu",
		"a\x1b[31mred":               `a\x1b[31mred`,
		"bell\a\r\n\t":               `bell\a\r\n\t`,
		"csi\u009b31m":               `csi\u009b31m`,
		"abc\u202etxt.exe":           `abc\u202etxt.exe`,
		"iso\u2066late":              `iso\u2066late`,
		"caf\xe9":                    `caf\xe9`,
		`back\slash`:                 `back\\slash`,
		"\u65e5\u672c\u8a9e":         "\u65e5\u672c\u8a9e",
		"no\u00a0break":              "no\u00a0break",
		"\U0001f469\u200d\U0001f4bb": "\U0001f469\u200d\U0001f4bb",
		"zero\u200bwidth":            `zero\u200bwidth`,
	} {
		got := Safe(in)
		if got != want {
			t.Errorf("Safe(%q) = %q, want %q", in, got, want)
		}
		for _, r := range got {
			if unicode.IsControl(r) {
				t.Errorf("Safe(%q) lets %U through", in, r)
			}
		}
	}
}
