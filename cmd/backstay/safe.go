package main

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/backstay/backstay/cli"
)

// safe stands in most lines of output.
var safe = cli.Safe

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
