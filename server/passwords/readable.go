package passwords

import (
	"crypto/rand"
	"math/big"
	"strings"
)

const (
	consonants = "bdfghjklmnprstvz"
	vowels     = "aeiou"
)

// Readable makes a password that can be read out and typed, of 71 bits:
// four made-up words and a number, such as Bofad-Likum-Zarev-Tupos-42. It meets
// the policy classic.
func Readable() string {
	var b strings.Builder
	for range 4 {
		b.WriteByte(pick(consonants) - 'a' + 'A')
		b.WriteByte(pick(vowels))
		b.WriteByte(pick(consonants))
		b.WriteByte(pick(vowels))
		b.WriteByte(pick(consonants))
		b.WriteByte('-')
	}
	b.WriteByte(pick("23456789"))
	b.WriteByte(pick("23456789"))
	return b.String()
}

func pick(from string) byte {
	n, err := rand.Int(rand.Reader, big.NewInt(int64(len(from))))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return from[n.Int64()]
}
