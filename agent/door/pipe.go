package door

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// What a pipe is called and whom its system lets in is decided here, as text, so
// that it is tested where there are no pipes.

// Security identifiers that every Windows has.
const (
	systemSID         = "S-1-5-18"
	administratorsSID = "S-1-5-32-544"
)

// knock is what whoever knocks may do: read, write, ask for the pipe's owner. It
// is less than "write", which on a pipe means to open more of its ends and so to
// answer in its name.
const knock = 0x12019b

// pipeName is the name of the pipe that stands for a path. Pipes have no folders:
// two paths must not share one, and case does not tell paths apart.
func pipeName(path string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(path)))
	return `\\.\pipe\backstay-` + hex.EncodeToString(sum[:16])
}

// descriptor says, in Windows' own language for it, what a pipe allows that the
// user sid has made, to whom it belongs: everything to them and to the system, to administrators and,
// if it is for everybody, to whoever is logged in, that they knock. Nobody comes
// over the network, nothing is inherited.
func descriptor(sid string, who For) string {
	text := fmt.Sprintf("O:%[1]sD:P(D;;GA;;;NU)(A;;GA;;;SY)(A;;GA;;;%[1]s)(A;;%#[2]x;;;BA)", sid, knock)
	if who == Everybody {
		text += fmt.Sprintf("(A;;%#x;;;IU)", knock)
	}
	return text
}

// opener reports whether a pipe that belongs to owner was opened by self or by the
// system. Pipes of others carry the name by which ours is looked for.
func opener(owner, self string) bool {
	return owner == self || owner == systemSID
}
