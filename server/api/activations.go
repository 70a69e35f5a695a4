package api

import (
	"cmp"
	"context"
	"net/http"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/wire"
)

// idempotencyKey is the header in which scripts may say the number of a request
// that is repeated, in place of request_id.
const idempotencyKey = "Idempotency-Key"

// beginActivation proves who a computer is to be activated for.
func (a *API) beginActivation(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.BeginActivation
	if err := read(w, r, &in); err != nil {
		return err
	}
	in.RequestID = cmp.Or(in.RequestID, r.Header.Get(idempotencyKey))
	if in.Token != "" {
		return a.beginDeployed(w, r, by, in)
	}
	prove := a.byPassword
	if in.ActivationKey != "" {
		prove = a.byKey
	}
	u, b, err := prove(r.Context(), by, in)
	if err != nil {
		return err
	}
	by = u.Caller(by)
	var out wire.Activation
	err = a.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		out, err = devices.Begin(r.Context(), tx, by, a.Keys, u, b)
		return err
	})
	if err != nil {
		return &refusal{err, by, access.Activate, "user/" + string(u.ID)}
	}
	return answer(w, http.StatusCreated, out)
}

func (a *API) byPassword(ctx context.Context, by access.Caller, in wire.BeginActivation) (accounts.User, devices.Beginning, error) {
	u, err := a.Gate.Login(ctx, by, signin.Attempt{Portal: accounts.ToClient, Identifier: in.Username, Password: in.Password, Code: in.SecondFactor})
	return u, beginning(in, devices.ByPassword), err
}

// byKey uses up a try of an activation key, whatever comes of it.
func (a *API) byKey(ctx context.Context, _ access.Caller, in wire.BeginActivation) (u accounts.User, b devices.Beginning, err error) {
	b = beginning(in, devices.ByKey)
	err = a.DB.Write(ctx, func(tx *db.Tx) error {
		var k devices.Key
		u, k, err = devices.TryKey(ctx, tx, in.ActivationKey)
		b.Credential, b.Choice, b.Target = k.ID, k.Choice, k.Device
		return err
	})
	return u, b, err
}

func beginning(in wire.BeginActivation, proof devices.Proof) devices.Beginning {
	return devices.Beginning{RequestID: in.RequestID, Hardware: in.Hardware, ClientVersion: in.ClientVersion, System: in.System,
		SigningKey: in.SigningKey, Previous: in.Previous, Proof: proof}
}

func (a *API) previewActivation(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.PreviewActivation
	if err := read(w, r, &in); err != nil {
		return err
	}
	var out wire.Preview
	err := a.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		out, err = devices.Preview(r.Context(), tx, by, in)
		return err
	})
	if err != nil {
		return a.activating(r.Context(), by, in.Activation, err)
	}
	return answer(w, http.StatusOK, out)
}

func (a *API) finishActivation(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.FinishActivation
	if err := read(w, r, &in); err != nil {
		return err
	}
	out, err := a.activated(r.Context(), func(tx *db.Tx) (devices.Activated, error) {
		return devices.Finish(r.Context(), tx, by, a.Keys, in)
	})
	if err != nil {
		return a.activating(r.Context(), by, in.Activation, err)
	}
	return answer(w, http.StatusCreated, out)
}

// activating makes a failure one of whom the activation is for, so that it can
// be recorded.
func (a *API) activating(ctx context.Context, by access.Caller, token string, err error) error {
	failed := a.DB.Read(ctx, func(tx *db.Tx) (err error) {
		by, err = devices.Activating(ctx, tx, by, token)
		return err
	})
	if failed != nil {
		return err
	}
	return &refusal{err, by, access.Activate, "user/" + string(by.User)}
}

// activated makes a device, and the answer that tells it who it is. A device
// that waits for an administrator is made and told so.
func (a *API) activated(ctx context.Context, activate func(*db.Tx) (devices.Activated, error)) (out wire.Activated, err error) {
	var waits bool
	err = a.DB.Write(ctx, func(tx *db.Tx) error {
		done, err := activate(tx)
		if err != nil {
			return err
		}
		waits = done.Device.State == devices.Waiting
		if done.Choice == wire.Replace {
			if err := vault.Abandon(ctx, tx, done.Device.ID); err != nil {
				return err
			}
		}
		out, err = a.describe(ctx, tx, done)
		return err
	})
	if err == nil && waits {
		err = errs.New(errs.Forbidden, "device.waiting")
	}
	return out, err
}

func (a *API) describe(ctx context.Context, tx *db.Tx, done devices.Activated) (wire.Activated, error) {
	d, u := done.Device, done.User
	org, err := orgs.Find(ctx, tx, u.Org)
	if err != nil {
		return wire.Activated{}, err
	}
	p, err := profiles.Of(ctx, tx, u)
	if err != nil {
		return wire.Activated{}, err
	}
	if err := devices.Fetched(ctx, tx, access.Caller{Device: d.ID}, p.Version); err != nil {
		return wire.Activated{}, err
	}
	out := wire.Activated{
		DeviceID: string(d.ID), DeviceName: d.Name, SetID: done.Set,
		UserID: string(u.ID), Username: u.Username, OrgID: string(u.Org), StoreID: a.Vault.StoreID().Hex(),
		KeyGen: u.Keys.Gen, Epoch: done.Epoch, ScopeID: string(u.ID), UserKey: u.Keys.PublicKey,
		SealedSecrets: done.Secrets, DeviceCert: d.Cert, UserCert: u.Keys.Cert, OrgRecord: org.Record,
		Choice: done.Choice, RootEpoch: d.RootEpoch, Restore: done.Restore, OldOS: done.Before.OS, OldHome: done.Before.OSHome,
	}
	if d.Choices != nil {
		out.Choices = d.Choices.Encode()
	}
	if out.Quota, err = quotaOf(ctx, tx, u, p); err != nil {
		return wire.Activated{}, err
	}
	out.Profile, err = message(p)
	return out, err
}
