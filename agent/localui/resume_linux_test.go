package localui

import (
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/wire"
)

// C-14: a window that is opened again goes on where the activation stands. Only
// what waits for an administrator is said to; what was refused is chosen anew.
func TestGoesOn(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{"device.waiting": "/waiting", "device.activation.choice": "/devices"} {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", wire.MediaTypeProblem)
			w.Header().Set(wire.HeaderVersion, "0.1")
			w.WriteHeader(http.StatusForbidden)
			json.NewEncoder(w).Encode(wire.Problem{Key: key})
		}))
		defer server.Close()
		w := open(t)
		c := browser(t)
		enter(t, w, c)
		err := w.cfg.State.SetPending(&state.Pending{Server: server.URL, RequestID: uuid.NewString(), SigningSeed: make([]byte, ed25519.SeedSize),
			Begun: &wire.Activation{Activation: "bsx_a", ExpiresAt: time.Now().Add(time.Hour)}})
		if err != nil {
			t.Fatal(err)
		}
		client, err := wire.New(wire.Config{Server: server.URL, Fingerprint: wire.Fingerprint(server.Certificate())})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if d, err := agent.Finish(t.Context(), w.cfg.State, client, agent.Choice{Choice: wire.Add}); err == nil {
			t.Fatalf("it is %s in spite of %s", d.Name, key)
		}
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		answer, err := c.Get("http://" + w.addr + w.base + "/")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if at := answer.Header.Get("Location"); !strings.HasSuffix(at, want) {
			t.Errorf("after %s the window opens at %s, want %s", key, at, want)
		}
	}
}
