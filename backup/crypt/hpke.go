package crypt

import (
	"crypto/hpke"
	"fmt"
	"slices"
)

// Sizes of what HPKE with X-Wing makes.
const (
	PublicKeySize    = 1216
	EncapsulatedSize = 1120
	tagSize          = 16
)

func kem() hpke.KEM   { return hpke.MLKEM768X25519() }
func kdf() hpke.KDF   { return hpke.HKDFSHA256() }
func aead() hpke.AEAD { return hpke.AES256GCM() }

// GenerateKey makes a new X-Wing pair, for one use or for years.
func GenerateKey() (private, public []byte, err error) { return pair(kem().GenerateKey()) }

// DeriveKey makes the X-Wing pair that belongs to ikm, 32 secret bytes.
func DeriveKey(ikm []byte) (private, public []byte, err error) { return pair(kem().DeriveKeyPair(ikm)) }

func pair(k hpke.PrivateKey, err error) ([]byte, []byte, error) {
	if err != nil {
		return nil, nil, fmt.Errorf("making a key pair: %w", err)
	}
	private, err := k.Bytes()
	if err != nil {
		return nil, nil, fmt.Errorf("making a key pair: %w", err)
	}
	return private, k.PublicKey().Bytes(), nil
}

// SealTo seals plain to the holder of public's private key, bound to info.
func SealTo(public, info, plain []byte) (enc, ct []byte, err error) {
	key, err := kem().NewPublicKey(public)
	if err != nil {
		return nil, nil, mismatch("public key", err)
	}
	enc, sender, err := hpke.NewSender(key, kdf(), aead(), info)
	if err != nil {
		return nil, nil, fmt.Errorf("sealing to a public key: %w", err)
	}
	ct, err = sender.Seal(nil, plain)
	if err != nil {
		return nil, nil, fmt.Errorf("sealing to a public key: %w", err)
	}
	return enc, ct, nil
}

// OpenWith opens what SealTo made, for the same info.
func OpenWith(private, info, enc, ct []byte) ([]byte, error) {
	if len(enc) != EncapsulatedSize || len(ct) < tagSize {
		return nil, mismatch("sealed secret", errShort)
	}
	key, err := kem().NewPrivateKey(private)
	if err != nil {
		return nil, mismatch("private key", err)
	}
	plain, err := hpke.Open(key, kdf(), aead(), info, slices.Concat(enc, ct))
	if err != nil {
		return nil, mismatch("sealed secret", err)
	}
	return plain, nil
}

// openJoined opens enc ‖ ct.
func openJoined(private, info, joined []byte) ([]byte, error) {
	if len(joined) < EncapsulatedSize {
		return nil, mismatch("sealed secret", errShort)
	}
	return OpenWith(private, info, joined[:EncapsulatedSize], joined[EncapsulatedSize:])
}

func sealJoined(public, info, plain []byte) ([]byte, error) {
	enc, ct, err := SealTo(public, info, plain)
	if err != nil {
		return nil, err
	}
	return append(enc, ct...), nil
}
