package orgs

import (
	"crypto/rand"
	"strings"
	"unicode"

	"github.com/backstay/backstay/errs"
)

// A serial number is 100 random bits in Crockford's base 32, in five groups of
// four characters and a fifth that checks them:
//
//	X2R9C-GGT03-5XA9C-DTXP8-1919A
//
// The check is a sum over GF(32): every character counts with a factor of its
// own, and every group has its own start. So one wrong character changes the
// sum, and so do two exchanged characters of a group and two exchanged groups;
// and which group was mistyped is known without looking the serial up.
const (
	groups    = 5
	groupData = 4
	groupSize = groupData + 1
	serialLen = groups * groupSize
)

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// factors are what the characters of a group count: all different, and none of
// them is 1, which is what the check character counts.
var factors = [groupData]byte{2, 4, 8, 16}

// newSerial makes a serial number nobody can guess.
func newSerial() string {
	var random [groups * groupData]byte
	rand.Read(random[:])
	serial := make([]byte, 0, serialLen)
	for g := range groups {
		var values [groupData]byte
		for i := range values {
			values[i] = random[g*groupData+i] & 31
			serial = append(serial, alphabet[values[i]])
		}
		serial = append(serial, alphabet[check(g, values[:])])
	}
	return string(serial)
}

// check is the value of a group's last character.
func check(group int, values []byte) byte {
	sum := byte(group) + 1
	for i, v := range values {
		sum ^= multiply(v, factors[i])
	}
	return sum
}

// multiply is the product in GF(32), by the polynomial x⁵ + x² + 1.
func multiply(a, b byte) byte {
	var product byte
	for ; b > 0; b >>= 1 {
		if b&1 != 0 {
			product ^= a
		}
		a <<= 1
		if a&32 != 0 {
			a ^= 0b100101
		}
	}
	return product
}

// ParseSerial reads a serial number as people type it: in lower case, with O
// for 0 and I or L for 1, with or without dashes and spaces. The result is the
// 25 characters without dashes. What is wrong is E1302, which names the first
// group with a mistake.
func ParseSerial(typed string) (string, error) {
	parts := strings.FieldsFunc(typed, separates)
	serial := strings.Join(parts, "")
	if n := len([]rune(serial)); n != serialLen {
		if len(parts) == groups {
			return "", wrongGroup(firstUneven(parts))
		}
		return "", errs.Of(errs.BadSerial, "n", n)
	}
	plain := make([]byte, 0, serialLen)
	values := make([]byte, 0, serialLen)
	for _, r := range serial {
		v := value(r)
		if v < 0 {
			return "", wrongGroup(len(values) / groupSize)
		}
		values, plain = append(values, byte(v)), append(plain, alphabet[v])
	}
	for g := range groups {
		group := values[g*groupSize : (g+1)*groupSize]
		if check(g, group[:groupData]) != group[groupData] {
			return "", wrongGroup(g)
		}
	}
	return string(plain), nil
}

func wrongGroup(g int) error { return errs.Of(errs.BadSerial, "group", g+1) }

// separates reports whether r is no part of the serial: a space or a dash of
// any kind, also those that programs make of a typed one.
func separates(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || r == '\u2212' }

// firstUneven is the first part that has not the size of a group.
func firstUneven(parts []string) int {
	for i, p := range parts {
		if len([]rune(p)) != groupSize {
			return i
		}
	}
	return 0
}

// value is what a character counts, -1 when it is none of the alphabet.
func value(r rune) int {
	r = unicode.ToUpper(r)
	switch r {
	case 'O':
		r = '0'
	case 'I', 'L':
		r = '1'
	}
	return strings.IndexRune(alphabet, r)
}

// FormatSerial writes a serial number for people, in groups with dashes.
func FormatSerial(serial string) string {
	if len(serial) != serialLen {
		return serial
	}
	var b strings.Builder
	for g := range groups {
		if g > 0 {
			b.WriteByte('-')
		}
		b.WriteString(serial[g*groupSize : (g+1)*groupSize])
	}
	return b.String()
}
