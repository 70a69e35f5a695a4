package api

import (
	"net/http"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/wire"
)

// resendAfter is how long after a code the next one may be asked for.
const resendAfter = time.Minute

// settings reads what administrators have set.
func (a *API) settings(r *http.Request) (s settings.Settings, err error) {
	err = a.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		s, err = settings.Load(r.Context(), tx)
		return err
	})
	return s, err
}

// signIn tells what there is for somebody who is not known yet.
func (a *API) signIn(w http.ResponseWriter, r *http.Request, _ access.Caller) error {
	s, err := a.settings(r)
	if err != nil {
		return err
	}
	policy := passwords.Policy(s.SignIn.UserPolicy)
	out := wire.SignIn{
		Registration: s.Registration.Mode, SerialRequired: s.Registration.Mode == settings.RegistrationSerial,
		PasswordPolicy: wire.PasswordPolicy{Name: string(policy)},
	}
	for _, rule := range policy.Rules(passwords.Context{}) {
		out.PasswordPolicy.Rules = append(out.PasswordPolicy.Rules, line(rule.Key, rule.Args))
	}
	return answer(w, http.StatusOK, out)
}

// line is a line of a policy's checklist: a message and its values.
func line(key string, args []any) wire.PasswordRule {
	return wire.PasswordRule{Key: key, Data: errs.New(errs.Invalid, key, args...).Args}
}

func (a *API) discover(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.Discover
	if err := read(w, r, &in); err != nil {
		return err
	}
	method, err := a.Gate.Discover(r.Context(), by, in.Identifier)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, wire.Discovered{
		SignInMethod: wire.SignInMethod{Method: method}, Alternatives: []wire.SignInMethod{},
	})
}

func (a *API) register(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.Register
	if err := read(w, r, &in); err != nil {
		return err
	}
	if in.Password == "" {
		// Without one, the way is that of the web: a link in place of a code.
		return errs.New(errs.Invalid, "user.password.short", "n", 8)
	}
	pending, err := a.Gate.Register(r.Context(), by, signin.Registration{
		Email: in.Email, Username: in.Username, FirstName: in.FirstName, LastName: in.LastName,
		Serial: in.Serial, Password: in.Password, Language: in.Language,
	})
	if err != nil {
		return err
	}
	return a.registering(w, r, http.StatusAccepted, pending, resendAfter)
}

func (a *API) resendCode(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.ResendCode
	if err := read(w, r, &in); err != nil {
		return err
	}
	wait, err := a.Gate.ResendCode(r.Context(), by, in.Pending)
	if err != nil {
		return err
	}
	return a.registering(w, r, http.StatusOK, in.Pending, wait)
}

func (a *API) registering(w http.ResponseWriter, r *http.Request, status int, pending string, wait time.Duration) error {
	s, err := a.settings(r)
	if err != nil {
		return err
	}
	return answer(w, status, wire.Registering{
		Pending: pending, ResendAfter: int((wait + time.Second - 1) / time.Second), CodeMinutes: s.SignIn.CodeMinutes,
	})
}

func (a *API) confirmRegistration(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.ConfirmRegistration
	if err := read(w, r, &in); err != nil {
		return err
	}
	u, err := a.Gate.ConfirmRegistration(r.Context(), by, in.Pending, in.Code)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, wire.Registered{Username: u.Username})
}

// nothing is the answer of calls that tell nothing.
type nothing struct{}

func (a *API) forgotPassword(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.ForgotPassword
	if err := read(w, r, &in); err != nil {
		return err
	}
	if err := a.Gate.ForgotPassword(r.Context(), by, in.Username); err != nil {
		return err
	}
	return answer(w, http.StatusAccepted, nothing{})
}

func (a *API) forgotUsername(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.ForgotUsername
	if err := read(w, r, &in); err != nil {
		return err
	}
	if err := a.Gate.ForgotUsername(r.Context(), by, in.Email); err != nil {
		return err
	}
	return answer(w, http.StatusAccepted, nothing{})
}

func (a *API) replacePassword(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.ReplacePassword
	if err := read(w, r, &in); err != nil {
		return err
	}
	if _, err := a.Gate.ReplaceWithCode(r.Context(), by, in.Username, in.Password, in.NewPassword, in.SecondFactor); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// changePassword changes the password of the device's user.
func (a *API) changePassword(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.ChangePassword
	if err := read(w, r, &in); err != nil {
		return err
	}
	if err := a.Gate.ChangeAtClient(r.Context(), by, in.Password, in.NewPassword, in.SecondFactor); err != nil {
		return recorded{err}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
