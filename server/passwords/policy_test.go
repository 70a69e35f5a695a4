package passwords_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/passwords"
)

var somebody = passwords.Context{Username: "marie.dupont", Email: "m.dupont@example.org", Org: "Société Example", Product: "Backstay"}

func broken(p passwords.Policy, password string, c passwords.Context) (names []string) {
	for _, r := range p.Check(password, c) {
		if !r.OK {
			names = append(names, r.Name)
		}
	}
	return names
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	withFactor := somebody
	withFactor.Factor = true
	for _, c := range []struct {
		policy   passwords.Policy
		password string
		context  passwords.Context
		want     string // the rules that are broken
	}{
		{passwords.Classic, "Abcdef1x", somebody, ""},
		{passwords.Classic, "Abcde1x", somebody, "length"},
		{passwords.Classic, "zwarbel1", somebody, "upper"},
		{passwords.Classic, "ZWARBEL1", somebody, "lower"},
		{passwords.Classic, "Zwarbelt", somebody, "digit"},
		{passwords.Classic, "a", somebody, "length upper digit"},
		{passwords.Classic, "", somebody, "length upper lower digit allowed"},
		{passwords.Classic, "Éàç def 1 gh", somebody, "upper"}, // A to Z, as it is written
		{passwords.Classic, "Pass word 1 ✓", somebody, ""},     // spaces and Unicode
		{passwords.Classic, " Abcdef1 ", somebody, ""},
		{passwords.Classic, `Abcdef1"`, somebody, "allowed"},
		{passwords.Classic, "Abcdef1'", somebody, "allowed"},
		{passwords.Classic, "Abcdef1<", somebody, "allowed"},
		{passwords.Classic, "Abcdef1>", somebody, "allowed"},
		{passwords.Classic, "Abcdef1&", somebody, "allowed"},
		{passwords.Classic, "Abcdef1;", somebody, "allowed"},
		{passwords.Classic, "Abcdef1;abc", somebody, "allowed"},
		{passwords.Classic, "Password1", somebody, "common"},
		{passwords.Classic, "PASSword123", somebody, "common"},
		{passwords.Classic, "Backstay2026!", somebody, "common"},
		{passwords.Classic, "123Backstay", somebody, "common"},
		{passwords.Classic, "Marie.Dupont1", somebody, "common"},
		{passwords.Classic, "M.Dupont2026", somebody, "common"},
		{passwords.Classic, "M.Dupont2026xyz", somebody, ""},
		{passwords.Classic, "M.Dupont1m.dupont1", somebody, "common"}, // names alone, however often
		{passwords.Classic, "BACKSTAYbackstay1", somebody, "common"},
		{passwords.Classic, "Backstay-M.Dupont-7", somebody, "common"},
		{passwords.Classic, "Backstay-and-M.Dupont-7", somebody, ""},
		{passwords.Classic, strings.Repeat("Abcdef1x", 8), somebody, ""}, // 64
		{passwords.Modern, "fourteen chars", somebody, "length"},
		{passwords.Modern, "fifteen letters", somebody, ""},
		{passwords.Modern, strings.Repeat("correct horse ", 5), somebody, ""},
		{passwords.Modern, "日本語日本語日本語日本語日本語", somebody, ""},
		{passwords.Modern, `<"'&;>` + "fifteen letters", somebody, ""},
		{passwords.Modern, "sevench", withFactor, "length"},
		{passwords.Modern, "eightchs", withFactor, ""},
		{passwords.Modern, "iloveyou", withFactor, "common"},
		{passwords.Modern, "ILoveYou", withFactor, "common"},
		{passwords.Modern, "Société Example", somebody, "common"},
		{passwords.Modern, "1234567812345678", somebody, "common"},
		{passwords.StrongAdmin, "Abcdef1#ghi", somebody, "length"},
		{passwords.StrongAdmin, "Abcdef1#ghij", somebody, ""},
		{passwords.StrongAdmin, "Abcdef1ghijk", somebody, "symbol"},
		{passwords.StrongAdmin, "Abcdef1 ghijk", somebody, "symbol"},
		{passwords.StrongAdmin, strings.Repeat("Abcde1#x", 8), somebody, ""},
		{passwords.StrongAdmin, strings.Repeat("Abcde1#x", 8) + "y", somebody, "length"},
	} {
		got := strings.Join(broken(c.policy, c.password, c.context), " ")
		if got != c.want {
			t.Errorf("%s, %q: breaks %q, want %q", c.policy, c.password, got, c.want)
		}
		if err := passwords.Refuse(c.policy, c.password, c.context); (err == nil) != (c.want == "") {
			t.Errorf("%s, %q: %v", c.policy, c.password, err)
		}
	}
	if err := passwords.Refuse(passwords.Modern, strings.Repeat("a", 257), somebody); errs.KindOf(err) != errs.Invalid {
		t.Errorf("257 characters: %v", err)
	}
	if err := passwords.Refuse(passwords.Modern, strings.Repeat("é", 256), somebody); err != nil {
		t.Errorf("256 characters: %v", err)
	}
}

// Classic shows its five lines, whoever looks.
func TestChecklist(t *testing.T) {
	t.Parallel()
	var names []string
	for _, r := range passwords.Classic.Check("", somebody) {
		names = append(names, r.Name)
		if r.OK {
			t.Errorf("%s holds for nothing", r.Name)
		}
	}
	if !slices.Equal(names, []string{"length", "upper", "lower", "digit", "allowed"}) {
		t.Errorf("the lines are %v", names)
	}
}

// All that is wrong is said at once, and which character it is.
func TestRefusalSaysAll(t *testing.T) {
	t.Parallel()
	err := passwords.Refuse(passwords.Classic, "a&;", somebody)
	for lang, want := range map[locale.Lang][]string{
		locale.English: {"8 characters", "capital letter", "digit", "& ;"},
		locale.French:  {"8 caractères", "majuscule", "chiffre", "& ;"},
	} {
		text := locale.For(lang).Error(err)
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q does not say %q", lang, text, part)
			}
		}
		if strings.Contains(text, "small letter") || strings.Contains(text, "minuscule") {
			t.Errorf("%s: %q names a rule that holds", lang, text)
		}
	}
}

func TestCommon(t *testing.T) {
	t.Parallel()
	if err := passwords.Load(); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"password", "12345678", "qwerty123", "PassWord1", "iloveyou"} {
		if !passwords.Common(word) {
			t.Errorf("%s is common", word)
		}
	}
	for _, word := range []string{"", "password\npassword1", "Correct horse 1", "assword1x", "\n"} {
		if passwords.Common(word) {
			t.Errorf("%q is not common", word)
		}
	}
}
