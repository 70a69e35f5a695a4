package authattack_test

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay/server/access"
)

const routesFile = "testdata/routes.txt"

// target is a route to be asked for.
type target struct {
	access.Route
	method, path string
}

// targets are the routes with a guard of these, or all; each with the values
// for what its path leaves open.
func (w *world) targets(values map[string]string, guards ...access.Guard) (list []target) {
	w.Helper()
	for _, r := range w.Routes() {
		if len(guards) > 0 && !slices.Contains(guards, r.Guard) {
			continue
		}
		method, path, ok := strings.Cut(r.Pattern, " ")
		if !ok {
			method, path = http.MethodGet, r.Pattern
		}
		list = append(list, target{r, method, filled(path, values)})
	}
	return list
}

// filled puts values into a pattern's path, and an id that nobody has where
// there is none.
func filled(path string, values map[string]string) string {
	path = strings.TrimSuffix(path, "{$}")
	for {
		begin, end := strings.IndexByte(path, '{'), strings.IndexByte(path, '}')
		if begin < 0 {
			return path
		}
		value, ok := values[path[begin+1:end]]
		switch name := path[begin+1 : end]; {
		case ok:
		case name == "mail":
			value = "987654321"
		case name == "snapshot":
			value = putID()[:16]
		default:
			value = uuid.NewString()
		}
		path = path[:begin] + value + path[end+1:]
	}
}

// open reports whether a route's path leaves something open.
func open(r access.Route) bool {
	return strings.Contains(strings.ReplaceAll(r.Pattern, "{$}", ""), "{")
}

// portalOf is the part of a path by which one portal is told from the other.
func portalOf(path string) string {
	if path == "/admin" || strings.HasPrefix(path, "/admin/") {
		return "/admin"
	}
	return ""
}

// send asks for a target as a page of ours does, with a form that has something
// in every field we know of.
func (b *browser) send(t target, fields ...string) answer {
	b.w.Helper()
	if t.method == http.MethodGet || t.method == http.MethodHead {
		return b.do(b.request(t.method, t.path, nil))
	}
	at := *b
	at.base = ""
	return at.post(t.path, fields...)
}

// refused reports whether an answer lets nobody in: it says so, or leads to the
// log-in or to what the session still asks for.
func refused(a answer) bool {
	switch a.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return true
	case http.StatusSeeOther:
		to := strings.TrimPrefix(a.to(), "/admin")
		return slices.Contains([]string{"/login", "/first-password", "/factor", "/enrol"}, to)
	}
	return false
}

// Everything that the server answers to is in a file, and who gets there: a new
// route has to be put there by somebody who thought about it. Nobody who is not
// known gets anywhere else than to what is for everybody.
func everyRouteIsGuarded(t testing.TB) {
	w := newWorld(t)
	var lines []string
	for _, r := range w.Routes() {
		lines = append(lines, string(r.Guard)+"\t"+r.Pattern+"\n")
	}
	slices.Sort(lines)
	if *update {
		if err := os.WriteFile(routesFile, []byte(strings.Join(lines, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := os.ReadFile(routesFile)
	if err != nil {
		t.Fatal(err)
	}
	known := slices.Collect(strings.Lines(string(stored)))
	for _, line := range lines {
		if !slices.Contains(known, line) {
			t.Errorf("a route that nobody has decided about: %s; once you have: go test ./e2e/authattack -run TestAttacks/A-01 -update", strings.TrimSpace(line))
		}
	}
	for _, line := range known {
		if !slices.Contains(lines, line) {
			t.Errorf("%s names a route that is gone: %s", routesFile, line)
		}
	}

	stranger := w.browser()
	for _, target := range w.targets(nil) {
		a := stranger.send(target)
		if target.Guard == access.Anyone {
			if a.StatusCode >= 500 {
				t.Errorf("%s for anyone = %s", target.Pattern, a.Status)
			}
			continue
		}
		if !refused(a) {
			t.Errorf("%s for nobody we know = %s", target.Pattern, a.Status)
		}
	}
	for _, path := range []string{"/debug/pprof/", "/debug/vars", "/.git/config", "/.env", "/openapi.json", "/server-status", "/static/", "/admin/static/", "/agent/", "/nothing"} {
		if a := stranger.get(path); a.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s = %s, want 404", path, a.Status)
		}
	}
}

// differing is the first line of a that b has not.
func differing(a, b string) string {
	for line := range strings.Lines(a) {
		if !strings.Contains(b, line) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// A session that has not proved all there is to prove gets to that, and nowhere
// else: a password alone opens nothing of an account with a second factor.
func halfASession(t testing.TB) {
	w := newWorld(t)
	admin := w.app(w.Admin)
	user := w.app(w.User)
	for _, b := range []*browser{w.console().half("admin"), w.browser().half("user")} {
		for _, target := range w.targets(nil, access.WholeLogin) {
			if portalOf(target.path) != b.base {
				continue
			}
			if a := b.send(target); !refused(a) {
				t.Errorf("%s with half a session = %s", target.Pattern, a.Status)
			}
		}
		secret := user
		if b.base != "" {
			secret = admin
		}
		if a := b.post("/factor", "code", w.code(secret)); a.StatusCode != http.StatusSeeOther || !b.in() {
			t.Errorf("with the second factor: %s", a.Status)
		}
	}
}

// forms fills every field of ours with something that might pass.
var forms = []string{"username", "somebody", "email", "somebody@example.org", "first_name", "Some", "last_name", "Body",
	"name", "Another name", "reason", "because the test wants it", "confirm", "somebody", "password", "Another-Password-1", "again", "Another-Password-1",
	"role", "server_admin", "state", "active", "how", "mail", "code", "123456", "licence", "", "profile", "", "language", "en", "revision", "1"}
