package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/wire"
)

// device makes a call of a device out of one that shows its token.
func (a *API) device(c call) call {
	return func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		err := a.DB.Peek(r.Context(), func(tx *db.Tx) (err error) {
			by, err = devices.Verify(r.Context(), tx, bearer(r), by)
			return err
		})
		if err == nil {
			err = c(w, r.WithContext(access.WithCaller(r.Context(), by)), by)
		}
		return refusalOf(err, by, access.Backup)
	}
}

// user makes a call of a user at their device out of one that shows the tokens
// of both.
func (a *API) user(c call) call {
	return a.device(func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		device := by
		err := a.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
			token := r.Header.Get(wire.HeaderUserToken)
			if strings.HasPrefix(token, devices.RestorePrefix) {
				by, err = devices.FindGrant(r.Context(), tx, token, device)
			} else {
				by, err = accounts.FindToken(r.Context(), tx, token, device.Device, device)
			}
			return err
		})
		if err != nil {
			return refusalOf(err, device, access.ReadOwnData)
		}
		return refusalOf(c(w, r.WithContext(access.WithCaller(r.Context(), by)), by), by, access.ReadOwnData)
	})
}

// unlocked makes a call that shows or restores something on a device one that is
// refused while the device is locked.
func (a *API) unlocked(c call) call {
	return func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		err := a.DB.Read(r.Context(), func(tx *db.Tx) error { return devices.Unlocked(r.Context(), tx, by) })
		if err != nil {
			return err
		}
		return c(w, r, by)
	}
}

// refusalOf makes the failure of a caller who is known one that can be recorded,
// unless it is one already.
func refusalOf(err error, by access.Caller, action access.Action) error {
	if err == nil || by.Device == "" || errors.As(err, new(*refusal)) {
		return err
	}
	return &refusal{err, by, action, "device/" + string(by.Device)}
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

func (a *API) activate(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.Activate
	if err := read(w, r, &in); err != nil {
		return err
	}
	in.RequestID = cmp.Or(in.RequestID, r.Header.Get(idempotencyKey))
	u, err := a.Gate.Login(r.Context(), by, signin.Attempt{Portal: accounts.ToClient, Identifier: in.Username, Password: in.Password, Code: in.SecondFactor})
	if err != nil {
		return err
	}
	by = u.Caller(by)
	out, err := a.activated(r.Context(), func(tx *db.Tx) (devices.Activated, error) {
		return devices.Activate(r.Context(), tx, by, a.Keys, u, devices.Activation{
			RequestID: in.RequestID, Name: in.Name, RenameIfTaken: in.RenameIfTaken, Hardware: in.Hardware,
			ClientVersion: in.ClientVersion, System: in.System, SigningKey: in.SigningKey, EnrolmentKey: in.EnrolmentKey, Previous: in.Previous,
		})
	})
	if err != nil {
		return &refusal{err, by, access.Activate, "user/" + string(u.ID)}
	}
	return answer(w, http.StatusCreated, out)
}

func message(p profiles.Effective) (wire.Profile, error) {
	settings, err := json.Marshal(p.Settings)
	if err != nil {
		return wire.Profile{}, fmt.Errorf("encoding profile %s: %w", p.ID, err)
	}
	return wire.Profile{Version: p.Version, Name: p.Name, Settings: settings}, nil
}

func (a *API) challenge(w http.ResponseWriter, r *http.Request, _ access.Caller) error {
	var in wire.ChallengeRequest
	if err := read(w, r, &in); err != nil {
		return err
	}
	return answer(w, http.StatusOK, wire.Challenge{Challenge: devices.NewChallenge(a.Keys, a.DB.Now(), devices.ID(in.DeviceID))})
}

func (a *API) token(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.TokenRequest
	if err := read(w, r, &in); err != nil {
		return err
	}
	if err := a.held(r, in); err != nil {
		return err
	}
	token, expires, err := devices.Prove(r.Context(), a.DB, a.Keys, a.Vault.StoreID(), devices.ID(in.DeviceID), in.Challenge, in.Signature, by)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, wire.Token{Token: token, ExpiresAt: expires})
}

// userToken asks for the password of the device's user, and for a second factor
// of who has one, unless a token that is still good was given for it today.
func (a *API) userToken(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.UserTokenRequest
	if err := read(w, r, &in); err != nil {
		return err
	}
	factorAt, err := a.factorBefore(r, by)
	if err != nil {
		return err
	}
	var u accounts.User
	if factorAt.IsZero() {
		u, err = a.Gate.Confirm(r.Context(), by, accounts.ToClient, by.User, in.Password, in.SecondFactor)
	} else {
		u, err = a.Gate.ConfirmAgain(r.Context(), by, by.User, in.Password)
	}
	if err != nil {
		return recorded{err}
	}
	var out wire.Token
	err = a.DB.Write(r.Context(), func(tx *db.Tx) error {
		has, err := factors.Of(r.Context(), tx, u.ID)
		if err != nil {
			return err
		}
		if has.Any() && factorAt.IsZero() {
			factorAt = tx.Now()
		}
		out.Token, out.ExpiresAt, err = accounts.IssueToken(r.Context(), tx, by, u, by.Device, factorAt)
		return err
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, out)
}

// factorBefore is when the second factor was given that the user token in a
// request stands for, zero when it is to be asked for: it lasts as long as a
// login on a page does.
func (a *API) factorBefore(r *http.Request, by access.Caller) (at time.Time, err error) {
	err = a.DB.Read(r.Context(), func(tx *db.Tx) error {
		s, err := settings.Load(r.Context(), tx)
		if err != nil {
			return err
		}
		at, err = accounts.TokenFactor(r.Context(), tx, r.Header.Get(wire.HeaderUserToken), by.User, by.Device)
		if !tx.Now().Before(at.Add(time.Duration(s.SignIn.UserAbsoluteMinutes) * time.Minute)) {
			at = time.Time{}
		}
		return err
	})
	return at, err
}

// recorded is a refusal that the feature has recorded itself.
type recorded struct{ error }

func (r recorded) Unwrap() error { return r.error }

func (a *API) profile(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var p profiles.Effective
	err := a.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		p, err = devices.Profile(r.Context(), tx, by)
		return err
	})
	if err != nil {
		return err
	}
	err = a.DB.Write(r.Context(), func(tx *db.Tx) error { return devices.Fetched(r.Context(), tx, by, p.Version) })
	if err != nil {
		return err
	}
	tag := strconv.Quote(strconv.FormatInt(p.Version, 10))
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	out, err := message(p)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, out)
}

func (a *API) status(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.Status
	if err := read(w, r, &in); err != nil {
		return err
	}
	d, err := devices.Report(r.Context(), a.DB, a.Keys, by, in)
	if err != nil {
		return err
	}
	out := wire.StatusAnswer{ServerTime: a.DB.Now().UTC().Truncate(time.Millisecond)}
	err = a.DB.Peek(r.Context(), func(tx *db.Tx) error {
		u, err := accounts.Find(r.Context(), tx, by.User)
		if err != nil {
			return err
		}
		p, err := profiles.Of(r.Context(), tx, u)
		if err != nil {
			return err
		}
		out.ProfileVersion = p.Version
		if out.Quota, err = quotaOf(r.Context(), tx, u, p); err != nil {
			return err
		}
		return devices.Told(r.Context(), tx, d, &out)
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, out)
}

func (a *API) beginRestore(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var out wire.RestoreGrant
	err := a.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		out, err = devices.BeginRestore(r.Context(), tx, by)
		return err
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, out)
}

// quotaOf is a user's quota as devices show it, nil when there is none.
func quotaOf(ctx context.Context, tx *db.Tx, u accounts.User, p profiles.Effective) (*wire.Quota, error) {
	if !devices.Limited(u, p) {
		return nil, nil
	}
	q, err := devices.QuotaUnder(ctx, tx, u, p)
	if err != nil {
		return nil, err
	}
	return &wire.Quota{LimitBytes: q.Limit, UsedBytes: q.Used}, nil
}

func (a *API) outcome(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	number, err := strconv.ParseInt(r.PathValue("number"), 10, 64)
	if err != nil {
		return errs.New(errs.NotFound, "device.request.unknown")
	}
	var in wire.Outcome
	if err := read(w, r, &in); err != nil {
		return err
	}
	err = a.DB.Write(r.Context(), func(tx *db.Tx) error { return devices.Answer(r.Context(), tx, by, number, in) })
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
