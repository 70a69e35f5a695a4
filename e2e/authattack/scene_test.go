package authattack_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/approvals"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/factors/factorstest"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/resets"
	"github.com/backstay/backstay/server/tokens"
	"github.com/backstay/backstay/wire"
)

// caller is an account at its own keyboard.
func caller(u accounts.User) access.Caller { return u.Caller(access.Caller{IP: "192.0.2.1"}) }

// app gives an account an authenticator app, and returns its secret. The code
// of the next step is the first that is good.
func (w *world) app(u accounts.User) string {
	w.Helper()
	var app factors.App
	w.write(func(ctx context.Context, tx *db.Tx) (err error) {
		app, err = w.Gate.Factors.BeginTOTP(ctx, tx, caller(u))
		return err
	})
	w.write(func(ctx context.Context, tx *db.Tx) error {
		return w.Gate.Factors.ConfirmTOTP(ctx, tx, caller(u), factorstest.Code(w.T, app.Secret, w.clock()))
	})
	return app.Secret
}

// code is one that was not used: it moves the clock on to the next.
func (w *world) code(secret string) string {
	w.Helper()
	w.wait(step)
	return factorstest.Code(w.T, secret, w.clock())
}

// half logs in by the password where a second factor is asked for as well.
func (b *browser) half(username string) *browser {
	b.w.Helper()
	b.login(username)
	if b.in() {
		b.w.Fatalf("%s is in without a second factor", username)
	}
	return b
}

// victim is an organisation with all there can be, and the ids of it by the
// names that routes have for them.
func (w *world) victim() map[string]string {
	w.Helper()
	device := w.NewDevice(w.User, "laptop")
	b := w.browser().login(w.User.Username)
	b.get("/")
	b.post("/forgot", "username", w.User.Username)
	w.letter(mail.Reset)
	values := map[string]string{"user": string(w.User.ID), "device": device.DeviceID, "snapshot": w.backUp(device).hash[:16]}
	w.write(func(ctx context.Context, tx *db.Tx) error {
		l, err := orgs.CreateLicence(ctx, tx, system, w.Keys, orgs.NewLicence{Org: w.Org.ID, Name: "Seats", SeatsActive: 100})
		values["licence"] = string(l.ID)
		return err
	})
	w.write(func(ctx context.Context, tx *db.Tx) error {
		t, _, err := deploy.Create(ctx, tx, system, w.Org.ID, deploy.Rules{Name: "Fleet"}, deploy.DefaultLife)
		values["token"] = t.ID
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO device_map (org, user_id, id_type, id_value, os_user, old_device, restore, created_by, created_at, expires_at)
			VALUES ($1, $2, 'uuid', 'f00d', '', '', '', '', 1, 0)`, w.Org.ID, w.User.ID)
		return err
	})
	w.write(func(ctx context.Context, tx *db.Tx) error {
		_, k, err := devices.IssueKey(ctx, tx, system, w.Keys, "", w.User.ID, wire.Add, "")
		values["key"] = k.ID
		return err
	})
	w.write(func(ctx context.Context, tx *db.Tx) error {
		t, _, err := tokens.Create(ctx, tx, caller(w.Admin), w.Org.ID, "Inventory", []string{access.MapWrite}, tokens.DefaultLife)
		values["apitoken"] = t.ID
		return err
	})
	check, err := accounts.CheckImport(w.Context(), w.DB, caller(w.Admin), w.Org.ID,
		strings.NewReader("username,email,first_name,last_name\nimported,imported@example.org,Im,Ported\n"), accounts.ImportOptions{})
	if err != nil {
		w.Fatal(err)
	}
	values["import"] = check.ID
	w.account(accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "second"})
	w.write(func(ctx context.Context, tx *db.Tx) error {
		a, err := w.Desk.Ask(ctx, tx, caller(w.Admin), approvals.Request{Kind: devices.PurgeDevice, Org: w.Org.ID, Data: map[string]string{"id": device.DeviceID},
			Summary: map[string]any{"name": "laptop", "user": "user", "n": 1}, Reason: "because it must be"})
		values["approval"] = a.ID
		if err != nil {
			return err
		}
		r, err := resets.Ask(ctx, tx, caller(w.Admin), w.Desk, resets.New{Org: w.Org.ID, Name: "Reset", Reason: "because it must be", Expect: 1,
			Filter: resets.Filter{Users: []string{w.User.Username}}})
		values["reset"] = r.ID
		return err
	})
	for name, query := range map[string]string{
		"profile": "SELECT id FROM profiles WHERE org = '" + string(w.Org.ID) + "'",
		"session": "SELECT id FROM login_sessions WHERE user_id = '" + string(w.User.ID) + "'",
		"number":  "SELECT CAST(MAX(number) AS TEXT) FROM device_map WHERE user_id = '" + string(w.User.ID) + "'",
		"mail":    "SELECT CAST(MAX(number) AS TEXT) FROM outbox WHERE user_id = '" + string(w.User.ID) + "'",
	} {
		w.read(func(ctx context.Context, tx *db.Tx) error {
			var id string
			err := tx.QueryRow(ctx, query).Scan(&id)
			values[name] = id
			return err
		})
	}
	return values
}

// strangers are those who have nothing to do with the victim: of the same
// organisation, and of another in every role.
func (w *world) strangers() []person {
	w.Helper()
	other := w.org("Other")
	w.account(accounts.New{Kind: access.UserKind, Username: "colleague"})
	w.account(accounts.New{Org: other.ID, Kind: access.UserKind, Username: "foreigner"})
	w.account(accounts.New{Org: other.ID, Kind: access.AdminKind, Role: access.OrgAdmin, Username: "other-admin"})
	w.account(accounts.New{Org: other.ID, Kind: access.AdminKind, Role: access.Viewer, Username: "other-viewer"})
	return []person{
		{"colleague", w.browser().login("colleague")},
		{"user of another organisation", w.browser().login("foreigner")},
		{"administrator of another organisation", w.console().login("other-admin")},
		{"viewer of another organisation", w.console().login("other-viewer")},
	}
}

// dump is every row of what belongs to people, as text.
func (w *world) dump() (lines []string) {
	w.Helper()
	lines = w.rows("orgs", "users", "devices", "profiles", "licences", "settings", "totp", "passkeys", "recovery_codes",
		"one_time_secrets", "user_imports", "account_requests", "approvals", "resets", "api_tokens", "device_map", "reset_devices", "outbox", "(SELECT id, user_id, stage FROM login_sessions) AS sessions")
	slices.Sort(lines)
	return lines
}

// rows are those of tables, as text.
func (w *world) rows(tables ...string) (lines []string) {
	w.Helper()
	for _, table := range tables {
		w.read(func(ctx context.Context, tx *db.Tx) error {
			rows, err := tx.Query(ctx, "SELECT * FROM "+table)
			if err != nil {
				return err
			}
			defer rows.Close()
			columns, err := rows.Columns()
			if err != nil {
				return err
			}
			for rows.Next() {
				values, cells := make([]any, len(columns)), make([]any, len(columns))
				for i := range values {
					cells[i] = &values[i]
				}
				if err := rows.Scan(cells...); err != nil {
					return err
				}
				line := table
				for i, v := range values {
					if bytes, ok := v.([]byte); ok {
						v = string(bytes)
					}
					line += fmt.Sprintf(" %s=%q", columns[i], fmt.Sprint(v))
				}
				lines = append(lines, line)
			}
			return rows.Err()
		})
	}
	return lines
}

// lost are the lines of before that are not in after.
func lost(before, after []string) (lines []string) {
	for _, line := range before {
		if _, found := slices.BinarySearch(after, line); !found {
			lines = append(lines, line)
		}
	}
	return lines
}

// What differs from request to request: its id, and until when a cookie is good.
var (
	requestID = regexp.MustCompile(`\b[A-Z2-7]{13}\b`)
	expires   = regexp.MustCompile(`Expires=[^;]+`)
)

// plain is an answer without what differs from request to request.
func plain(a answer, path string) string {
	header := http.Header{}
	for name, values := range a.Header {
		if name != "Date" && !strings.HasPrefix(name, "Ratelimit-") && !strings.HasPrefix(name, "X-Request") && name != "Backstay-Request-Id" {
			header[name] = slices.Clone(values)
		}
	}
	// A message that was left by the page before is taken by the next one.
	header["Set-Cookie"] = slices.DeleteFunc(header["Set-Cookie"], func(c string) bool { return strings.Contains(c, "-flash-") })
	text := expires.ReplaceAllString(fmt.Sprint(a.StatusCode, header, a.body), "Expires")
	return requestID.ReplaceAllString(strings.ReplaceAll(text, path, "PATH"), "ID")
}
