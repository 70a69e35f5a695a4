// Package crypt is all of the engine's cryptography: it derives keys, seals
// objects and opens them, signs, and seals secrets to public keys. It follows
// docs/format.md sections 1, 2, 4 and 8, suite 1.
//
// An object's key is made from the very bytes that are sealed, by Seal alone.
// Nothing here takes an object's key for sealing, so a key and the constant
// nonce that goes with it never meet two messages, whatever the compressor or
// a caller does (rule W1 of the review: a key made from the plaintext would
// repeat as soon as the compressor changes its output).
//
// Profile 1 is how a writer encodes plaintext, so that the same bytes always
// give the same id:
//
//   - zstd of github.com/klauspost/compress at SpeedFastest, window 4 MiB, all
//     literals entropy-coded, one frame with the content's size, no checksum
//     and no dictionary. A test pins its output; an upgrade that changes it
//     needs a new profile. The next level, SpeedDefault, stores 5 to 7 per
//     cent less and takes half as long again (BenchmarkProfile).
//   - Plaintext of 65,536 bytes or more is first tried on a sample: 8 pieces
//     of 4,096 bytes, joined, piece i beginning at offset i × (len − 4,096) / 7
//     rounded down. When it does not compress to less than 31,457 bytes (96
//     per cent), the plaintext is stored as it is: of media files and
//     archives that costs one per cent of their size, and saves a third of
//     their time. So is plaintext that compression does not make shorter.
//
// Whatever does not verify (wrong key, wrong kind, damage, a length that lies)
// gives an error with the code E1506, which says nothing more to anybody who
// might be probing; its cause is for logs.
package crypt

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"

	"github.com/backstay/backstay/backup"
)

// Expand is HKDF-Expand with SHA-256 and info label, for the derivations of
// format.md section 2. n is at most 8,160.
func Expand(k []byte, label string, n int) []byte {
	out, err := hkdf.Expand(sha256.New, k, label, n)
	if err != nil {
		panic("crypt: " + err.Error()) // n too large: not for data to decide
	}
	return out
}

func expandKey(k []byte, label string) backup.Key { return backup.Key(Expand(k, label, 32)) }

// extract is HKDF-Extract with SHA-256.
func extract(salt, k []byte) []byte {
	m := hmac.New(sha256.New, salt)
	m.Write(k)
	return m.Sum(nil)
}

func mismatch(what string, cause error) error { return backup.Mismatched(what, cause) }
