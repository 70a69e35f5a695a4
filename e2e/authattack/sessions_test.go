package authattack_test

import (
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/wire"
)

// What another site makes a browser send does nothing, wherever it is sent.
func otherSites(t *testing.T) {
	w := newWorld(t)
	admin, user := w.console().login("admin"), w.browser().login("user")
	values := w.victim()
	before := w.dump()
	kinds := []struct {
		name string
		edit func(http.Header)
	}{
		{"cross-site", func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") }},
		{"same-site", func(h http.Header) { h.Set("Sec-Fetch-Site", "same-site") }},
		{"an old browser on another site", func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Set("Origin", "https://evil.example") }},
		{"a sandboxed frame", func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Set("Origin", "null") }},
		{"JSON as plain text", func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site"); h.Set("Content-Type", "text/plain") }},
	}
	for _, target := range w.targets(values, access.Anyone, access.AnySession, access.WholeLogin) {
		if target.method != http.MethodPost {
			continue
		}
		b := user
		if portalOf(target.path) != "" {
			b = admin
		}
		for _, kind := range kinds {
			form := url.Values{}
			for i := 0; i+1 < len(forms); i += 2 {
				form.Set(forms[i], forms[i+1])
			}
			r := b.request(target.method, target.path, strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Del(wire.HeaderVersion)
			kind.edit(r.Header)
			a := b.do(r)
			// Devices name their version in a header, which no other site's
			// page can send without asking first.
			asked := a.StatusCode == http.StatusUpgradeRequired && strings.HasPrefix(target.path, wire.Prefix)
			if a.StatusCode != http.StatusForbidden && !asked {
				t.Errorf("%s, %s = %s", target.Pattern, kind.name, a.Status)
			}
		}
		// What changes something is not to be had by a link or a picture.
		if !w.mounted(http.MethodGet, target.Pattern) {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				if a := b.do(b.request(method, target.path, nil)); a.StatusCode != http.StatusMethodNotAllowed && a.StatusCode != http.StatusNotFound {
					t.Errorf("%s by %s = %s", target.Pattern, method, a.Status)
				}
			}
		}
	}
	for _, line := range lost(before, w.dump()) {
		t.Errorf("changed by another site: %s", line)
	}
	if !admin.in() || !user.in() {
		t.Error("another site logged somebody out")
	}
	r := user.request(http.MethodGet, "/", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	if a := user.do(r); a.StatusCode == http.StatusSwitchingProtocols {
		t.Error("there is a WebSocket, which nothing here looks at")
	}
}

// mounted reports whether the path of a pattern answers to another method, too.
func (w *world) mounted(method, pattern string) bool {
	_, path, _ := strings.Cut(pattern, " ")
	for _, r := range w.Routes() {
		if r.Pattern == method+" "+path {
			return true
		}
	}
	return false
}

// A session is over when it was ended, when its account may not log in, and
// after its time; a restart of the server neither ends nor revives one.
func sessionsEnd(t *testing.T) {
	w := newWorld(t)
	other := w.account(accounts.New{Kind: access.UserKind, Username: "other"})
	gone := func(what string, b *browser, token string) {
		t.Helper()
		b.setSession(token)
		if b.in() {
			t.Errorf("a session is good after %s", what)
		}
	}

	b := w.browser().login("user")
	token := b.session()
	b.login("user")
	if b.session() == token {
		t.Error("the log-in did not make another token")
	}
	gone("the next log-in of its browser", w.browser(), token)

	token = b.session()
	a := b.post("/logout")
	if a.to() != "/login" || !strings.Contains(a.Header.Get("Clear-Site-Data"), "cache") {
		t.Errorf("logging out = %s, Clear-Site-Data %q", a.Status, a.Header.Get("Clear-Site-Data"))
	}
	gone("its log-out", b, token)

	// Others' sessions: only one's own, and an administrator's doing.
	first, second := w.browser().login("user"), w.browser().login("user")
	strangers := w.browser().login("other")
	ids := w.sessions(w.User.ID)
	for _, id := range ids {
		strangers.post("/account/sessions/" + id + "/end")
	}
	if !first.in() || !second.in() {
		t.Error("somebody ended somebody else's session")
	}

	if a := first.post("/account/sessions/end"); a.StatusCode != http.StatusSeeOther || !first.in() || second.in() {
		t.Errorf("ending all one's other sessions = %s", a.Status)
	}
	second = w.browser().login("user")

	admin := w.console().login("admin")
	for _, id := range w.sessions(w.User.ID) {
		if a := admin.post("/users/" + string(w.User.ID) + "/sessions/" + id + "/end"); a.StatusCode != http.StatusSeeOther {
			t.Errorf("an administrator ends a session = %s", a.Status)
		}
	}
	if first.in() || second.in() {
		t.Error("a session is good after an administrator ended it")
	}

	// Whoever is disabled is out at once, everywhere, and after a restart.
	b = w.browser().login("other")
	device := w.NewDevice(other, "laptop")
	if _, _, err := device.Client.Profile(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	w.write(func(ctx context.Context, tx *db.Tx) error {
		return accounts.Disable(ctx, tx, system, other.ID, "")
	})
	if b.in() {
		t.Error("a session is good after its account was disabled")
	}
	b, live := w.browser(), w.browser().login("user")
	token = live.session()
	w.Restart()
	if !live.in() {
		t.Error("a restart ended a session")
	}
	b.setSession(token)
	live.post("/logout")
	w.Restart()
	if b.in() {
		t.Error("a restart revived a session")
	}

	// Its time: idle, and whatever happens.
	for _, test := range []struct {
		b              *browser
		name           string
		idle, absolute time.Duration
	}{{w.browser(), "user", 8 * time.Hour, 24 * time.Hour}, {w.console(), "admin", time.Hour, 12 * time.Hour}} {
		test.b.login(test.name)
		w.wait(test.idle - time.Minute)
		if !test.b.in() {
			t.Errorf("%s: out before %v", test.name, test.idle)
		}
		w.wait(test.idle + time.Minute)
		if test.b.in() {
			t.Errorf("%s: in after %v of doing nothing", test.name, test.idle)
		}
		test.b.login(test.name)
		for since := time.Duration(0); since < test.absolute; since += test.idle / 2 {
			w.wait(test.idle / 2)
			test.b.in()
		}
		w.wait(time.Minute)
		if test.b.in() {
			t.Errorf("%s: in after %v", test.name, test.absolute)
		}
	}
}

// sessions are the ids of an account's sessions.
func (w *world) sessions(id accounts.ID) (ids []string) {
	w.Helper()
	w.write(func(ctx context.Context, tx *db.Tx) error {
		list, err := accounts.Sessions(ctx, tx, system, id)
		for _, s := range list {
			ids = append(ids, s.ID)
		}
		return err
	})
	return ids
}

// Nobody gets a victim to use a session that was made for them.
func plantedSessions(t *testing.T) {
	w := newWorld(t)
	w.account(accounts.New{Kind: access.UserKind, Username: "attacker"})
	attacker := w.browser().login("attacker")
	planted := attacker.session()

	victim := w.browser()
	victim.get("/login")
	victim.setSession(planted)
	victim.login("user")
	if victim.session() == planted {
		t.Error("the victim logged in into the attacker's session")
	}
	if attacker.in() {
		t.Error("the planted session outlived the log-in")
	}
	made, _ := accounts.NewToken("")
	victim = w.browser()
	victim.get("/login")
	victim.setSession(made)
	if victim.in() {
		t.Error("a made-up token is good")
	}
	if victim.login("user"); victim.session() == made {
		t.Error("a made-up token became the session's")
	}

	// The session of one portal is none of the other's, and its cookie goes to
	// no other host.
	console := w.console()
	console.setSession(victim.session())
	if console.in() {
		t.Error("a user's session is good at the console")
	}
	admin := w.console().login("admin")
	user := w.browser()
	user.setSession(admin.session())
	if user.in() {
		t.Error("an administrator's session is good at the portal")
	}

	// Logging a victim in as the attacker, from another site.
	victim = w.browser()
	victim.get("/login")
	form := url.Values{"username": {"attacker"}, "password": {servertest.UserPassword}}
	r := victim.request(http.MethodPost, "/login", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Origin", "https://evil.example")
	if a := victim.do(r); a.StatusCode != http.StatusForbidden || victim.in() {
		t.Errorf("another site logged somebody in: %s", a.Status)
	}
	// A page alone makes no session.
	for _, path := range []string{"/", "/login", "/forgot", "/register", "/account"} {
		b := w.browser()
		if b.get(path); b.session() != "" {
			t.Errorf("GET %s began a session", path)
		}
	}
}

// A token is good only as it was given out, and only for what it is.
func forgedTokens(t *testing.T) {
	w := newWorld(t)
	device := w.NewDevice(w.User, "laptop")
	b := w.browser()
	a := b.try("user", servertest.UserPassword)
	good := b.session()
	if good == "" || strings.Contains(a.Header.Get("Location")+a.body, good) {
		t.Fatalf("logging in leads to %s", a.Header.Get("Location"))
	}
	try := func(what, token string) {
		t.Helper()
		r := b.request(http.MethodGet, "/account", nil)
		fresh := *b
		fresh.client = w.Client()
		r.Header.Set("Cookie", userCookie+"="+token)
		if a := fresh.do(r); a.StatusCode == http.StatusOK {
			t.Errorf("%s: a session", what)
		}
		if status := w.bearer("GET", "profile", token); status != http.StatusUnauthorized {
			t.Errorf("%s, as a device's token: %d", what, status)
		}
	}
	flipped := []byte(good)
	for i, c := range flipped {
		if up := c &^ 0x20; up >= 'A' && up <= 'Z' {
			flipped[i] ^= 0x20
			break
		}
	}
	for what, token := range map[string]string{
		"shorter": good[:len(good)-1], "much shorter": good[:8], "longer": good + "A", "twice": good + good, "empty": "",
		"another case": string(flipped), "a space before": " " + good + " x", "padded": good + "=", "escaped": url.QueryEscape(good) + "%00",
		"another last character": good[:len(good)-1] + string(good[len(good)-1]^1), "SQL": "' OR '1'='1", "an id": w.sessions(w.User.ID)[0],
		"in quotes": `"` + good[1:] + `"`,
	} {
		try(what, token)
	}
	// What is stored is not what opens.
	w.write(func(ctx context.Context, tx *db.Tx) error {
		var hash []byte
		err := tx.QueryRow(ctx, "SELECT token FROM login_sessions WHERE user_id = $1 ORDER BY created_at DESC LIMIT 1", w.User.ID).Scan(&hash)
		if err == nil {
			try("the stored hash", hex.EncodeToString(hash))
			try("the stored hash itself", url.QueryEscape(string(hash)))
		}
		return err
	})
	// One kind of token is never another.
	try("a user token that is none", accounts.UserTokenPrefix+good)
	if _, _, err := device.Client.Profile(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if status := w.bearer("GET", "profile", good); status != http.StatusUnauthorized {
		t.Errorf("a browser's session as a device = %d", status)
	}
	if !b.in() {
		t.Error("the session itself is not good any more")
	}

	seen := map[string]bool{}
	for range 10_000 {
		token, _ := accounts.NewToken("")
		if len(token) != 43 || seen[token] { // 256 bits
			t.Fatalf("a token of %d characters, or one that was there before", len(token))
		}
		seen[token] = true
	}
	if strings.Contains(w.logs.String(), good) {
		t.Error("the log has the token of a session")
	}
}

// bearer asks the devices' interface with a token, and returns the status.
func (w *world) bearer(method, call, token string) int {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.URL+wire.Prefix+call, nil)
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set(wire.HeaderVersion, "99.0")
	response, err := w.Client().Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	return response.StatusCode
}
