package main

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// safe makes a name fit to be shown on a terminal: what could move the cursor,
// change colours, turn the direction of the text or hide stands there as an
// escape, and so does the backslash, so that no two names look alike.
func safe(s string) string {
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

// pathJSON is a path in JSON output. Text is not exact when the name is not
// UTF-8; the base64 form then is.
type pathJSON struct {
	Path string `json:"path"`
	B64  string `json:"path_b64,omitempty"`
}

func toJSON(path string) pathJSON {
	if utf8.ValidString(path) {
		return pathJSON{Path: path}
	}
	return pathJSON{Path: strings.ToValidUTF8(path, "\ufffd"), B64: base64.StdEncoding.EncodeToString([]byte(path))}
}

// shorten cuts a path in the middle to at most width signs.
func shorten(s string, width int) string {
	runes := []rune(s)
	if len(runes) <= width {
		return s
	}
	if width < 5 {
		return ""
	}
	head := (width - 1) / 3
	tail := width - 1 - head
	return string(runes[:head]) + "…" + string(runes[len(runes)-tail:])
}
