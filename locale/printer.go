package locale

import (
	"errors"
	"sync"
	"time"

	"github.com/nicksnyder/go-i18n/v2/i18n"
)

// Printer speaks one language. It is safe for use by several goroutines.
type Printer struct {
	lang    Lang
	loc     *i18n.Localizer
	plurals map[string]bool // keys whose messages have a singular
}

// A language is read when it is first spoken: that takes longer than the rest of
// a program's start, and most programs speak one or none.
var printers = map[Lang]func() *Printer{
	English: sync.OnceValue(func() *Printer { return load(English) }),
	French:  sync.OnceValue(func() *Printer { return load(French) }),
}

// For returns the printer of a language, the English one for a language that
// Backstay does not speak.
func For(l Lang) *Printer {
	if p, ok := printers[l]; ok {
		return p()
	}
	return printers[English]()
}

// Lang is the language the printer speaks.
func (p *Printer) Lang() Lang { return p.lang }

// T is the text of key. Args are pairs of a placeholder's name and its value;
// whole numbers, durations and days are written as the language writes them, and
// a whole number named n chooses between singular and plural. A value that has
// messages of its own, in its method Say, says them in this language. A key that does
// not exist comes back as it is.
func (p *Printer) T(key string, args ...any) string {
	data := make(map[string]any, len(args)/2)
	for i := 0; i+1 < len(args); i += 2 {
		if name, ok := args[i].(string); ok {
			data[name] = args[i+1]
		}
	}
	return p.text(key, data)
}

// N is T for a counted thing: the placeholder n is the count.
func (p *Printer) N(key string, n int64, args ...any) string {
	return p.T(key, append([]any{"n", n}, args...)...)
}

// Error is what to tell somebody about err: the translated message of an
// expected failure, and one neutral sentence for everything else, whose own
// text may hold what is not the reader's to see.
func (p *Printer) Error(err error) string {
	var expected interface {
		Message() (key string, args map[string]any)
	}
	if !errors.As(err, &expected) {
		return p.T("error.unexpected")
	}
	return p.text(expected.Message())
}

func (p *Printer) text(key string, data map[string]any) string {
	config := &i18n.LocalizeConfig{MessageID: key}
	if n, ok := whole(data["n"]); ok && p.plurals[key] {
		config.PluralCount = n
	}
	shown := make(map[string]any, len(data))
	for name, value := range data {
		if n, ok := whole(value); ok && name == quota {
			shown[name] = p.Bytes(n)
			continue
		}
		shown[name] = p.show(value)
	}
	config.TemplateData = shown
	text, err := p.loc.Localize(config)
	if err != nil && text == "" {
		return key
	}
	return text
}

// quota is the placeholder of a size. E1401 carries it over the wire, where it is a
// number like any other.
const quota = "q"

// show writes a placeholder's value as the language does.
func (p *Printer) show(value any) any {
	switch v := value.(type) {
	case time.Duration:
		return p.Duration(v)
	case time.Time:
		return p.Date(v)
	}
	if n, ok := whole(value); ok {
		return p.Number(n)
	}
	if says, ok := value.(interface {
		Say(say func(key string, args ...any) string) string
	}); ok {
		return says.Say(p.T)
	}
	return value
}

func whole(value any) (int64, bool) {
	switch n := value.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case int32:
		return int64(n), true
	case uint64:
		return int64(n), true
	}
	return 0, false
}
