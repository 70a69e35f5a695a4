package cli

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// Width is how wide a text on w may be: as wide as the terminal, but not wider
// than is good to read, and 80 where there is none.
func Width(w io.Writer) int {
	const usual, widest = 80, 100
	file, ok := w.(*os.File)
	if !ok {
		return usual
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width <= 0 {
		return usual
	}
	return min(width, widest)
}

// Wrap breaks text between words into lines of at most width characters. It is
// put indent characters from the left, and so are all lines but the first.
func Wrap(text string, width, indent int) string {
	var b strings.Builder
	next := "\n" + strings.Repeat(" ", indent)
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			b.WriteString(next)
		}
		column := indent
		for j, word := range strings.Split(line, " ") {
			n := utf8.RuneCountInString(word)
			switch {
			case j == 0:
			case column+1+n > width:
				b.WriteString(next)
				column = indent
			default:
				b.WriteByte(' ')
				column++
			}
			b.WriteString(word)
			column += n
		}
	}
	return b.String()
}
