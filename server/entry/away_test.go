package entry_test

import (
	"net/http"
	"testing"

	"github.com/backstay/backstay/server/servertest"
)

// Without its database the server says on every page when to come back, lets
// nobody in and promises nothing.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	b := open(t, s)
	b.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	if err := s.DB.Close(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []page{
		b.get("/account", http.StatusServiceUnavailable),
		b.get("/", http.StatusServiceUnavailable),
		b.post("/login", http.StatusServiceUnavailable, "username", "user", "password", servertest.UserPassword),
		b.post("/forgot", http.StatusServiceUnavailable, "username", "user"),
	} {
		p.has(t, "Try again in a minute.")
		if p.Header.Get("Retry-After") == "" {
			t.Errorf("%s does not say when to come back", p.Request.URL.Path)
		}
	}
}
