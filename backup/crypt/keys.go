package crypt

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"strconv"

	"github.com/backstay/backstay/backup"
)

// User is what a user's root key gives. Devices get Scope, Chunker and
// SealPublic only.
type User struct {
	SealPrivate []byte             // sk_u, opens manifests
	SealPublic  []byte             // pk_u
	Identity    ed25519.PrivateKey // IK, certifies devices
	Scope       backup.Key         // S, from which objects' keys are made
	Chunker     backup.Key         // K, decides where content is cut
}

// DeriveUser makes a user's keys from the root key of generation gen, for the
// deduplication epoch given.
func DeriveUser(urk backup.Key, gen, epoch uint64) (User, error) {
	g, e := strconv.FormatUint(gen, 10), strconv.FormatUint(epoch, 10)
	private, public, err := DeriveKey(Expand(urk[:], "backstay/v1/usr/hpke/"+g, 32))
	if err != nil {
		return User{}, err
	}
	return User{
		SealPrivate: private,
		SealPublic:  public,
		Identity:    ed25519.NewKeyFromSeed(Expand(urk[:], "backstay/v1/usr/sign/"+g, 32)),
		Scope:       expandKey(urk[:], "backstay/v1/usr/scope/"+e),
		Chunker:     expandKey(urk[:], "backstay/v1/usr/chunker/"+e),
	}, nil
}

// Org is what an organisation's root key gives.
type Org struct {
	SealPrivate []byte             // sk_org, opens manifests in managed mode
	SealPublic  []byte             // pk_org
	Root        ed25519.PrivateKey // certifies users
	Receipt     ed25519.PrivateKey // signs receipts
}

// DeriveOrg makes an organisation's keys from its root key of generation gen.
func DeriveOrg(ork backup.Key, gen uint64) (Org, error) {
	g := strconv.FormatUint(gen, 10)
	private, public, err := DeriveKey(Expand(ork[:], "backstay/v1/org/hpke/"+g, 32))
	if err != nil {
		return Org{}, err
	}
	return Org{
		SealPrivate: private,
		SealPublic:  public,
		Root:        ed25519.NewKeyFromSeed(Expand(ork[:], "backstay/v1/org/root/"+g, 32)),
		Receipt:     ed25519.NewKeyFromSeed(Expand(ork[:], "backstay/v1/org/receipt/"+g, 32)),
	}, nil
}

// KeyID names a public key: the SHA-256 of its encoding.
func KeyID(public []byte) backup.Hash { return sha256.Sum256(public) }

// SignatureSize is the length of a signature.
const SignatureSize = ed25519.SignatureSize

// Sign signs m as a message of the type given. A signature for one type says
// nothing about another.
func Sign(private ed25519.PrivateKey, kind string, m []byte) []byte {
	return ed25519.Sign(private, signed(kind, m))
}

// VerifySignature checks what Sign made.
func VerifySignature(public ed25519.PublicKey, kind string, m, signature []byte) error {
	if len(public) != ed25519.PublicKeySize || !ed25519.Verify(public, signed(kind, m), signature) {
		return mismatch("signature of a "+kind, errors.New("is wrong"))
	}
	return nil
}

func signed(kind string, m []byte) []byte {
	sum := sha256.Sum256(m)
	var b bytes.Buffer
	b.WriteString("backstay/v1/")
	b.WriteString(kind)
	b.WriteByte(0)
	b.Write(sum[:])
	return b.Bytes()
}
