package crypt

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"

	"github.com/backstay/backstay/backup"
)

var errShort = errors.New("is too short")

const (
	wrapSalt  = 32
	wrapNonce = 12
)

// Wrap encrypts x under kek, a secret of high entropy or the result of a
// password function, bound to aad. Each call takes a new salt, so the key
// that meets the nonce is new too. The wrap commits to kek: two keys cannot
// both open it.
func Wrap(kek, aad, x []byte) []byte {
	b := make([]byte, wrapSalt, wrapSalt+32+wrapNonce+len(x)+tagSize)
	rand.Read(b) // never fails: the program stops when the system has no randomness
	nonce := make([]byte, wrapNonce)
	rand.Read(nonce)
	return wrap(b, nonce, kek, aad, x)
}

func wrap(salt, nonce, kek, aad, x []byte) []byte {
	key, com := wrapKeys(salt, kek, aad)
	b := append(salt[:wrapSalt:cap(salt)], com...)
	b = append(b, nonce...)
	return newGCM(key).Seal(b, nonce, x, aad)
}

// Unwrap opens what Wrap made, for the same aad.
func Unwrap(kek, aad, wrapped []byte) ([]byte, error) {
	if len(wrapped) < wrapSalt+32+wrapNonce+tagSize {
		return nil, mismatch("wrapped key", errShort)
	}
	salt, rest := wrapped[:wrapSalt], wrapped[wrapSalt:]
	com, rest := rest[:32], rest[32:]
	nonce, ct := rest[:wrapNonce], rest[wrapNonce:]
	key, want := wrapKeys(salt, kek, aad)
	if subtle.ConstantTimeCompare(com, want) != 1 {
		return nil, mismatch("wrapped key", errors.New("another key was used"))
	}
	x, err := newGCM(key).Open(nil, nonce, ct, aad)
	if err != nil {
		return nil, mismatch("wrapped key", err)
	}
	return x, nil
}

func wrapKeys(salt, kek, aad []byte) (key, com []byte) {
	okm := Expand(extract(salt, kek), "backstay/v1/wrap\x00"+string(aad), 64)
	return okm[:32], okm[32:]
}

// WrapOrg wraps an organisation's root key under the server's key file.
func WrapOrg(keyFile []byte, org backup.UUID, gen uint64, ork backup.Key) []byte {
	return Wrap(keyFile, orgLabel(org, gen), ork[:])
}

// UnwrapOrg opens what WrapOrg made.
func UnwrapOrg(keyFile []byte, org backup.UUID, gen uint64, wrapped []byte) (backup.Key, error) {
	ork, err := Unwrap(keyFile, orgLabel(org, gen), wrapped)
	if err != nil {
		return backup.Key{}, err
	}
	return asKey("organisation's key", ork)
}

func orgLabel(org backup.UUID, gen uint64) []byte {
	e := backup.Encoder{B: []byte("backstay/v1/org-key\x00")}
	e.Raw(org[:])
	e.U64(gen)
	return e.B
}

// SealUser seals a user's root key to the organisation: W_org.
func SealUser(orgPublic []byte, user backup.UUID, gen uint64, urk backup.Key) ([]byte, error) {
	return sealJoined(orgPublic, userInfo(user, gen), urk[:])
}

// OpenUser opens what SealUser made.
func OpenUser(orgPrivate []byte, user backup.UUID, gen uint64, sealed []byte) (backup.Key, error) {
	urk, err := openJoined(orgPrivate, userInfo(user, gen), sealed)
	if err != nil {
		return backup.Key{}, err
	}
	return asKey("user's key", urk)
}

func userInfo(user backup.UUID, gen uint64) []byte {
	e := backup.Encoder{B: []byte("backstay/v1/urk\x00")}
	e.Raw(user[:])
	e.U64(gen)
	return e.B
}

// Secrets are what a device needs to write, and cannot read history with.
type Secrets struct {
	KeyGen  uint64
	Epoch   uint64
	Scope   backup.Key // S
	Chunker backup.Key // K
}

// SealEnrolment seals a device's secrets to its one-time key, bound to its
// signing key.
func SealEnrolment(oneTime []byte, user, device backup.UUID, signing []byte, s Secrets) ([]byte, error) {
	var e backup.Encoder
	e.U64(s.KeyGen)
	e.U64(s.Epoch)
	e.Raw(s.Scope[:])
	e.Raw(s.Chunker[:])
	return sealJoined(oneTime, enrolmentInfo(user, device, signing), e.B)
}

// OpenEnrolment opens what SealEnrolment made.
func OpenEnrolment(oneTimePrivate []byte, user, device backup.UUID, signing, sealed []byte) (Secrets, error) {
	plain, err := openJoined(oneTimePrivate, enrolmentInfo(user, device, signing), sealed)
	if err != nil {
		return Secrets{}, err
	}
	d := backup.NewDecoder("device's secrets", plain)
	s := Secrets{KeyGen: d.U64(), Epoch: d.U64(), Scope: d.Key(), Chunker: d.Key()}
	return s, d.Finish()
}

func enrolmentInfo(user, device backup.UUID, signing []byte) []byte {
	e := backup.Encoder{B: []byte("backstay/v1/enrol\x00")}
	e.Raw(user[:])
	e.Raw(device[:])
	e.Raw(signing)
	return e.B
}

// SealOpening seals a manifest's private part to a reader's one-time key.
func SealOpening(oneTime []byte, manifest backup.Hash, private []byte) ([]byte, error) {
	return sealJoined(oneTime, openingInfo(manifest), private)
}

// OpenOpening opens what SealOpening made, giving the private part's bytes.
func OpenOpening(oneTimePrivate []byte, manifest backup.Hash, sealed []byte) ([]byte, error) {
	return openJoined(oneTimePrivate, openingInfo(manifest), sealed)
}

func openingInfo(manifest backup.Hash) []byte {
	return append([]byte("backstay/v1/open\x00"), manifest[:]...)
}

func asKey(what string, b []byte) (backup.Key, error) {
	if len(b) != len(backup.Key{}) {
		return backup.Key{}, mismatch(what, errors.New("has the wrong length"))
	}
	return backup.Key(b), nil
}
