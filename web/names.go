package web

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Names out of backups are data: whoever wrote them may have wanted them to
// mislead, to hide or to break the page.

// Visible is name with everything that a page would not show, or would use to
// reorder the text around it, written out: control characters, marks of
// direction, zero-width characters and bytes that are not UTF-8.
func Visible(name string) string {
	if plain(name) {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); {
		r, size := utf8.DecodeRuneInString(name[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, name[i])
		case hidden(r) && r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case hidden(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(name[i : i+size])
		}
		i += size
	}
	return b.String()
}

func plain(name string) bool {
	for _, r := range name {
		if r == utf8.RuneError || hidden(r) {
			return false
		}
	}
	return true
}

// hidden are the characters nobody sees. The joiners between emoji and in
// some scripts are left alone.
func hidden(r rune) bool {
	switch r {
	case 0x200c, 0x200d:
		return false
	case 0xfeff, 0x2028, 0x2029, 0x00ad:
		return true
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
}

// Attachment is the Content-Disposition that saves a file under name
// (RFC 6266): a plain form for old readers and the exact one for all others.
func Attachment(name string) string {
	name = strings.ToValidUTF8(name, "_")
	var ascii, exact strings.Builder
	for _, r := range name {
		if unicode.IsControl(r) || r == '/' || r == '\\' || unicode.Is(unicode.Bidi_Control, r) {
			r = '_'
		}
		if r < 0x80 && r != '"' && r != '%' {
			ascii.WriteRune(r)
		} else {
			ascii.WriteByte('_')
		}
		for _, c := range []byte(string(r)) {
			if attrChar(c) {
				exact.WriteByte(c)
			} else {
				fmt.Fprintf(&exact, "%%%02X", c)
			}
		}
	}
	return fmt.Sprintf(`attachment; filename="%s"; filename*=UTF-8''%s`, ascii.String(), exact.String())
}

// attrChar is RFC 8187's: what filename* may hold unescaped.
func attrChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0
}
