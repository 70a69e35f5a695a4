package devices_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/devices"
)

func (w *world) challenge(id devices.ID) []byte {
	return devices.NewChallenge(w.Ring, w.DB.Now(), id)
}

func sign(key ed25519.PrivateKey, device devices.ID, store backup.UUID, challenge []byte) []byte {
	id, _ := backup.ParseUUID(string(device))
	return crypt.Sign(key, "token", append(append(append([]byte{}, id[:]...), store[:]...), challenge...))
}

func (w *world) prove(id devices.ID, challenge, signature []byte) (string, error) {
	w.Helper()
	token, _, err := devices.Prove(w.Context(), w.DB, w.Ring, store, id, challenge, signature, from)
	return token, err
}

// token is a good one.
func (w *world) token(d devices.Device, c computer) string {
	w.Helper()
	challenge := w.challenge(d.ID)
	token, err := w.prove(d.ID, challenge, sign(c.signing, d.ID, store, challenge))
	if err != nil {
		w.Fatal(err)
	}
	return token
}

func verify(t *testing.T, d *db.DB, token string) (c access.Caller, err error) {
	t.Helper()
	err = d.Read(t.Context(), func(tx *db.Tx) error {
		c, err = devices.Verify(t.Context(), tx, token, from)
		return err
	})
	return c, err
}

func TestProve(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, c := w.device(w.una, "one")
	other, oc := w.device(w.una, "two")
	token := w.token(d, c)
	got, err := verify(t, w.DB, token)
	want := access.Caller{Kind: access.DeviceKind, User: w.una.ID, Org: w.Org.ID, Device: d.ID, Name: "one", Computer: d.CertSerial, IP: from.IP, RequestID: from.RequestID}
	if err != nil || got != want {
		t.Errorf("Verify = %+v, %v; want %+v", got, err, want)
	}

	used := w.challenge(d.ID)
	if _, err := w.prove(d.ID, used, sign(c.signing, d.ID, store, used)); err != nil {
		t.Fatal(err)
	}
	tried := w.challenge(d.ID)
	if _, err := w.prove(d.ID, tried, make([]byte, 64)); errs.KindOf(err) != errs.Unauthenticated {
		t.Fatalf("a wrong signature: %v", err)
	}
	fresh, of := w.challenge(d.ID), w.challenge(other.ID)
	own := make([]byte, 32)
	later := slices.Clone(fresh)
	later[4]++ // a part of when it ends
	for name, a := range map[string]struct {
		id                   devices.ID
		challenge, signature []byte
	}{
		"a challenge again":            {d.ID, used, sign(c.signing, d.ID, store, used)},
		"a challenge that was tried":   {d.ID, tried, sign(c.signing, d.ID, store, tried)},
		"one of its own":               {d.ID, own, sign(c.signing, d.ID, store, own)},
		"another device's challenge":   {d.ID, of, sign(c.signing, d.ID, store, of)},
		"one that ends later":          {d.ID, later, sign(c.signing, d.ID, store, later)},
		"another device's key":         {d.ID, fresh, sign(oc.signing, d.ID, store, fresh)},
		"no signature":                 {d.ID, w.challenge(d.ID), nil},
		"a challenge that is too long": {d.ID, append(w.challenge(d.ID), 0), make([]byte, 64)},
		"an unknown device":            {devices.ID("01890000-0000-7000-8000-000000000000"), w.challenge("01890000-0000-7000-8000-000000000000"), make([]byte, 64)},
		"no device":                    {"x' OR 1=1", own, make([]byte, 64)},
	} {
		if token, err := w.prove(a.id, a.challenge, a.signature); errs.KindOf(err) != errs.Unauthenticated || token != "" {
			t.Errorf("%s: %v, want Unauthenticated", name, err)
		}
	}
	for name, a := range map[string]struct {
		device devices.ID
		store  backup.UUID
		kind   string
	}{"for another vault": {d.ID, backup.UUID{9}, "token"}, "for another device": {other.ID, store, "token"}, "of another kind": {d.ID, store, "manifest"}} {
		challenge := w.challenge(d.ID)
		id, _ := backup.ParseUUID(string(a.device))
		signature := crypt.Sign(c.signing, a.kind, append(append(append([]byte{}, id[:]...), a.store[:]...), challenge...))
		if _, err := w.prove(d.ID, challenge, signature); errs.KindOf(err) != errs.Unauthenticated {
			t.Errorf("a signature %s: %v, want Unauthenticated", name, err)
		}
	}
	w.Read(func(tx *db.Tx) error {
		rows, err := audit.List(t.Context(), tx, system, audit.Filter{Object: "device/" + string(d.ID), Action: access.Login, Outcome: audit.Refuse})
		if err != nil || len(rows) == 0 || rows[0].IP != from.IP {
			t.Errorf("audit: %d rows, %v", len(rows), err)
		}
		return err
	})
}

// What was used up stays so, whatever happens to the device meanwhile, and
// asking for a challenge leaves nothing behind.
func TestUsedChallengesStayUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, c := w.device(w.una, "one")
	used := w.challenge(d.ID)
	signature := sign(c.signing, d.ID, store, used)
	if _, err := w.prove(d.ID, used, signature); err != nil {
		t.Fatal(err)
	}
	for _, state := range []devices.State{devices.Disabled, devices.Active} {
		w.Write(func(tx *db.Tx) error { return devices.SetState(t.Context(), tx, system, d.ID, state, "test") })
	}
	if _, err := w.prove(d.ID, used, signature); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("a used challenge after the device was stopped and started: %v, want Unauthenticated", err)
	}
	for range 3 {
		w.challenge(d.ID)
	}
	var kept int
	w.Read(func(tx *db.Tx) error {
		return tx.QueryRow(t.Context(), "SELECT count(*) FROM device_challenges").Scan(&kept)
	})
	if kept != 1 {
		t.Errorf("%d challenges are kept, want the used one", kept)
	}
}

func TestTimesOfProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	d, c := w.device(w.una, "one")
	for _, s := range []struct {
		wait time.Duration
		ok   bool
	}{{time.Minute - time.Microsecond, true}, {time.Minute, false}} {
		challenge := w.challenge(d.ID)
		move(s.wait)
		if _, err := w.prove(d.ID, challenge, sign(c.signing, d.ID, store, challenge)); (err == nil) != s.ok {
			t.Errorf("after %v: %v, want a token %v", s.wait, err, s.ok)
		}
	}
	token := w.token(d, c)
	move(15*time.Minute - time.Microsecond)
	if _, err := verify(t, w.DB, token); err != nil {
		t.Errorf("a token just before its end: %v", err)
	}
	move(time.Microsecond)
	if _, err := verify(t, w.DB, token); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("a token after its end: %v", err)
	}
	var n int64
	w.Write(func(tx *db.Tx) (err error) {
		n, err = devices.Expire(t.Context(), tx)
		return err
	})
	if n != 4 { // two challenges that were used, and two tokens
		t.Errorf("Expire deleted %d, want 4", n)
	}
}

// A hundred uses of one challenge at the same time, on two servers, give one token.
func TestChallengeIsForOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, c := w.device(w.una, "one")
	second := dbtest.Open(t, w.DSN)
	challenge := w.challenge(d.ID)
	signature := sign(c.signing, d.ID, store, challenge)
	var given atomic.Int64
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			on := []*db.DB{w.DB, second}[i%2]
			_, _, err := devices.Prove(t.Context(), on, w.Ring, store, d.ID, challenge, signature, from)
			switch {
			case err == nil:
				given.Add(1)
			case errs.KindOf(err) != errs.Unauthenticated && !errs.Is(err, errs.ServerBusy):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if given.Load() != 1 {
		t.Errorf("%d tokens for one challenge", given.Load())
	}
}

func TestWrongTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, c := w.device(w.una, "one")
	token := w.token(d, c)
	if len(token) != 47 || !strings.HasPrefix(token, "bsa_") {
		t.Errorf("the token is %q", token)
	}
	var stored []byte
	w.Read(func(tx *db.Tx) error {
		return tx.QueryRow(t.Context(), "SELECT token FROM device_tokens").Scan(&stored)
	})
	last := token[len(token)-1]
	for name, bad := range map[string]string{
		"cut": token[:46], "longer": token + "A", "in upper case": strings.ToUpper(token), "with a space": token + " ",
		"without its prefix": token[4:], "of a user": "bsu_" + token[4:], "padded": token + "=", "empty": "",
		"as it is stored":             "bsa_" + base64.RawURLEncoding.EncodeToString(stored),
		"another spelling of the end": token[:46] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[alphabet(last)^1]),
	} {
		if _, err := verify(t, w.DB, bad); errs.KindOf(err) != errs.Unauthenticated {
			t.Errorf("a token %s: %v, want Unauthenticated", name, err)
		}
	}
}

func alphabet(b byte) int {
	return strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", b)
}

// What is revoked on one server is refused on another from the next request on,
// whether it shows its token or its key.
func TestRevocation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		revoke func(w *world, d devices.Device) error
		back   func(w *world, d devices.Device) error // when there is a way
		kind   errs.Kind
		code   errs.Code
	}{
		{"deactivated", func(w *world, d devices.Device) error { return w.setState(system, d.ID, devices.Deactivated) }, nil, errs.Forbidden, errs.DeviceDeactivated},
		{"by its user", func(w *world, d devices.Device) error {
			return w.setState(w.una.Caller(from), d.ID, devices.Deactivated)
		}, nil, errs.Forbidden, errs.DeviceDeactivated},
		{"deleted", func(w *world, d devices.Device) error { return w.setState(system, d.ID, devices.Deleted) }, nil, errs.Forbidden, errs.DeviceDeactivated},
		{"disabled", func(w *world, d devices.Device) error { return w.setState(system, d.ID, devices.Disabled) },
			func(w *world, d devices.Device) error { return w.setState(system, d.ID, devices.Active) }, errs.Forbidden, ""},
		{"its user disabled", userState(accounts.Disabled), userState(accounts.Active), errs.Forbidden, errs.AccountDisabled},
		{"its user preserved", userState(accounts.Preserved), userState(accounts.Active), errs.Forbidden, errs.AccountPreserved},
		{"its user deleted", userState(accounts.Deleted), nil, errs.Forbidden, errs.DeviceDeactivated},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			second := dbtest.Open(t, w.DSN)
			d, computer := w.device(w.una, "one")
			token := w.token(d, computer)
			var userToken string
			w.Write(func(tx *db.Tx) (err error) {
				userToken, _, err = accounts.IssueToken(t.Context(), tx, system, w.una, d.ID, time.Time{})
				return err
			})
			open := w.challenge(d.ID)
			if _, err := verify(t, second, token); err != nil {
				t.Fatal(err)
			}
			if err := c.revoke(w, d); err != nil {
				t.Fatal(err)
			}
			caller, err := verify(t, second, token)
			if e := errs.Find(err); e == nil || e.Kind != c.kind || e.Code != c.code {
				t.Errorf("with its token: %v, want %s", err, c.code)
			}
			if caller.Device != d.ID {
				t.Error("the refusal does not know whom it refuses")
			}
			challenge := w.challenge(d.ID)
			_, err = w.prove(d.ID, challenge, sign(computer.signing, d.ID, store, challenge))
			if e := errs.Find(err); e == nil || e.Kind != c.kind || e.Code != c.code {
				t.Errorf("with its key: %v, want %s", err, c.code)
			}
			if _, err := w.prove(d.ID, open, sign(computer.signing, d.ID, store, open)); err == nil {
				t.Error("a challenge of before gave a token")
			}
			w.Read(func(tx *db.Tx) error {
				if _, err := accounts.FindToken(t.Context(), tx, userToken, d.ID, from); errs.KindOf(err) != errs.Unauthenticated {
					t.Errorf("its user's token: %v, want Unauthenticated", err)
				}
				return nil
			})
			if c.back == nil {
				return
			}
			if err := c.back(w, d); err != nil {
				t.Fatal(err)
			}
			if _, err := verify(t, second, w.token(d, computer)); err != nil {
				t.Errorf("back again: %v", err)
			}
		})
	}
}

func userState(to accounts.State) func(*world, devices.Device) error {
	return func(w *world, d devices.Device) error {
		return w.DB.Write(w.Context(), func(tx *db.Tx) error {
			return accounts.SetState(w.Context(), tx, system, d.User, to, "for the test of this")
		})
	}
}

// A token of before does not come back to life with the device.
func TestOldTokenStaysDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, c := w.device(w.una, "one")
	token := w.token(d, c)
	for _, to := range []devices.State{devices.Disabled, devices.Active} {
		if err := w.setState(system, d.ID, to); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := verify(t, w.DB, token); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("got %v, want Unauthenticated", err)
	}
}
