package authattack_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/wire"
)

// What another site makes a browser send does nothing, wherever it is sent.
func otherSites(t testing.TB) {
	w := newWorld(t)
	admin, user := w.console().login("admin"), w.browser().login("user")
	values := w.victim()
	before := w.dump()
	kinds := []struct {
		name string
		edit func(http.Header)
	}{
		{"cross-site", func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") }},
		{"cross-site without an Origin", func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site"); h.Del("Origin") }},
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
		other := []string{http.MethodPut, http.MethodPatch, http.MethodDelete}[len(target.path)%3]
		r := b.request(other, target.path, nil)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if a := b.do(r); a.StatusCode < 400 || a.StatusCode >= 500 {
			t.Errorf("%s by %s of another site = %s", target.Pattern, other, a.Status)
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
	// A browser is no device, whatever its cookies are.
	for _, target := range w.targets(values, access.AnyDevice, access.PresentUser) {
		for _, b := range []*browser{user, admin} {
			if a := b.do(b.request(target.method, target.path, nil)); a.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s by a browser = %s", target.Pattern, a.Status)
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

// A session is over when it was ended, by whoever may; nobody else ends one.
func sessionsEnd(t testing.TB) {
	w := newWorld(t)
	w.account(accounts.New{Kind: access.UserKind, Username: "other"})
	b := w.browser().login("user")
	token := b.session()
	b.login("user")
	if b.session() == token {
		t.Error("the log-in did not make another token")
	}
	w.over("the next log-in of its browser", w.browser(), token)

	token = b.session()
	a := b.post("/logout")
	if a.to() != "/login" || !strings.Contains(a.Header.Get("Clear-Site-Data"), "cache") {
		t.Errorf("logging out = %s, Clear-Site-Data %q", a.Status, a.Header.Get("Clear-Site-Data"))
	}
	w.over("its log-out", b, token)

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

	live := w.browser().login("user")
	token = live.session()
	w.restart()
	if !live.in() {
		t.Error("a restart ended a session")
	}
	live.post("/logout")
	w.restart()
	w.over("its log-out and a restart", w.browser(), token)
}

// over sees that a token is none any more.
func (w *world) over(what string, b *browser, token string) {
	w.Helper()
	b.setSession(token)
	if b.in() {
		w.Errorf("a session is good after %s", what)
	}
}

// Whoever may not log in any more is out at once, with every browser and every
// computer, and stays so after a restart.
func sessionsOfAccounts(t testing.TB) {
	w := newWorld(t)
	end := map[string]func(context.Context, *db.Tx, accounts.ID) error{
		"disabled": func(ctx context.Context, tx *db.Tx, id accounts.ID) error {
			return accounts.Disable(ctx, tx, system, id, "")
		},
		"preserved": func(ctx context.Context, tx *db.Tx, id accounts.ID) error {
			return accounts.Preserve(ctx, tx, system, id, "")
		},
		"deleted": func(ctx context.Context, tx *db.Tx, id accounts.ID) error {
			return accounts.Delete(ctx, tx, system, id, "gone for good")
		},
	}
	type remains struct{ session, device, user string }
	left := map[string]remains{}
	out := func(how string) {
		t.Helper()
		r := left[how]
		b := w.browser()
		if b.setSession(r.session); b.in() {
			t.Errorf("a session is good though its account was %s", how)
		}
		if a := w.device(http.MethodGet, "profile", r.device, "", nil); a.StatusCode < 400 {
			t.Errorf("a computer is served though its user was %s: %s", how, a.Status)
		}
		if a := w.device(http.MethodPost, "read", r.device, r.user, make([]byte, 4)); a.StatusCode < 400 {
			t.Errorf("a user at their computer is served though they were %s: %s", how, a.Status)
		}
	}
	for how, f := range end {
		u := w.account(accounts.New{Kind: access.UserKind, Username: "was-" + how, Email: how + "@example.org"})
		b, d := w.browser().login(u.Username), w.NewDevice(u, "laptop")
		left[how] = remains{b.session(), w.deviceToken(d), w.userToken(d)}
		if a := w.device(http.MethodPost, "read", left[how].device, left[how].user, make([]byte, 4)); a.StatusCode != http.StatusOK || !b.in() {
			t.Fatalf("before anything happened: %s %s", a.Status, a.body)
		}
		w.write(func(ctx context.Context, tx *db.Tx) error { return f(ctx, tx, u.ID) })
		out(how)
	}
	w.restart()
	for how := range end {
		out(how)
	}
}

// A session's time ends: of doing nothing, and whatever happens.
func sessionsAge(t testing.TB) {
	w := newWorld(t)
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
func plantedSessions(t testing.TB) {
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
func forgedTokens(t testing.TB) {
	w := newWorld(t)
	b := w.browser()
	a := b.try("user", servertest.UserPassword)
	good := b.session()
	if good == "" || strings.Contains(a.Header.Get("Location")+a.body, good) {
		t.Fatalf("logging in leads to %s", a.Header.Get("Location"))
	}
	try := func(what, token string) {
		t.Helper()
		r := b.request(http.MethodGet, "/account", nil)
		fresh := w.browser()
		r.Header.Set("Cookie", userCookie+"="+token)
		if a := fresh.do(r); a.StatusCode == http.StatusOK {
			t.Errorf("%s: a session", what)
		}
		if a := w.device(http.MethodGet, "profile", token, "", nil); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s, as a device's token: %s", what, a.Status)
		}
	}
	for what, token := range near(good) {
		try(what, token)
	}
	try("an id", w.sessions(w.User.ID)[0])
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
	try("a device token that is none", devices.TokenPrefix+good)
	if a := w.device(http.MethodGet, "profile", good, "", nil); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a browser's session as a device = %s", a.Status)
	}
	if !b.in() {
		t.Error("the session itself is not good any more")
	}

	if strings.Contains(w.logs.String(), good) {
		t.Error("the log has the token of a session")
	}
}

// near are texts that are nearly a token, and good for nothing.
func near(good string) map[string]string {
	flipped := []byte(good)
	for i := len(flipped) - 1; ; i-- {
		if up := flipped[i] &^ 0x20; up >= 'A' && up <= 'Z' {
			flipped[i] ^= 0x20
			break
		}
	}
	return map[string]string{
		"shorter": good[:len(good)-1], "much shorter": good[:8], "longer": good + "A", "twice": good + good, "empty": "",
		"another case": string(flipped), "a space before": " " + good + " x", "padded": good + "=", "escaped": url.QueryEscape(good) + "%00",
		"another last character": good[:len(good)-1] + string(good[len(good)-1]^1), "SQL": "' OR '1'='1", "in quotes": `"` + good[1:] + `"`,
	}
}

// Tokens are by chance alone: of ten thousand no two are alike, and each of
// their bits is set in about half of them.
func chance(t testing.TB) {
	byChance(t, func() string { token, _ := accounts.NewToken(""); return token })
}

func byChance(t testing.TB, next func() string) {
	const tokens = 10_000
	seen := map[string]bool{}
	var set [256]int
	for range tokens {
		token := next()
		bits, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || len(bits) != 32 || seen[token] {
			t.Fatalf("a token of %d bytes, or one that was there before", len(bits))
		}
		seen[token] = true
		for i := range set {
			set[i] += int(bits[i/8]>>(i%8)) & 1
		}
	}
	for i, n := range set {
		// Ten standard deviations: by chance that happens never.
		if n < tokens/2-500 || n > tokens/2+500 {
			t.Errorf("bit %d of a token is set in %d of %d", i, n, tokens)
		}
	}
}
