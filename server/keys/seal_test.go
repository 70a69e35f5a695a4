package keys_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/keys"
)

func open(t *testing.T, dir string) *keys.Ring {
	t.Helper()
	ring, err := keys.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestSeal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ring := open(t, dir)
	for _, plain := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("secret"), 1000)} {
		sealed, err := ring.Seal("totp", plain)
		if err != nil {
			t.Fatal(err)
		}
		if len(plain) > 1 && bytes.Contains(sealed, plain) {
			t.Error("what was sealed shows")
		}
		if got, err := open(t, dir).Unseal("totp", sealed); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("unsealed by the same key file: %v, or something else", err)
		}
		if again, _ := ring.Seal("totp", plain); bytes.Equal(again, sealed) {
			t.Error("sealed twice it is the same")
		}
		for i := 0; i < len(sealed); i += 1 + len(sealed)/50 {
			bad := bytes.Clone(sealed)
			bad[i] ^= 1
			if _, err := ring.Unseal("totp", bad); err == nil {
				t.Errorf("byte %d changed, and it opened", i)
			}
		}
		for _, bad := range [][]byte{nil, sealed[:40], sealed[:len(sealed)-1]} {
			if _, err := ring.Unseal("totp", bad); err == nil || errs.Find(err) != nil {
				t.Errorf("cut to %d bytes: %v, want an unexpected error", len(bad), err)
			}
		}
		if _, err := ring.Unseal("mail", sealed); err == nil {
			t.Error("opened for another purpose")
		}
		if _, err := open(t, t.TempDir()).Unseal("totp", sealed); err == nil {
			t.Error("another key file opened it")
		}
	}
	if _, err := ring.Seal("", []byte("x")); err == nil {
		t.Error("sealed without a purpose")
	}
}

func TestMAC(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ring := open(t, dir)
	want := ring.MAC("code", []byte("ab"), []byte("c"))
	if len(want) != 32 || !bytes.Equal(want, open(t, dir).MAC("code", []byte("ab"), []byte("c"))) {
		t.Error("the same key file makes another MAC")
	}
	for name, other := range map[string][]byte{
		"another purpose":    ring.MAC("link", []byte("ab"), []byte("c")),
		"parts cut anew":     ring.MAC("code", []byte("a"), []byte("bc")),
		"one part":           ring.MAC("code", []byte("abc")),
		"an empty part more": ring.MAC("code", []byte("ab"), []byte("c"), nil),
		"another key file":   open(t, t.TempDir()).MAC("code", []byte("ab"), []byte("c")),
	} {
		if bytes.Equal(want, other) {
			t.Errorf("%s: the same MAC", name)
		}
	}
}

func TestLicenceSignature(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ring := open(t, dir)
	document := []byte(`{"seats":5}`)
	verify := func(r *keys.Ring, document, signature []byte) bool {
		t.Helper()
		ok, err := r.VerifyLicence(document, signature)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if verify(ring, document, make([]byte, 64)) {
		t.Error("a signature of nobody's is good")
	}
	if _, err := os.Stat(filepath.Join(dir, "licence.key")); err == nil {
		t.Error("looking at a licence made a key")
	}
	signature, err := ring.SignLicence(document)
	if err != nil {
		t.Fatal(err)
	}
	if !verify(ring, document, signature) || !verify(open(t, dir), document, signature) {
		t.Error("what was signed does not verify")
	}
	if verify(ring, []byte(`{"seats":9}`), signature) || verify(ring, document, signature[:63]) || verify(ring, document, nil) {
		t.Error("a changed licence verifies")
	}
	other := open(t, t.TempDir())
	if _, err := other.SignLicence(document); err != nil {
		t.Fatal(err)
	}
	if verify(other, document, signature) {
		t.Error("another server's licence verifies")
	}
	info, err := os.Stat(filepath.Join(dir, "licence.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the licence key: %v, or a file open to others", err)
	}
}

// Several servers that sign their first licence at once end with one key.
func TestSeveralMakeTheLicenceKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	document := []byte("{}")
	signatures := make([][]byte, 8)
	var wg sync.WaitGroup
	for i := range signatures {
		ring := open(t, dir)
		wg.Go(func() {
			var err error
			if signatures[i], err = ring.SignLicence(document); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	ring := open(t, dir)
	for i, s := range signatures {
		if ok, err := ring.VerifyLicence(document, s); !ok || err != nil {
			t.Errorf("signature %d does not verify: %v", i, err)
		}
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 2 {
		t.Errorf("%d files, want the key file and the licence key", len(names))
	}
}

// A licence key that does not open is trouble of the server, said as such, and
// no reason to make another.
func TestDamagedLicenceKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := open(t, dir).SignLicence([]byte("{}")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "licence.key")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-1] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	ring := open(t, dir)
	if _, err := ring.VerifyLicence([]byte("{}"), nil); err == nil || errs.Find(err) != nil {
		t.Errorf("verifying: %v, want an unexpected error", err)
	}
	if _, err := ring.SignLicence([]byte("{}")); err == nil {
		t.Error("signed with another key")
	}
	// Nor is the key file made anew beside it.
	if err := os.Remove(filepath.Join(dir, "keyfile")); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Open(dir); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("without the key file: %v", err)
	}
}
