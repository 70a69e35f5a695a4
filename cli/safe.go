package cli

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Safe makes a name fit to be shown on a terminal: what could move the cursor,
// change colours, turn the direction of the text or hide stands there as an
// escape, and so does the backslash, so that no two names look alike.
func Safe(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\\':
			b.WriteString(`\\`)
		case shown(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		i += size
	}
	return b.String()
}

// shown reports whether a terminal shows r as a sign or a space of its own.
func shown(r rune) bool {
	const joiner = '\u200d' // between the parts of one sign
	return unicode.IsPrint(r) || unicode.Is(unicode.Zs, r) || r == joiner
}
