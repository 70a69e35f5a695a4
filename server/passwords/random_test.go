package passwords

import (
	"testing"
	"time"
)

// The hash of a random secret is cheap to make, and nobody tells by the time of
// a log-in that an account has one.
func TestHashRandom(t *testing.T) {
	t.Parallel()
	h := &Hasher{Time: 1, Memory: 32 << 10}
	secret := Readable()
	light := h.HashRandom(secret)
	dear, err := h.Hash(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	if again := h.HashRandom(secret); again == light {
		t.Error("two hashes of a secret are the same")
	}
	// The fastest of some: what else the machine does only adds.
	took := func(hash, password string, want bool) time.Duration {
		t.Helper()
		fastest := time.Hour
		for range 5 {
			began := time.Now()
			ok, err := h.Verify(t.Context(), hash, password)
			if ok != want || err != nil {
				t.Errorf("Verify = %v, %v, want %v", ok, err, want)
			}
			fastest = min(fastest, time.Since(began))
		}
		return fastest
	}
	usual := took(dear, secret, true)
	for password, want := range map[string]bool{secret: true, "Another password 1": false} {
		got := took(light, password, want)
		if usual = min(usual, took(dear, secret, true)); got < usual/2 {
			t.Errorf("a log-in against the cheap hash takes %v, the usual %v", got, usual)
		}
	}
}
