package factors_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors"
)

func TestTOTPIsSetUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if key := w.confirm("123456"); key != "factor.totp.over" {
		t.Errorf("confirming what was not begun = %q", key)
	}
	first, err := w.begin(w.by)
	if err != nil {
		t.Fatal(err)
	}
	app, err := w.begin(w.by)
	if err != nil || app.Secret == first.Secret {
		t.Fatalf("beginning again: %v, the same secret", err)
	}
	pending := func() (again factors.App, err error) {
		err = w.DB.Read(t.Context(), func(tx *db.Tx) (err error) {
			again, err = w.PendingTOTP(t.Context(), tx, w.by)
			return err
		})
		return again, err
	}
	if again, err := pending(); err != nil || again != app {
		t.Errorf("PendingTOTP = %v, not what was begun", err)
	}
	u, err := url.Parse(app.URI)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Query().Get("issuer") != "Backstay: example" ||
		!strings.HasSuffix(u.Path, ":ann") || u.Query().Get("secret") != app.Secret {
		t.Errorf("URI = %s", app.URI)
	}
	if len(app.Secret) != 32 { // 160 bits
		t.Errorf("a secret of %d characters", len(app.Secret))
	}
	if key := w.confirm(w.code(first.Secret, 0)); key != "factor.code.wrong" {
		t.Errorf("confirming by the secret of before = %q", key)
	}
	// It counts only once it was confirmed.
	if s := w.of(w.user.ID); s.Any() {
		t.Errorf("before the confirmation there is %+v", s)
	}
	if _, key := w.use(w.user.ID, w.code(app.Secret, 0)); key != "factor.code.wrong" {
		t.Errorf("using what was not confirmed = %q", key)
	}
	if key := w.confirm(" " + w.code(app.Secret, 0)[:3] + " " + w.code(app.Secret, 0)[3:]); key != "" {
		t.Fatalf("confirming = %q", key)
	}
	if s := w.of(w.user.ID); !s.TOTP || !s.Any() {
		t.Errorf("after the confirmation there is %+v", s)
	}
	if _, key := w.use(w.user.ID, w.code(app.Secret, 0)); key != "factor.code.wrong" {
		t.Errorf("the code that confirmed was good again: %q", key)
	}
	if _, err := pending(); w.key(err) != "factor.totp.over" {
		t.Errorf("PendingTOTP of a confirmed app = %v", err)
	}
	if _, err := w.begin(w.by); w.key(err) != "factor.totp.exists" {
		t.Errorf("setting up another = %v", err)
	}
	if key := w.confirm(w.code(app.Secret, 1)); key != "factor.totp.over" {
		t.Errorf("confirming again = %q", key)
	}
}

func TestTOTPNeedsItsOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	by := w.by
	by.Kind = access.DeviceKind
	if _, err := w.begin(by); w.key(err) != "access.denied" && errs.KindOf(err) != errs.NotFound {
		t.Errorf("a device begins = %v", err)
	}
}

func TestTOTPSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := w.app()
	step := func(move, offset int64, want string) {
		t.Helper()
		w.now.Add(30 * move)
		factor, key := w.use(w.user.ID, w.code(secret, offset))
		if key != want || (want == "") != (factor == factors.ByTOTP) {
			t.Errorf("a code %d steps off = %q, %q, want %q", offset, factor, key, want)
		}
	}
	const wrong = "factor.code.wrong"
	step(1, 0, "")
	step(0, 0, wrong)  // twice
	step(0, -1, wrong) // older than what was used
	step(0, 1, "")     // a clock that is ahead
	step(1, 0, wrong)  // it was used already
	step(4, -2, wrong) // too old
	step(0, 2, wrong)  // too early
	step(0, -1, "")    // a clock that is behind
	step(0, 0, "")
	if _, key := w.use(w.user.ID, "000000"); key != wrong {
		t.Errorf("a guess = %q", key)
	}

	w.write(func(tx *db.Tx) error { return w.RemoveTOTP(t.Context(), tx, w.by) })
	w.write(func(tx *db.Tx) error { return w.RemoveTOTP(t.Context(), tx, w.by) }) // nothing to do
	step(2, 0, wrong)
}

// A secret that is copied into another account's row opens nothing there.
func TestTOTPSecretIsBoundToItsAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := w.app()
	bob := w.create(accounts.New{Kind: access.UserKind, Username: "bob"})
	w.write(func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO totp (user_id, secret, confirmed_at, last_step, created_at)
			SELECT $1, secret, 1, 0, 1 FROM totp WHERE user_id = $2`, bob.ID, w.user.ID)
		return err
	})
	err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := w.UseCode(t.Context(), tx, bob.ID, w.code(secret, 0))
		return err
	})
	if err == nil || errs.Find(err) != nil {
		t.Errorf("UseCode = %v, want a failure of ours", err)
	}
}

// of a hundred who have seen the same code one gets in.
func TestTOTPOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := w.app()
	code := w.code(secret, 1)
	if n := hundred(func() bool { f, _ := w.use(w.user.ID, code); return f == factors.ByTOTP }); n != 1 {
		t.Errorf("the code was good %d times", n)
	}
}

func TestQR(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app, err := w.begin(w.by)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^(M\d+ \d+h\d+v1h-\d+z)+$`).MatchString(app.QR.Path) {
		t.Errorf("the path is %.100s", app.QR.Path)
	}
	// The corner that readers look for: seven dark modules after a margin of four.
	if !strings.HasPrefix(app.QR.Path, "M4 4h7v1h-7z") || app.QR.Size < 29 || app.QR.Size%4 != 1 {
		t.Errorf("a square of %d begins with %.20s", app.QR.Size, app.QR.Path)
	}
}
