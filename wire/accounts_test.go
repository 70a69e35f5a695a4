package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// A password and a code are sent as often as somebody gives them, and no more:
// each counts. The device's own token is not what is wrong with them.
func TestCodesAreSentOnce(t *testing.T) {
	t.Parallel()
	var tokens atomic.Int64
	var sent []wire.UserTokenRequest
	var before []string
	mux := device(&tokens)
	mux.HandleFunc("POST /agent/v1/user-token", func(w http.ResponseWriter, r *http.Request) {
		var in wire.UserTokenRequest
		json.NewDecoder(r.Body).Decode(&in)
		sent = append(sent, in)
		before = append(before, r.Header.Get(wire.HeaderUserToken))
		switch in.SecondFactor {
		case "":
			refuse(w, 401, wire.Problem{Key: "login.second_factor", Data: map[string]any{"methods": []string{"totp", "recovery"}}})
		case "1":
			refuse(w, 401, wire.Problem{Key: "factor.code.wrong"})
		default:
			answer(w, wire.Token{Token: "bsu_x", ExpiresAt: time.Now().Add(time.Hour)})
		}
	})
	c := client(t, serve(t, mux))
	if _, err := c.Login(context.Background(), "password", nil); !wire.NeedsCode(err) || !slices.Equal(wire.FactorMethods(err), []string{"totp", "recovery"}) {
		t.Errorf("with nobody to ask, Login = %v", err)
	}
	codes := []string{"1", "2"}
	_, err := c.Login(context.Background(), "password", func(_ context.Context, why error) (string, error) {
		if !wire.NeedsCode(why) {
			t.Errorf("asked because of %v", why)
		}
		code := codes[0]
		codes = codes[1:]
		return code, nil
	})
	if err != nil || len(sent) != 4 || sent[3].SecondFactor != "2" {
		t.Errorf("Login = %v after %+v", err, sent)
	}
	if tokens.Load() != 1 {
		t.Errorf("%d device tokens were fetched, want 1", tokens.Load())
	}
	// Whoever gives up ends it.
	enough := errors.New("enough")
	if _, err := c.Login(context.Background(), "password", func(context.Context, error) (string, error) { return "", enough }); err != enough {
		t.Errorf("Login = %v, want what asking ended with", err)
	}
	if slices.ContainsFunc(before, func(s string) bool { return s != "" }) {
		t.Errorf("a token was shown that there was not: %q", before)
	}
}

// A token that is about to end is shown when the next one is asked for.
func TestTokenStandsForTheCode(t *testing.T) {
	t.Parallel()
	var shown []string
	mux := device(nil)
	mux.HandleFunc("POST /agent/v1/user-token", func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.Header.Get(wire.HeaderUserToken))
		answer(w, wire.Token{Token: "bsu_" + string(rune('a'+len(shown))), ExpiresAt: time.Now().Add(time.Minute)})
	})
	mux.HandleFunc("POST /agent/v1/snapshots/x/open", func(w http.ResponseWriter, r *http.Request) { answer(w, wire.Opening{}) })
	u, err := client(t, serve(t, mux)).Login(t.Context(), "password", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Open(t.Context(), "x", nil); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(shown, []string{"", "bsu_b"}) {
		t.Errorf("shown were %q", shown)
	}
}

func TestWhatRefusalsSay(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	var p wire.Problem
	mux.HandleFunc("POST /agent/v1/password/replace", func(w http.ResponseWriter, r *http.Request) { refuse(w, p.Status, p) })
	c := client(t, serve(t, mux))
	try := func(status int, key string, data map[string]any) error {
		p = wire.Problem{Status: status, Key: key, Data: data}
		return c.ReplacePassword(t.Context(), wire.ReplacePassword{})
	}
	err := try(400, "user.password.policy", map[string]any{"rules": []any{
		map[string]any{"key": "password.wrong.short", "data": map[string]any{"n": 8}}, "nonsense", map[string]any{"data": 1}}})
	if rules := wire.BrokenRules(err); len(rules) != 1 || rules[0].Key != "password.wrong.short" || rules[0].Data["n"] == nil {
		t.Errorf("BrokenRules = %+v", rules)
	}
	err = try(409, "login.choose", map[string]any{"usernames": []any{"ann", 7, "bea"}})
	if names := wire.Choice(err); !slices.Equal(names, []string{"ann", "bea"}) {
		t.Errorf("Choice = %q", names)
	}
	for _, other := range []error{nil, errors.New("x"), errs.Of(errs.AuthFailed), try(400, "user.password.policy", nil), try(400, "x", map[string]any{"rules": "x"})} {
		if wire.BrokenRules(other) != nil || wire.Choice(other) != nil || wire.NeedsCode(other) || wire.FactorMethods(other) != nil {
			t.Errorf("%v says more than it does", other)
		}
	}
}
