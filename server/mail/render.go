package mail

import (
	"embed"
	"fmt"
	htmltemplate "html/template"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/locale"
)

// What a mail says is written once in each language, in templates/LANGUAGE.tmpl:
// paragraphs with empty lines between them, and pieces such as a button. It is
// read twice, with the pieces as layout.txt has them and as layout.html has
// them. HTML is escaped by html/template, where it is made.
//
//go:embed templates
var files embed.FS

type edition struct {
	text *texttemplate.Template
	html *htmltemplate.Template
}

var editions = map[locale.Lang]edition{
	locale.English: newEdition(locale.English),
	locale.French:  newEdition(locale.French),
}

// newEdition reads a language's templates. They are part of the program: one
// that does not parse is a defect of the build.
func newEdition(l locale.Lang) edition {
	words := "templates/" + string(l) + ".tmpl"
	funcs := functions(l)
	return edition{
		text: texttemplate.Must(texttemplate.New("text").Funcs(funcs).ParseFS(files, "templates/layout.txt", words)),
		html: htmltemplate.Must(htmltemplate.New("html").Funcs(funcs).ParseFS(files, "templates/layout.html", words)),
	}
}

// piece is something with a label: a button, a code.
type piece struct{ Label, Value string }

func functions(l locale.Lang) map[string]any {
	p := locale.For(l)
	return map[string]any{
		"piece": func(label, value string) piece { return piece{label, value} },
		"lines": func(list string) []string { return strings.Split(list, "\n") },
		"count": func(number, one, many string) string { return count(p, number, one, many) },
		"when": func(instant string) string {
			return when(instant, func(t time.Time) string { return p.Date(t) + ", " + p.Clock(t) + " UTC" })
		},
		"day": func(instant string) string { return when(instant, p.Date) },
	}
}

// count writes a number with the word for as many.
func count(p *locale.Printer, number, one, many string) string {
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return number + " " + many
	}
	word := many
	if n == 1 || n == 0 && p.Lang() == locale.French {
		word = one
	}
	return p.Number(n) + " " + word
}

// when writes an instant, or whatever was given in its place.
func when(instant string, write func(time.Time) string) string {
	t, err := time.Parse(time.RFC3339, instant)
	if err != nil {
		return instant
	}
	return write(t.UTC())
}

type rendered struct{ subject, text, html string }

func (l letter) render() (r rendered, err error) {
	language, _ := locale.Parse(l.Language)
	e, name := editions[language], string(l.Template)
	data := l.data()
	var subject, text, footer strings.Builder
	for _, part := range []struct {
		name string
		to   *strings.Builder
	}{{name + " subject", &subject}, {name, &text}, {"footer", &footer}} {
		if err = e.text.ExecuteTemplate(part.to, part.name, data); err != nil {
			return r, fmt.Errorf("writing mail %s: %w", name, err)
		}
	}
	r.subject = clean(subject.String())
	r.text = wrap(text.String() + "\n\n-- \n" + strings.TrimSpace(footer.String()))
	r.html, err = l.html(e.html, name, r.subject, data)
	return r, err
}

// page is what layout.html puts together.
type page struct {
	Language, Subject string
	Server            string
	Body, Footer      []htmltemplate.HTML // paragraphs; the text in them is escaped
}

func (l letter) html(t *htmltemplate.Template, name, subject string, data map[string]string) (string, error) {
	language, _ := locale.Parse(l.Language)
	p := page{Language: string(language), Subject: subject, Server: data["server"]}
	for part, to := range map[string]*[]htmltemplate.HTML{name: &p.Body, "footer": &p.Footer} {
		var b strings.Builder
		if err := t.ExecuteTemplate(&b, part, data); err != nil {
			return "", fmt.Errorf("writing mail %s in HTML: %w", name, err)
		}
		for _, paragraph := range paragraphs(b.String()) {
			// What html/template wrote, cut where no value can have put an empty line.
			*to = append(*to, htmltemplate.HTML(paragraph))
		}
	}
	var b strings.Builder
	if err := t.ExecuteTemplate(&b, "layout", p); err != nil {
		return "", fmt.Errorf("writing mail %s in HTML: %w", name, err)
	}
	return b.String(), nil
}

// data are the values, made harmless, and what all templates know.
func (l letter) data() map[string]string {
	data := map[string]string{}
	for name, value := range l.Values {
		data[name] = tidy(name, value)
	}
	data["server"] = clean(l.server)
	data["url"] = clean(l.url)
	if u, err := url.Parse(l.url); err == nil {
		data["host"] = clean(u.Host)
	}
	if data["server"] == "" {
		data["server"] = "Backstay"
	}
	return data
}

// lists are the values that have a line for each of their entries. No other
// value begins a line.
var lists = []string{"usernames", "users", "devices"}

func tidy(name, value string) string {
	if !slices.Contains(lists, name) {
		return clean(value)
	}
	var lines []string
	for line := range strings.SplitSeq(value, "\n") {
		if line = clean(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// clean is s on one line, without what a mail or a terminal would not show as
// it is.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\u00a0' || r == '\u202f':
			return r
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case r == utf8.RuneError || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.FieldsFunc(s, breaks), " ")
}

func shorten(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// paragraphs cuts text at its empty lines.
func paragraphs(text string) (list []string) {
	for _, p := range strings.Split(text, "\n\n") {
		if p = strings.Trim(p, "\n"); strings.TrimSpace(p) != "" {
			list = append(list, p)
		}
	}
	return list
}

// width is where lines of text end, as readers of plain mail like it.
const width = 72

// wrap sets text in lines. A line that is indented, or begins a list, stays
// whole.
func wrap(text string) string {
	var b strings.Builder
	for _, p := range paragraphs(text) {
		at := 0
		for _, line := range strings.Split(p, "\n") {
			if strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "- ") || line == "-- " {
				if at > 0 {
					b.WriteByte('\n')
				}
				b.WriteString(line + "\n")
				at = 0
				continue
			}
			for word := range strings.FieldsFuncSeq(line, breaks) {
				n := utf8.RuneCountInString(word)
				if at > 0 && at+1+n > width {
					b.WriteByte('\n')
					at = 0
				}
				if at > 0 {
					b.WriteByte(' ')
					at++
				}
				b.WriteString(word)
				at += n
			}
		}
		if at > 0 {
			b.WriteByte('\n')
		}
		b.WriteByte('\n')
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// breaks reports whether a line may end at r: not at the spaces that French
// puts before its punctuation.
func breaks(r rune) bool { return r == ' ' || r == '\t' }

// languages in which mails are written.
func languages() []locale.Lang { return slices.Sorted(maps.Keys(editions)) }
