// Package chunk decides where content is cut: large files into chunks, runs of
// small files into bundles, catalogs into pages, all by content, as
// docs/format.md section 3 says. The cuts depend on the chunker secret, so
// that nobody without it can compute them for a file they guess.
//
// Where a cut falls depends on the 64 bytes before it and the distance to the
// last one. An insertion therefore changes the chunk it is in and perhaps the
// next; then the old cuts are found again.
package chunk

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/backstay/backstay/backup"
)

// ID is the number of this way of cutting, in manifests.
const ID = 1

const (
	window    = 64      // bytes that the hash remembers
	hardLimit = 1 << 42 // before the mean: a cut every 4 MiB
	softLimit = 1 << 46 // after it: every 256 KiB
)

// Chunker cuts under one secret. It is cheap to make, and not safe for
// concurrent use.
type Chunker struct {
	table [256]uint64
	mac   hash.Hash
	sum   [sha256.Size]byte
}

// NewChunker returns a Chunker for the chunker secret K.
func NewChunker(secret backup.Key) *Chunker {
	c := &Chunker{mac: hmac.New(sha256.New, secret[:])}
	b, err := hkdf.Expand(sha256.New, secret[:], "backstay/v1/gear", 8*len(c.table))
	if err != nil {
		panic("chunk: " + err.Error()) // only for a length that HKDF cannot give
	}
	for i := range c.table {
		c.table[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return c
}
