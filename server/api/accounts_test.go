package api

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

func TestSignInTellsTheRules(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("alice")
	got, err := h.client("", nil).SignIn(t.Context())
	if err != nil || got.Registration != wire.RegistrationOff || got.SerialRequired {
		t.Errorf("SignIn = %+v, %v", got, err)
	}
	if got.PasswordPolicy.Name != "classic" || len(got.PasswordPolicy.Rules) == 0 {
		t.Errorf("the policy is %+v", got.PasswordPolicy)
	}
	answer, _ := h.raw("GET", "sign-in", "", nil)
	if body, err := io.ReadAll(answer.Body); err != nil || strings.Contains(string(body), "alice") {
		t.Errorf("the answer is %s, %v", body, err)
	}
}

// The version is for those who are known: devices, users at one, and whoever has
// logged in with all that was asked.
func TestVersion(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("alice")
	d := h.activate("alice")
	present, err := d.UserToken(t.Context(), wire.UserTokenRequest{Password: password}, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"a device": d.deviceToken(), "a user": present.Token} {
		answer, _ := h.rawAt("GET", VersionPath, "", nil, "Authorization", "Bearer "+token, wire.HeaderVersion, "")
		var got wire.Version
		if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		if want := (wire.Version{Version: version.Version, Release: version.Release, Build: version.Build}); answer.StatusCode != 200 || got != want {
			t.Errorf("%s is told %d %+v, want %+v", name, answer.StatusCode, got, want)
		}
	}
	session := func(portal accounts.Portal, role access.Role, name string, stage accounts.Stage) (cookie string) {
		err := h.DB.Write(t.Context(), func(tx *db.Tx) error {
			u, err := accounts.Create(t.Context(), tx, access.System("test"), h.Keys, accounts.New{Org: h.org.ID, Kind: portal.Kind(), Role: role, Username: name, Email: name + "@example.org", PasswordHash: "x"})
			if err != nil {
				return err
			}
			token, _, err := accounts.StartSession(t.Context(), tx, u.Caller(access.Caller{}), u, accounts.NewSession{Portal: portal, Stage: stage})
			cookie = portal.Cookie() + "=" + token
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return cookie
	}
	for _, cookie := range []string{session(accounts.ToPortal, "", "una", accounts.StageDone), session(accounts.ToConsole, access.Viewer, "ada", accounts.StageDone)} {
		if answer, _ := h.rawAt("GET", VersionPath, "", nil, "Cookie", cookie); answer.StatusCode != http.StatusOK {
			t.Errorf("a session is told %d", answer.StatusCode)
		}
	}
	half := session(accounts.ToPortal, "", "uma", accounts.StageFactor)
	for _, cookie := range []string{"", half, accounts.ToConsole.Cookie() + "=x"} {
		answer, p := h.rawAt("GET", VersionPath, "", nil, "Cookie", cookie)
		if answer.StatusCode != http.StatusUnauthorized || p.Key != "request.version" {
			t.Errorf("%q is told %d %+v", cookie, answer.StatusCode, p)
		}
	}
	made, _ := accounts.NewToken(accounts.UserTokenPrefix)
	for name, authorization := range map[string]string{
		"nobody": "", "a made-up token": "Bearer " + made, "a short one": "Bearer bsu_", "another scheme": "Basic " + present.Token,
	} {
		answer, p := h.rawAt("GET", VersionPath, "", nil, "Authorization", authorization)
		if answer.StatusCode != http.StatusUnauthorized || p.Status != 401 {
			t.Errorf("%s is told %d %+v", name, answer.StatusCode, p)
		}
	}
	for _, path := range []string{"/api/v1/version/", "/api/v1", "/api/v1/users"} {
		if answer, _ := h.rawAt("GET", path, "", nil, "Authorization", "Bearer "+present.Token); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s answers %d", path, answer.StatusCode)
		}
	}
}

// Every route is behind a guard that keeps strangers out, or meant for them.
func TestRoutesAreGuarded(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for _, route := range h.Routes() {
		method, path, _ := strings.Cut(route.Pattern, " ")
		path = strings.NewReplacer("{number}", "1", "{session}", "x", "{put}", wiretest.PutID(), "{hash}", "x").Replace(path)
		media := "application/json"
		answer, _ := h.rawAt(method, path, media, strings.NewReader("{}"))
		if route.Guard == access.Anyone {
			continue
		}
		if answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s answers %d to somebody without a token", route.Pattern, answer.StatusCode)
		}
	}
	if n := len(h.Routes()); n < 20 {
		t.Errorf("only %d routes are known", n)
	}
}
