package authattack_test

import (
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server"
)

const (
	forgetTries = "DELETE FROM throttles"
	useAgain    = "UPDATE one_time_secrets SET used_at = 0"
	fullTries   = "UPDATE one_time_secrets SET tries = 5 WHERE tries >= 0"
	alive       = "UPDATE users SET state = 'active' WHERE state IN ('disabled', 'preserved', 'deleted')"
	proven      = "UPDATE login_sessions SET auth_at = 9000000000000000, factor = 'passkey'"
	active      = "UPDATE devices SET state = 'active'"
	firstOnly   = "UPDATE device_tokens SET device = (SELECT MIN(id) FROM devices)"
	firstUser   = "UPDATE user_tokens SET device = (SELECT MIN(id) FROM devices), user_id = (SELECT user_id FROM devices ORDER BY id LIMIT 1)"
)

func trusting(cfg *server.Config) {
	cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
}

var weaknesses = []weakness{
	{attack: "A-01/nobody", off: "nobody is asked who they are", says: "for nobody we know = 200", weaken: lent(false)},
	{attack: "A-01/half a session", off: "a session is whole at once", says: "without a second factor|with half a session", weaken: before("UPDATE login_sessions SET stage = ''")},
	{attack: "A-02/pages", off: "nobody looks at whose it is", says: "tells what there is", weaken: lent(true)},
	{attack: "A-02/time", off: "what there is takes longer", says: "somebody else's device: medians", weaken: slowForDevices},
	{attack: "A-02/devices", off: "nobody looks at which device asks", says: "tells what there is", weaken: before(firstOnly, firstUser)},
	{attack: "A-02/programs", off: "a token is good for ever", says: "^a revoked token|^an expired token", weaken: before("UPDATE api_tokens SET revoked_at = 0, expires_at = 9000000000000000")},
	{attack: "A-02/programs", off: "a token is for everything", says: "^a token that reads", weaken: before("UPDATE api_tokens SET scopes = 'device-map:write'")},
	{attack: "A-02/programs", off: "nobody looks at who made a token", says: "^a viewer's token|^the token of somebody disabled", weaken: before("UPDATE users SET role = 'org_admin', state = 'active' WHERE username IN ('was-admin', 'is-gone')")},
	{attack: "A-02/programs", off: "nobody looks at whose it is", says: "^a token of another organisation", weaken: before("UPDATE device_map SET org = (SELECT org FROM api_tokens WHERE name = 'theirs')")},
	{attack: "A-02/fields", off: "a field sets the role", says: "^viewer is", weaken: assigned},
	{attack: "A-02/fields", off: "a page shows all that is stored", says: "shows \"\\$argon2id", weaken: answered(rewritten(func(body string) string { return body + "$argon2id$" }))},
	{attack: "A-03/one account", off: "failures are not counted", says: "wrong passwords before the lock", weaken: before(forgetTries)},
	{attack: "A-03/one account", off: "no browser is known", says: "own browser is locked out", weaken: before("DELETE FROM known_browsers")},
	{attack: "A-03/one network", off: "failures are not counted", says: "guesses from one network, want", weaken: before(forgetTries)},
	{attack: "A-03/at once", off: "failures are not counted", says: "of 40 at once|wrong codes$", weaken: before(forgetTries)},
	{attack: "A-04/answers", off: "an answer says who is there", says: "tells who has an account", weaken: told},
	{attack: "A-04/devices", off: "an answer says who is there", says: "tells who has an account", weaken: told},
	{attack: "A-04/work", off: "nothing is done for nobody", says: "0 hashes is done for nobody", weaken: hurried},
	{attack: "A-04/times", off: "who is there takes longer", says: "log-in: medians",
		weaken: slower(9*time.Millisecond, func(r *http.Request) bool { return strings.Contains(bodyOf(r), "person") })},
	{attack: "A-05", off: "links are made from a header", says: "leads to https?://evil", weaken: gullible},
	{attack: "A-05", off: "every name is ours", says: "^Host: ", weaken: asked(func(r *http.Request) { r.Host = "backup.example.org" })},
	{attack: "A-06", off: "every proxy is trusted", says: "makes it", config: trusting},
	{attack: "A-07", off: "every page is ours", says: "cross-site = ", weaken: asked(ours)},
	{attack: "A-07", off: "a link does it", says: " by GET = ", weaken: linked},
	{attack: "A-08/ended", off: "no session ends", says: "a session is good after", weaken: kept("login_sessions", "id")},
	{attack: "A-08/accounts", off: "states are not looked at", says: "a session is good though", weaken: all(kept("login_sessions", "id"), before(alive))},
	{attack: "A-08/time", off: "time does not pass", says: "in after", config: frozen},
	{attack: "A-09/links", off: "a link is not used up", says: "worked|was used|before the newest", weaken: all(before(useAgain), kept("one_time_secrets", "secret"))},
	{attack: "A-09/links", off: "time does not pass", says: "half an hour ago", config: frozen},
	{attack: "A-09/codes", off: "a code is not used up", says: "got in by one code|good once more", weaken: before("UPDATE totp SET last_step = 0", "UPDATE recovery_codes SET used_at = 0")},
	{attack: "A-09/registrations", off: "codes may be guessed", says: "after five wrong ones", weaken: before(useAgain, fullTries)},
	{attack: "A-09/addresses", off: "a code and a link are not used up", says: "worked|taken back", weaken: before(useAgain)},
	{attack: "A-10", off: "the log-in keeps the token", says: "the attacker's session", weaken: sticky},
	{attack: "A-10", off: "every page is ours", says: "another site logged somebody in", weaken: asked(ours)},
	{attack: "A-12/sessions", off: "tokens are compared by their beginning", says: ": a session$", weaken: prefixed},
	{attack: "A-12/devices", off: "tokens are compared by their beginning", says: "a device's token, ", weaken: prefixed},
	{attack: "A-12/chance", off: "tokens are numbered", says: "bit .* is set in|there before", run: func(t testing.TB) {
		n := uint64(0)
		byChance(t, func() string {
			n++
			return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(make([]byte, 24), n))
		})
	}},
	{attack: "A-14", off: "a proxy keeps pages for everybody", says: "^nobody: GET", weaken: cached},
	{attack: "A-16/pages", off: "nothing is escaped", says: "writes it as it came", weaken: answered(unescaped)},
	{attack: "A-16/pages", off: "the database's errors are shown", says: "says \"syntax error\"", weaken: answered(talkative)},
	{attack: "A-16/forms", off: "nothing is escaped", says: "writes it as it came", weaken: answered(unescaped)},
	{attack: "A-16/lists", off: "nobody looks at whose it is", says: "belongs to others", weaken: lent(true)},
	{attack: "A-16/devices", off: "the database's errors are shown", says: "says \"syntax error\"", weaken: answered(talkative)},
	{attack: "A-19/old", off: "a proof does not age", says: "without a fresh proof", weaken: before(proven)},
	{attack: "A-19/weaker", off: "every proof is as good", says: "after the password alone", weaken: before(proven)},
	{attack: "A-19/after an enrolment", off: "every proof is as good", says: "by the password of before", weaken: before(proven)},
	{attack: "A-20/paths", off: "files are served by their path", says: "GET /static/.*passwd = 200", weaken: naive},
	{attack: "A-20/methods", off: "a header says the method", says: "made a GET a POST", weaken: asked(overridden)},
	{attack: "A-22/revoked", off: "states are not looked at", says: "after the revocation = 2", weaken: all(kept("device_tokens", "token"), before(active))},
	{attack: "A-22/revoked", off: "its key is good again", says: "a new token for the key = 200|the poll that was waiting", weaken: before(active)},
	{attack: "A-22/locked", off: "no lock is looked at", says: "of a locked device = 200", weaken: before("UPDATE devices SET locked_at = 0")},
	{attack: "A-23", off: "a method deletes a snapshot", says: "a device took back: snapshots", weaken: deletes("DELETE FROM snapshots")},
	{attack: "A-23", off: "a method deletes an object", says: "a device took back: chunks", weaken: deletes("DELETE FROM chunks")},
	{attack: "A-24/tokens", off: "rules are not looked at", says: "network lets|system lets|hosts lets", weaken: before("UPDATE deploy_tokens SET networks = '', systems = '', hosts = ''")},
	{attack: "A-24/tokens", off: "a token is not revoked", says: "a revoked one lets", weaken: before("UPDATE deploy_tokens SET revoked_at = 0")},
	{attack: "A-24/tokens", off: "time does not pass", says: "a token that is over", config: frozen},
	{attack: "A-24/the last use", off: "uses are not counted", says: "computers got in", weaken: before("UPDATE deploy_tokens SET max_uses = 0")},
	{attack: "A-24/taking over", off: "nobody has to approve", says: "nobody approved", weaken: before("UPDATE activations SET waits = FALSE")},
	{attack: "A-25/others", off: "time does not pass", says: "of yesterday", config: frozen},
	{attack: "A-25/keys", off: "a key is not used up", says: "got in by one key|that was used", weaken: before("UPDATE activation_keys SET used_at = 0, tries = 3")},
	{attack: "A-26", off: "a viewer is more", says: "viewer", weaken: before("UPDATE users SET role = 'server_admin' WHERE username = 'viewer'")},
	{attack: "A-27", off: "nobody looks at who made an account", says: "^made approves|^taken approves", weaken: before("UPDATE audit SET actor_kind = 'system' WHERE action = 'users.manage'")},
	{attack: "A-26", off: "an organisation's administrator is more", says: "organisation's administrator", weaken: before("UPDATE users SET role = 'server_admin' WHERE username = 'org-admin'")},
	{attack: "A-28", off: "72 bytes of a password count", says: "a long password was refused|is good for", weaken: asked(shortened(func(p string) string { return p[:min(len(p), 72)] }))},
	{attack: "A-28", off: "spaces are cut off", says: "is good for", weaken: asked(shortened(strings.TrimSpace))},
	{attack: "A-29", off: "there is no content policy", says: "the content policy lacks", weaken: without("Content-Security-Policy")},
	{attack: "A-29", off: "scripts may read cookies", says: "the cookie", weaken: answered(scripted)},
	{attack: "A-29", off: "every origin may read", says: "may read", weaken: answered(func(a *http.Response) { a.Header.Set("Access-Control-Allow-Origin", "*") })},
	{attack: "A-34", off: "refusals are not recorded", says: "0 records of one wrong password", weaken: all(before("DELETE FROM audit WHERE outcome = 'denied'"), afterwards("DELETE FROM audit WHERE outcome = 'denied'"))},
	{attack: "A-34", off: "the log has what people send", says: "stands in the log", weaken: chatty},
	{attack: "A-36/no database", off: "a proxy answers instead", says: "without a database = 200", weaken: cached},
	{attack: "A-36/no audit", off: "there is another audit", says: "not recorded", weaken: before("CREATE TABLE IF NOT EXISTS audit AS SELECT * FROM audit_elsewhere WHERE 1 = 0")},
	{attack: "A-36/a clock set back", off: "failures are not counted", says: "a locked account", weaken: before(forgetTries)},
	{attack: "A-36/a clock set back", off: "a code is not used up", says: "a code that was used", weaken: before(forgetTries, "UPDATE totp SET last_step = 0")},
	{attack: "A-36/a clock set back", off: "no session ends", says: "a session is good after", weaken: kept("login_sessions", "id")},
	{attack: "A-36/a new server", off: "there is an administrator", says: "gets in", weaken: kept("users", "id")},
}

// deletes has the server do what a device means by DELETE.
func deletes(statement string) func(*world) {
	return func(w *world) {
		w.put(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodDelete {
				w.exec(statement)
			}
			return next.RoundTrip(r)
		})
	}
}

// talkative shows what the database said.
func talkative(a *http.Response) {
	if a.StatusCode >= 400 {
		rewritten(func(body string) string { return body + "ERROR: syntax error at or near" })(a)
	}
}

// afterwards does something to the database after each request.
func afterwards(statements ...string) func(*world) {
	return func(w *world) {
		w.put(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			answer, err := next.RoundTrip(r)
			w.exec(statements...)
			return answer, err
		})
	}
}

// Each header is looked at: an answer that lacks one is noticed.
func TestEveryHeaderIsLookedAt(t *testing.T) {
	w := newWorld(t)
	a := w.browser().get("/login")
	checkHeaders(t, a)
	for _, name := range []string{"Strict-Transport-Security", "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options",
		"Cross-Origin-Resource-Policy", "Cache-Control", "Content-Type"} {
		less := *a.Response
		less.Header = a.Header.Clone()
		less.Header.Del(name)
		c := newControl(t, name+`|content policy|no Content-Type`)
		c.tries(func(t testing.TB) { checkHeaders(t, answer{&less, a.body}) })
		if !c.found {
			t.Errorf("nobody misses %s", name)
		}
	}
}
