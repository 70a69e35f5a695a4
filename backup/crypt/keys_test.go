package crypt

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
)

func TestDerivedKeysDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	note := func(name string, b []byte) {
		if other, ok := seen[string(b)]; ok {
			t.Errorf("%s and %s are the same", name, other)
		}
		seen[string(b)] = name
	}
	for gen := range uint64(3) {
		u, err := DeriveUser(secretA, gen, gen+5)
		if err != nil {
			t.Fatal(err)
		}
		note("sk_u", u.SealPrivate)
		note("IK", u.Identity.Seed())
		note("S", u.Scope[:])
		note("K", u.Chunker[:])
		o, err := DeriveOrg(secretA, gen)
		if err != nil {
			t.Fatal(err)
		}
		note("sk_org", o.SealPrivate)
		note("root", o.Root.Seed())
		note("receipt", o.Receipt.Seed())
		again, err := DeriveUser(secretA, gen, gen+5)
		if err != nil || !bytes.Equal(again.SealPublic, u.SealPublic) || !again.Identity.Equal(u.Identity) {
			t.Error("the same root key gives other keys")
		}
		if len(u.SealPublic) != PublicKeySize {
			t.Errorf("a public key has %d bytes", len(u.SealPublic))
		}
	}
}

func TestHPKE(t *testing.T) {
	t.Parallel()
	private, public, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	info, plain := []byte("info"), []byte("root key")
	enc, ct, err := SealTo(public, info, plain)
	if err != nil {
		t.Fatal(err)
	}
	if len(enc) != EncapsulatedSize || len(ct) != len(plain)+tagSize {
		t.Errorf("sizes %d and %d", len(enc), len(ct))
	}
	if got, err := OpenWith(private, info, enc, ct); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("opened to %q, %v", got, err)
	}
	bad := bytes.Clone(ct)
	bad[0] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"key":   func() ([]byte, error) { return OpenWith(other, info, enc, ct) },
		"info":  func() ([]byte, error) { return OpenWith(private, []byte("Info"), enc, ct) },
		"bytes": func() ([]byte, error) { return OpenWith(private, info, enc, bad) },
		"enc":   func() ([]byte, error) { return OpenWith(private, info, enc[1:], ct) },
		"short": func() ([]byte, error) { return OpenWith(private, info, enc, ct[:3]) },
		"none":  func() ([]byte, error) { return OpenWith(nil, info, enc, ct) },
	} {
		if _, err := open(); !errs.Is(err, errs.Mismatch) {
			t.Errorf("another %s: %v, want E1506", name, err)
		}
	}
	if _, _, err := SealTo(public[1:], info, plain); !errs.Is(err, errs.Mismatch) {
		t.Errorf("sealing to a cut key: %v, want E1506", err)
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	kek, aad, x := []byte("key encryption key"), []byte("user and generation"), []byte("root key")
	w := Wrap(kek, aad, x)
	if got, err := Unwrap(kek, aad, w); err != nil || !bytes.Equal(got, x) {
		t.Fatalf("unwrapped to %q, %v", got, err)
	}
	if _, err := Unwrap([]byte("another"), aad, w); !errs.Is(err, errs.Mismatch) {
		t.Errorf("another key: %v, want E1506", err)
	}
	if _, err := Unwrap(kek, []byte("another"), w); !errs.Is(err, errs.Mismatch) {
		t.Errorf("another aad: %v, want E1506", err)
	}
	for i := range w {
		bad := bytes.Clone(w)
		bad[i] ^= 1
		if _, err := Unwrap(kek, aad, bad); !errs.Is(err, errs.Mismatch) {
			t.Fatalf("byte %d changed: %v, want E1506", i, err)
		}
		if _, err := Unwrap(kek, aad, w[:i]); !errs.Is(err, errs.Mismatch) {
			t.Fatalf("cut to %d bytes: %v, want E1506", i, err)
		}
	}
}

// C-08: each wrap has a salt of its own, and so a key of its own.
func TestWrapsNeverRepeat(t *testing.T) {
	t.Parallel()
	seen := map[[wrapSalt]byte]bool{}
	for range 10_000 {
		salt := [wrapSalt]byte(Wrap(secretA[:], nil, nil))
		if seen[salt] {
			t.Fatal("a salt came twice")
		}
		seen[salt] = true
	}
}

func TestSealedSecrets(t *testing.T) {
	t.Parallel()
	private, public, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	user, device := backup.UUID{1}, backup.UUID{2}
	w, err := SealUser(public, user, 3, secretA)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenUser(private, user, 3, w); err != nil || got != secretA {
		t.Errorf("W_org opened to another key, %v", err)
	}
	if _, err := OpenUser(private, user, 4, w); !errs.Is(err, errs.Mismatch) {
		t.Errorf("W_org of another generation: %v, want E1506", err)
	}
	if _, err := OpenUser(private, device, 3, w); !errs.Is(err, errs.Mismatch) {
		t.Errorf("W_org of another user: %v, want E1506", err)
	}
	want := Secrets{KeyGen: 3, Epoch: 4, Scope: secretA, Chunker: secretB}
	signing := bytes.Repeat([]byte{7}, 32)
	sealed, err := SealEnrolment(public, user, device, signing, want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenEnrolment(private, user, device, signing, sealed); err != nil || got != want {
		t.Errorf("enrolment opened to %v, %v", got, err)
	}
	if _, err := OpenEnrolment(private, user, device, signing[1:], sealed); !errs.Is(err, errs.Mismatch) {
		t.Errorf("enrolment of another signing key: %v, want E1506", err)
	}
	opening, err := SealOpening(public, backup.Hash{1}, []byte("private part"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenOpening(private, backup.Hash{1}, opening); err != nil || string(got) != "private part" {
		t.Errorf("opening opened to %q, %v", got, err)
	}
	if _, err := OpenOpening(private, backup.Hash{2}, opening); !errs.Is(err, errs.Mismatch) {
		t.Errorf("opening of another manifest: %v, want E1506", err)
	}
	org := WrapOrg([]byte("key file"), user, 1, secretA)
	if got, err := UnwrapOrg([]byte("key file"), user, 1, org); err != nil || got != secretA {
		t.Errorf("organisation's key unwrapped to another, %v", err)
	}
	if _, err := UnwrapOrg([]byte("key file"), user, 2, org); !errs.Is(err, errs.Mismatch) {
		t.Errorf("organisation's key of another generation: %v, want E1506", err)
	}
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	public := key.Public().(ed25519.PublicKey)
	sig := Sign(key, "manifest", []byte("text"))
	if err := VerifySignature(public, "manifest", []byte("text"), sig); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"type":      VerifySignature(public, "receipt", []byte("text"), sig),
		"text":      VerifySignature(public, "manifest", []byte("Text"), sig),
		"signature": VerifySignature(public, "manifest", []byte("text"), sig[1:]),
		"key":       VerifySignature(public[1:], "manifest", []byte("text"), sig),
	} {
		if !errs.Is(err, errs.Mismatch) {
			t.Errorf("another %s: %v, want E1506", name, err)
		}
	}
}

func FuzzUnwrap(f *testing.F) {
	f.Add(Wrap(secretA[:], nil, []byte("x")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Unwrap(secretB[:], nil, b); err == nil {
			t.Fatal("unwrapped with a key that wrapped nothing")
		}
		if _, err := openJoined(make([]byte, 32), nil, b); err == nil {
			t.Fatal("opened with a key that nothing was sealed to")
		}
	})
}
