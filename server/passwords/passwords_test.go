package passwords_test

import (
	"strings"
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/passwords"
)

const password = "Correct horse 1"

func TestDefaultParameters(t *testing.T) {
	t.Parallel()
	hash, err := new(passwords.Hasher).Hash(t.Context(), password)
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=65536,t=3,p=1$") {
		t.Errorf("the hash is %s, %v", hash, err)
	}
}

// More attempts than may wait are told to come back.
func TestHasherIsBounded(t *testing.T) {
	t.Parallel()
	h := &passwords.Hasher{Time: 2, Memory: 16 << 10, AtOnce: 1, Waiting: 2}
	results := make(chan error)
	const tries = 12
	for range tries {
		go func() {
			_, err := h.Hash(t.Context(), password)
			results <- err
		}()
	}
	done, busy := 0, 0
	for range tries {
		switch err := <-results; {
		case err == nil:
			done++
		case errs.Is(err, errs.ServerBusy):
			busy++
		default:
			t.Error(err)
		}
	}
	if done < 1 || busy < 1 {
		t.Errorf("%d done, %d told to come back", done, busy)
	}
	if _, err := h.Hash(t.Context(), password); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestReadable(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		p := passwords.Readable()
		if seen[p] {
			t.Fatalf("%s came twice", p)
		}
		seen[p] = true
		if len(p) != 26 || strings.ContainsAny(p, `"'<>&; 01`) || passwords.Check(p) != nil ||
			!strings.ContainsAny(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") || !strings.ContainsAny(p, "abcdefghijklmnopqrstuvwxyz") {
			t.Fatalf("%s does not meet the policy", p)
		}
	}
}
