//go:build linux

package scripttest

import (
	"context"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/keys"
)

// apps are the authenticator apps of a script's people.
type apps struct{}

type app struct {
	secret   string
	shown    string   // the code that was read last
	recovery []string // codes on paper that are left
}

// authenticator does what somebody does in the portal who sets up an
// authenticator app and prints recovery codes: authenticator USER
func authenticator(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: authenticator USER")
	}
	ctx := context.Background()
	d := openDB(ts)
	defer d.Close()
	ring, err := keys.Open(ts.MkAbs("server-data/keys"))
	ts.Check(err)
	f := &factors.Factors{DB: d, Keys: ring, Name: "Backstay", URL: func() string { return ts.Getenv("SERVER") }}
	a := &app{}
	ts.Check(d.Write(ctx, func(tx *db.Tx) error {
		u, err := accounts.FindByUsername(ctx, tx, args[0])
		if err != nil {
			return err
		}
		by := u.Caller(access.Caller{})
		made, err := f.BeginTOTP(ctx, tx, by)
		if err != nil {
			return err
		}
		a.secret = made.Secret
		if a.shown, err = totp.GenerateCode(a.secret, tx.Now()); err != nil {
			return err
		}
		if err := f.ConfirmTOTP(ctx, tx, by, a.shown); err != nil {
			return err
		}
		a.recovery, err = f.NewRecoveryCodes(ctx, tx, by)
		return err
	}))
	ts.Value(apps{}).(map[string]*app)[args[0]] = a
}

// code waits for the next code that an authenticator app shows: code VAR USER
func code(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: code VAR USER")
	}
	a := ts.Value(apps{}).(map[string]*app)[args[1]]
	// The server takes the code of the next half minute as well: no need to wait
	// for the first one.
	at := time.Now().Add(30 * time.Second)
	if !within(70*time.Second, func() bool {
		next, err := totp.GenerateCode(a.secret, at)
		ts.Check(err)
		if next == a.shown {
			at = time.Now().Add(30 * time.Second)
			return false
		}
		a.shown = next
		return true
	}) {
		ts.Fatalf("the app shows no other code")
	}
	ts.Setenv(args[0], a.shown)
}

// recovery takes the next recovery code from the paper: recovery VAR USER
func recovery(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: recovery VAR USER")
	}
	a := ts.Value(apps{}).(map[string]*app)[args[1]]
	ts.Setenv(args[0], a.recovery[0])
	a.recovery = a.recovery[1:]
}
