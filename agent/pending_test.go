package agent

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// E-13: a computer that waits for an administrator asks what became of it, also
// when it was off for longer than an activation lasts; it does not begin anew.
func TestWaitsForDays(t *testing.T) {
	t.Parallel()
	var asked []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		w.Header().Set("Content-Type", wire.MediaTypeProblem)
		w.Header().Set(wire.HeaderVersion, "0.1")
		w.WriteHeader(http.StatusForbidden)
		json.NewEncoder(w).Encode(wire.Problem{Key: "device.waiting"})
	}))
	defer server.Close()
	st, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	err = st.SetPending(&state.Pending{Server: server.URL, RequestID: uuid.NewString(), SigningSeed: make([]byte, ed25519.SeedSize), Root: "d",
		Begun: &wire.Activation{Activation: "bsx_a", ExpiresAt: time.Now().Add(-72 * time.Hour)}, Choice: &wire.FinishActivation{Choice: wire.Add}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := wire.New(wire.Config{Server: server.URL, Fingerprint: wire.Fingerprint(server.Certificate())})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = Deploy(t.Context(), st, client, Activation{Server: server.URL, Token: "bsd1.a.b.d"})
	if e := errs.Find(err); e == nil || e.Key != "device.waiting" || len(asked) != 1 || asked[0] != wire.Prefix+"activations/finish" {
		t.Errorf("it asked %q: %v", asked, err)
	}
}

// An activation that the computer forgot to end, since it was switched off in
// that moment, is not begun again when its device is to come back.
func TestEndedActivation(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	st := device(t, f)
	d, err := st.Device()
	if err != nil {
		t.Fatal(err)
	}
	left := &state.Pending{Server: d.Server, Username: d.Username, RequestID: uuid.NewString(), SigningSeed: d.Signing.Seed()}
	if err := st.SetPending(left); err != nil {
		t.Fatal(err)
	}
	p, err := pending(st, Activation{Server: d.Server, Username: d.Username})
	if err != nil || p.RequestID == left.RequestID || bytes.Equal(p.SigningSeed, left.SigningSeed) {
		t.Errorf("it goes on with the request and the key that its device has: %v", err)
	}
}
