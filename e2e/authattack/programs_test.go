package authattack_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/server/tokens"
)

// apiToken is one that an administrator made.
func (w *world) apiToken(maker accounts.User, name string, life time.Duration, scopes ...string) (id, secret string) {
	w.Helper()
	w.write(func(ctx context.Context, tx *db.Tx) error {
		t, text, err := tokens.Create(ctx, tx, caller(maker), maker.Org, name, scopes, life)
		id, secret = t.ID, text
		return err
	})
	return id, secret
}

// sendAs asks for a target as a program does, with a row of the device map where
// there is something to say.
func (w *world) sendAs(t target, authorization string) answer {
	w.Helper()
	b := w.browser()
	r := b.request(t.method, t.path, nil)
	if t.method == http.MethodPost || t.method == http.MethodPut {
		r = b.request(t.method, t.path, strings.NewReader(`{"email": "user", "device_id": "stolen-1", "id_type": "uuid"}`))
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", authorization)
	return b.do(r)
}

// What programs may ask for is not for who has another organisation's token, one
// that is over, one for something else, or one whose maker may no more: they
// change nothing, and learn nothing of what others have.
func othersPrograms(t testing.TB) {
	w := newWorld(t)
	values := w.victim()
	values["id"] = values["number"]
	made := func(username string, org orgs.ID) accounts.User {
		return w.account(accounts.New{Org: org, Kind: access.AdminKind, Role: access.OrgAdmin, Username: username})
	}
	was, gone, foreigner := made("was-admin", w.Org.ID), made("is-gone", w.Org.ID), made("other-admin", w.org("Other").ID)
	_, expired := w.apiToken(w.Admin, "short", tokens.MinLife, access.MapWrite)
	revokedID, revoked := w.apiToken(w.Admin, "revoked", tokens.DefaultLife, access.MapWrite)
	_, reads := w.apiToken(w.Admin, "reads", tokens.DefaultLife, access.MapRead)
	_, viewers := w.apiToken(was, "viewer", tokens.DefaultLife, access.MapWrite)
	_, disabled := w.apiToken(gone, "gone", tokens.DefaultLife, access.MapWrite)
	_, theirs := w.apiToken(foreigner, "theirs", tokens.DefaultLife, access.MapWrite)
	_, good := w.apiToken(w.Admin, "good", tokens.DefaultLife, access.MapWrite)
	w.wait(tokens.MinLife + time.Minute)
	w.write(func(ctx context.Context, tx *db.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE users SET role = 'viewer' WHERE id = $1", was.ID); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE users SET state = 'disabled' WHERE id = $1", gone.ID); err != nil {
			return err
		}
		return tokens.Revoke(ctx, tx, system, revokedID)
	})
	session := w.console().login("admin").session()
	device := w.deviceToken(w.NewDevice(w.User, "desktop"))

	before := w.rows("device_map")
	for _, p := range []struct {
		name, authorization string
		status              int // of what is not of another organisation
		reads               bool
	}{
		{"a revoked token", "Bearer " + revoked, http.StatusUnauthorized, false},
		{"an expired token", "Bearer " + expired, http.StatusUnauthorized, false},
		{"a viewer's token", "Bearer " + viewers, http.StatusForbidden, false},
		{"the token of somebody disabled", "Bearer " + disabled, http.StatusUnauthorized, false},
		{"a token that reads", "Bearer " + reads, http.StatusForbidden, true},
		{"a device's token", "Bearer " + device, http.StatusUnauthorized, false},
		{"an administrator's session", "Bearer " + session, http.StatusUnauthorized, false},
		{"an administrator's password", "Basic " + servertest.AdminPassword, http.StatusUnauthorized, false},
		{"half a token", "Bearer " + good[:len(good)-10], http.StatusUnauthorized, false},
		{"what is stored of a token", "Bearer " + fmt.Sprint(w.rows("api_tokens")[0]), http.StatusUnauthorized, false},
	} {
		for _, target := range w.targets(values, access.ByToken) {
			a := w.sendAs(target, p.authorization)
			if p.reads && target.method == http.MethodGet {
				if a.StatusCode != http.StatusOK {
					t.Errorf("%s, %s = %s", p.name, target.Pattern, a.Status)
				}
				continue
			}
			if a.StatusCode != p.status {
				t.Errorf("%s, %s = %s, want %d", p.name, target.Pattern, a.Status, p.status)
			}
		}
	}
	for _, target := range w.targets(values, access.ByToken) {
		a := w.sendAs(target, "Bearer "+theirs)
		if strings.Contains(a.body, "f00d") {
			t.Errorf("a token of another organisation, %s shows what is ours", target.Pattern)
		}
		if !open(target.Route) {
			continue // it names nothing of ours
		}
		_, path, _ := strings.Cut(target.Pattern, " ")
		none := target
		none.path = strings.Replace(path, "{id}", "987654321", 1)
		if b := w.sendAs(none, "Bearer "+theirs); a.StatusCode != http.StatusNotFound || plain(a, target.path) != plain(b, none.path) {
			t.Errorf("a token of another organisation, %s tells what there is: %s %s", target.Pattern, a.Status, differing(plain(a, target.path), plain(b, none.path)))
		}
	}
	for _, line := range before {
		found := false
		for _, now := range w.rows("device_map") {
			found = found || now == line
		}
		if !found {
			t.Errorf("changed by who may not: %s", line)
		}
	}
	// The same requests do all of it for who may.
	for _, target := range w.targets(values, access.ByToken) {
		if a := w.sendAs(target, "Bearer "+good); a.StatusCode >= 500 || a.StatusCode == http.StatusUnauthorized || a.StatusCode == http.StatusForbidden {
			t.Errorf("a good token, %s = %s %s", target.Pattern, a.Status, a.body)
		}
	}
}
