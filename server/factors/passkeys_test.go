package factors_test

import (
	"strings"
	"testing"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/factors/factorstest"
)

// passkey enrols a passkey for the user and returns what holds it.
func (w *world) passkey(name string) *factorstest.Authenticator {
	w.Helper()
	a := factorstest.New(w.T, origin)
	if _, key := w.enrol(a, w.by, name); key != "" {
		w.Fatalf("enrolling = %s", key)
	}
	return a
}

func (w *world) enrol(a *factorstest.Authenticator, by access.Caller, name string) (factors.Passkey, string) {
	w.Helper()
	asked, err := w.BeginEnrol(w.Context(), by)
	if err != nil {
		return factors.Passkey{}, w.key(err)
	}
	p, err := w.FinishEnrol(w.Context(), by, name, a.Create(asked))
	return p, w.key(err)
}

func (w *world) ask(id accounts.ID, session string) []byte {
	w.Helper()
	asked, err := w.BeginProof(w.Context(), id, session)
	if err != nil {
		w.Fatal(err)
	}
	return asked
}

func (w *world) prove(session string, answer []byte) string {
	w.Helper()
	return w.key(w.FinishProof(w.Context(), w.user.ID, session, answer))
}

const (
	over    = "factor.passkey.over"
	refused = "factor.passkey.refused"
)

func TestPasskey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.BeginProof(t.Context(), w.user.ID, "s"); w.key(err) != "factor.passkey.none" {
		t.Errorf("asking for a passkey that is not there = %v", err)
	}
	a := factorstest.New(t, origin)
	p, key := w.enrol(a, w.by, "  My phone ")
	if key != "" || p.Name != "My phone" {
		t.Fatalf("enrolling = %+v, %s", p, key)
	}
	if s := w.of(w.user.ID); !s.Any() || len(s.Passkeys) != 1 || s.Passkeys[0].ID != p.ID || !s.Passkeys[0].LastUsedAt.IsZero() {
		t.Fatalf("enrolled: %+v", s)
	}
	asked := w.ask(w.user.ID, "s")
	if !strings.Contains(string(asked), `"userVerification":"required"`) || !strings.Contains(string(asked), `"rpId":"backup.example.org"`) {
		t.Errorf("the question is %s", asked)
	}
	// Another server on the same database takes the answer.
	other := w.server(w.Keys)
	answer := a.Get(asked)
	if err := other.FinishProof(t.Context(), w.user.ID, "s", answer); err != nil {
		t.Fatal(err)
	}
	if key := w.prove("s", answer); key != over {
		t.Errorf("the same answer again = %q", key)
	}
	if w.of(w.user.ID).Passkeys[0].LastUsedAt.IsZero() {
		t.Error("the use was not noted")
	}

	remove := func(by access.Caller, id string) string {
		return w.key(w.DB.Write(t.Context(), func(tx *db.Tx) error { return w.RemovePasskey(t.Context(), tx, by, id) }))
	}
	bob := w.create(accounts.New{Kind: access.UserKind, Username: "bob"})
	for _, test := range []struct {
		by  access.Caller
		id  string
		key string
	}{
		{bob.Caller(access.Caller{}), p.ID, "factor.passkey.unknown"},
		{w.by, "?", "factor.passkey.unknown"},
		{w.by, p.ID, ""},
		{w.by, p.ID, "factor.passkey.unknown"},
	} {
		if key := remove(test.by, test.id); key != test.key {
			t.Errorf("%s removes %q = %q, want %q", test.by.Name, test.id, key, test.key)
		}
	}
	if w.of(w.user.ID).Any() {
		t.Error("the passkey was not removed")
	}
}

// Each is an answer that a good one differs from in one thing.
func TestPasskeyProofsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.passkey("key")
	bob := w.create(accounts.New{Kind: access.UserKind, Username: "bob"})
	bobs := factorstest.New(t, origin)
	if _, key := w.enrol(bobs, bob.Caller(access.Caller{Session: "bob"}), "key"); key != "" {
		t.Fatal(key)
	}
	for _, test := range []struct {
		name string
		key  string
		try  func() string
	}{
		{"a good one", "", func() string { return w.prove("s", a.Get(w.ask(w.user.ID, "s"))) }},
		{"its owner was not seen", refused, func() string {
			a.Unverified = true
			defer func() { a.Unverified = false }()
			return w.prove("s", a.Get(w.ask(w.user.ID, "s")))
		}},
		{"asked for by another page", refused, func() string {
			a.Origin = "https://backup.example.org.evil.example"
			defer func() { a.Origin = origin }()
			return w.prove("s", a.Get(w.ask(w.user.ID, "s")))
		}},
		{"the same host's other port", refused, func() string {
			a.Origin = "https://backup.example.org"
			defer func() { a.Origin = origin }()
			return w.prove("s", a.Get(w.ask(w.user.ID, "s")))
		}},
		{"somebody else's passkey", refused, func() string { return w.prove("s", bobs.Get(w.ask(w.user.ID, "s"))) }},
		{"another session's question", over, func() string { return w.prove("other", a.Get(w.ask(w.user.ID, "s"))) }},
		{"a question to somebody else", over, func() string { return w.prove("bob", a.Get(w.ask(bob.ID, "bob"))) }},
		{"an older question", refused, func() string {
			old := a.Get(w.ask(w.user.ID, "s"))
			w.ask(w.user.ID, "s")
			return w.prove("s", old)
		}},
		{"a question to enrol", over, func() string {
			asked, err := w.BeginEnrol(t.Context(), w.by)
			if err != nil {
				t.Fatal(err)
			}
			return w.prove(w.by.Session, a.Get(asked))
		}},
		{"too late", over, func() string {
			answer := a.Get(w.ask(w.user.ID, "s"))
			w.now.Add(5 * 60)
			return w.prove("s", answer)
		}},
		{"no answer", refused, func() string { w.ask(w.user.ID, "s"); return w.prove("s", []byte("{}")) }},
		{"a good one after a bad one, to the same question", over, func() string {
			asked := w.ask(w.user.ID, "s")
			w.prove("s", []byte("{}"))
			return w.prove("s", a.Get(asked))
		}},
		{"a copy, which counts from where it was made", "factor.passkey.cloned", func() string {
			a.Counter = 1
			return w.prove("s", a.Get(w.ask(w.user.ID, "s")))
		}},
	} {
		if key := test.try(); key != test.key {
			t.Errorf("%s = %q, want %q", test.name, key, test.key)
		}
	}
}

func TestPasskeyEnrolmentsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := factorstest.New(t, origin)
	finish := func(by access.Caller, name string, answer []byte) string {
		_, err := w.FinishEnrol(t.Context(), by, name, answer)
		return w.key(err)
	}
	begin := func() []byte {
		asked, err := w.BeginEnrol(t.Context(), w.by)
		if err != nil {
			t.Fatal(err)
		}
		return asked
	}
	for _, name := range []string{"", " ", "a\nb", "a\xff", strings.Repeat("a", 61)} {
		if key := finish(w.by, name, a.Create(begin())); key != "factor.passkey.name" {
			t.Errorf("the name %q = %q", name, key)
		}
	}
	a.Unverified = true
	if key := finish(w.by, "key", a.Create(begin())); key != refused {
		t.Errorf("an authenticator that does not see its owner = %q", key)
	}
	a.Unverified = false
	a.Origin = "https://evil.example"
	if key := finish(w.by, "key", a.Create(begin())); key != refused {
		t.Errorf("another page = %q", key)
	}
	a.Origin = origin
	answer := a.Create(begin())
	stolen := w.by
	stolen.Session = "session-2"
	if key := finish(stolen, "key", answer); key != over {
		t.Errorf("another session = %q", key)
	}
	if key := finish(w.by, "key", answer); key != "" {
		t.Errorf("the right session = %q", key)
	}
	if key := finish(w.by, "key", answer); key != over {
		t.Errorf("once more = %q", key)
	}
	if n := len(w.of(w.user.ID).Passkeys); n != 1 {
		t.Errorf("%d passkeys, want 1", n)
	}
	for range 19 {
		w.passkey("key")
	}
	if _, err := w.BeginEnrol(t.Context(), w.by); w.key(err) != "factor.passkey.many" {
		t.Errorf("one too many = %v", err)
	}
}

// One question has one answer, however often it is given at once.
func TestPasskeyOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.passkey("key")
	answer := a.Get(w.ask(w.user.ID, "s"))
	if n := hundred(func() bool { return w.FinishProof(t.Context(), w.user.ID, "s", answer) == nil }); n != 1 {
		t.Errorf("the answer was good %d times", n)
	}
}

func TestPasskeysNeedAName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for address, can := range map[string]bool{
		"https://backup.example.org": true, "https://localhost:8443": true,
		"https://127.0.0.1:8443": false, "https://[::1]": false, "": false,
	} {
		w.URL = func() string { return address }
		if w.CanPasskey(access.UserKind) != can || w.CanPasskey(access.AdminKind) != can {
			t.Errorf("CanPasskey at %q = %v", address, !can)
		}
	}
	w.Console = func() string { return "https://admin.example.org:8444" }
	w.URL = func() string { return "https://10.0.0.1" }
	if w.CanPasskey(access.UserKind) || !w.CanPasskey(access.AdminKind) {
		t.Error("the console's own address does not count for administrators alone")
	}
	w.URL = func() string { return "https://10.0.0.1" }
	if _, err := w.BeginEnrol(t.Context(), w.by); w.key(err) != "factor.passkey.address" {
		t.Errorf("BeginEnrol = %v", err)
	}
}
