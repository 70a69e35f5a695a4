package factors_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors"
)

func TestRecoveryCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := w.NewRecoveryCodes(t.Context(), tx, w.by)
		return err
	})
	if w.key(err) != "factor.recovery.alone" {
		t.Errorf("codes without a factor = %v", err)
	}
	w.app()
	codes := w.codes()
	seen := map[string]bool{}
	for _, code := range codes {
		if !regexp.MustCompile(`^([0-9A-HJKMNP-TV-Z]{4}-){2}[0-9A-HJKMNP-TV-Z]{4}$`).MatchString(code) || seen[code] {
			t.Errorf("a code %s", code)
		}
		seen[code] = true
	}
	if len(codes) != 10 || w.of(w.user.ID).RecoveryLeft != 10 {
		t.Errorf("%d codes, %d left", len(codes), w.of(w.user.ID).RecoveryLeft)
	}

	bob := w.create(accounts.New{Kind: access.UserKind, Username: "bob"})
	if _, key := w.use(bob.ID, codes[0]); key != "factor.code.wrong" {
		t.Errorf("somebody else's code = %q", key)
	}
	for i, typed := range []string{
		codes[0],
		" " + strings.ToLower(codes[1]) + " ",
		strings.ReplaceAll(codes[2], "-", ""),
		strings.ReplaceAll(strings.ReplaceAll(codes[3], "0", "o"), "1", "l"),
		strings.ReplaceAll(strings.ReplaceAll(codes[4], "0", "O"), "1", "I"),
	} {
		if factor, key := w.use(w.user.ID, typed); factor != factors.ByRecovery {
			t.Errorf("code %d typed as %q = %q", i, typed, key)
		}
		if _, key := w.use(w.user.ID, typed); key != "factor.code.wrong" {
			t.Errorf("code %d once more = %q", i, key)
		}
	}
	if left := w.of(w.user.ID).RecoveryLeft; left != 5 {
		t.Errorf("%d codes are left, want 5", left)
	}
	for _, typed := range []string{"", "-", codes[5][:13], codes[5] + "0", "!!!!-!!!!-!!!!"} {
		if _, key := w.use(w.user.ID, typed); key != "factor.code.wrong" {
			t.Errorf("%q = %q", typed, key)
		}
	}

	again := w.codes()
	if _, key := w.use(w.user.ID, codes[9]); key != "factor.code.wrong" {
		t.Errorf("a code of the set before = %q", key)
	}
	if factor, _ := w.use(w.user.ID, again[9]); factor != factors.ByRecovery {
		t.Error("a new code was refused")
	}

	// They stand in for a factor, and go with the last one.
	w.write(func(tx *db.Tx) error { return w.RemoveTOTP(t.Context(), tx, w.by) })
	if left := w.of(w.user.ID).RecoveryLeft; left != 0 {
		t.Errorf("%d codes are left of an account without a factor", left)
	}
}

// of a hundred who have found the same paper one gets in.
func TestRecoveryCodeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app()
	code := w.codes()[0]
	if n := hundred(func() bool { f, _ := w.use(w.user.ID, code); return f == factors.ByRecovery }); n != 1 {
		t.Errorf("the code was good %d times", n)
	}
	if left := w.of(w.user.ID).RecoveryLeft; left != 9 {
		t.Errorf("%d codes are left, want 9", left)
	}
}
