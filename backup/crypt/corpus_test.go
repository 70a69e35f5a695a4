package crypt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	rand.NewChaCha8(key).Read(b)
	return b
}

// text is compressible, and not trivially so.
func text(n int) []byte {
	words := []string{"anchor", "backstay", "cleat", "deck", "fairlead", "gooseneck", "halyard", "jib", "keel"}
	r := rand.New(rand.NewPCG(uint64(n), 7))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%s %d ", words[r.IntN(len(words))], r.IntN(1000))
	}
	return b.Bytes()[:n]
}
