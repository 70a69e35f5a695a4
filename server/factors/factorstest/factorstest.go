// Package factorstest gives tests what a person holds in the hand: a passkey's
// authenticator and an authenticator app.
package factorstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

// Code is what an app with the secret shows at a time.
func Code(t testing.TB, secret string, at time.Time) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, at)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// Authenticator is a device with one passkey, and the browser it is plugged
// into. Its fields are what a test may have it do wrong.
type Authenticator struct {
	T          testing.TB
	Origin     string // of the page that asks
	Unverified bool   // does not look who its owner is
	Counter    uint32 // counts each use

	id, user []byte
	key      *ecdsa.PrivateKey
}

// New returns an authenticator without a passkey yet.
func New(t testing.TB, origin string) *Authenticator {
	return &Authenticator{T: t, Origin: origin}
}

// options is what we read of what a server asks.
type options struct {
	PublicKey struct {
		Challenge string
		RPID      string
		RP        struct{ ID string }
		User      struct{ ID string }
	}
}

const (
	present  = 1 << 0
	verified = 1 << 2
	attested = 1 << 6
)

// Create answers navigator.credentials.create: it makes the passkey.
func (a *Authenticator) Create(asked []byte) []byte {
	a.T.Helper()
	o := a.read(asked)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.T.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		a.T.Fatal(err)
	}
	a.key, a.id, a.user = key, make([]byte, 32), a.decode(o.PublicKey.User.ID)
	rand.Read(a.id)

	data := a.data(o.PublicKey.RP.ID, attested)
	data = append(data, make([]byte, 16)...) // of no known make
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.id)))
	data = append(data, a.id...)
	data = append(data, "\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20"...) // COSE: EC2, ES256, P-256, x
	data = append(data, point[1:33]...)
	data = append(data, "\x22\x58\x20"...) // y
	data = append(data, point[33:]...)

	object := []byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59")
	object = binary.BigEndian.AppendUint16(object, uint16(len(data)))
	return a.answer(map[string]string{
		"clientDataJSON":    encode(a.client("webauthn.create", o)),
		"attestationObject": encode(append(object, data...)),
	})
}

// Get answers navigator.credentials.get: it signs with the passkey.
func (a *Authenticator) Get(asked []byte) []byte {
	a.T.Helper()
	o := a.read(asked)
	data, client := a.data(o.PublicKey.RPID, 0), a.client("webauthn.get", o)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(append([]byte{}, data...), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, digest[:])
	if err != nil {
		a.T.Fatal(err)
	}
	return a.answer(map[string]string{
		"clientDataJSON": encode(client), "authenticatorData": encode(data),
		"signature": encode(signature), "userHandle": encode(a.user),
	})
}

func (a *Authenticator) read(asked []byte) (o options) {
	a.T.Helper()
	if err := json.Unmarshal(asked, &o); err != nil || o.PublicKey.Challenge == "" {
		a.T.Fatalf("no question to an authenticator: %s", asked)
	}
	return o
}

// data is the authenticator's data without a credential's.
func (a *Authenticator) data(rp string, flags byte) []byte {
	flags |= present
	if !a.Unverified {
		flags |= verified
	}
	a.Counter++
	hash := sha256.Sum256([]byte(rp))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), a.Counter)
}

func (a *Authenticator) client(kind string, o options) []byte {
	text, err := json.Marshal(map[string]any{"type": kind, "challenge": o.PublicKey.Challenge, "origin": a.Origin, "crossOrigin": false})
	if err != nil {
		a.T.Fatal(err)
	}
	return text
}

func (a *Authenticator) answer(response map[string]string) []byte {
	text, err := json.Marshal(map[string]any{"id": encode(a.id), "rawId": encode(a.id), "type": "public-key", "response": response})
	if err != nil {
		a.T.Fatal(err)
	}
	return text
}

func (a *Authenticator) decode(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		a.T.Fatal(err)
	}
	return b
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
