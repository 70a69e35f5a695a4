package signin_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/signin"
)

// Whoever asks gets the same answer, twenty times a minute from one connection,
// whatever they ask about; what is counted does not say it either.
func TestDiscover(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := func(ip, identifier string) error {
		method, err := w.g.Discover(w.Context(), access.Caller{IP: ip}, identifier)
		if err == nil && method != signin.Password {
			t.Errorf("Discover(%q) = %q", identifier, method)
		}
		return err
	}
	for i := range 20 {
		identifier := []string{"ann", "nobody", "ann@example.org", "nobody@example.com", "", "@", "a@b@c"}[i%7]
		if err := ask("192.0.2.7", identifier); err != nil {
			t.Errorf("Discover(%q) = %v", identifier, err)
		}
	}
	e := errs.Find(ask("192.0.2.7", "ann"))
	if e == nil || e.Code != errs.TooManyAttempts || e.Args["n"] != 60 {
		t.Errorf("the 21st time: %v, want E1104 with 60 seconds", e)
	}
	if err := ask("192.0.2.8", "ann"); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
	// One customer of a provider has all addresses of a /64.
	for range 20 {
		ask("2001:db8:1:1::1", "ann")
	}
	if err := ask("2001:db8:1:1::ffff", "ann"); !errs.Is(err, errs.TooManyAttempts) {
		t.Errorf("from another address of the same connection: %v", err)
	}
	w.Move(time.Minute)
	if err := ask("192.0.2.7", "ann"); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}
