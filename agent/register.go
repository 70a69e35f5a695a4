package agent

import (
	"cmp"
	"context"
	"strings"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// Register asks the client's server for an account, and remembers that it waits
// for its code.
func Register(ctx context.Context, st *state.State, client *wire.Client, fingerprint string, in wire.Register) (*state.Registration, wire.Registering, error) {
	out, err := client.Register(ctx, in)
	if err != nil {
		return nil, out, err
	}
	waiting := &state.Registration{Server: client.Server(), Fingerprint: fingerprint,
		Username: cmp.Or(in.Username, in.Email), Email: in.Email, Pending: out.Pending}
	return waiting, out, st.SetRegistration(waiting)
}

// ResendCode has another code mailed. A registration that the server knows no
// more is forgotten.
func ResendCode(ctx context.Context, st *state.State, client *wire.Client, waiting *state.Registration) (wire.Registering, error) {
	out, err := client.ResendCode(ctx, waiting.Pending)
	if errs.Is(err, errs.LinkExpired) {
		return out, cmp.Or(st.SetRegistration(nil), err)
	}
	if err != nil || out.Pending == "" || out.Pending == waiting.Pending {
		return out, err
	}
	waiting.Pending = out.Pending
	return out, st.SetRegistration(waiting)
}

// ConfirmRegistration gives the code that was mailed and returns the name of the
// account, which is there from now on.
func ConfirmRegistration(ctx context.Context, st *state.State, client *wire.Client, waiting *state.Registration, code string) (string, error) {
	out, err := client.ConfirmRegistration(ctx, waiting.Pending, PlainCode(code))
	if err != nil {
		return "", err
	}
	return out.Username, st.SetRegistration(nil)
}

// PlainCode is a code without what people put between its digits.
func PlainCode(s string) string { return strings.NewReplacer(" ", "", "-", "").Replace(s) }
