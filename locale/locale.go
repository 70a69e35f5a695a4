// Package locale puts what the programs and pages say into the reader's
// language. Every sentence has a key; en.json and fr.json hold its text, and
// the tests hold the two complete, in use and alike in their placeholders.
// Sizes, numbers and times follow the language too.
package locale

import (
	"embed"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"
)

// Lang is a language Backstay speaks.
type Lang string

// The languages.
const (
	English Lang = "en"
	French  Lang = "fr"
)

// Langs lists the languages in the order they are offered.
func Langs() []Lang { return []Lang{English, French} }

// Name is the language's name in its own tongue.
func (l Lang) Name() string {
	if l == French {
		return "Français"
	}
	return "English"
}

// Parse reads a language as a cookie or a user record holds it; ok is false
// for one that Backstay does not speak.
func Parse(s string) (l Lang, ok bool) {
	for _, l := range Langs() {
		if string(l) == s {
			return l, true
		}
	}
	return English, false
}

var matcher = language.NewMatcher([]language.Tag{language.English, language.French})

// Match chooses the language for an Accept-Language header, English when the
// header asks for nothing that Backstay speaks.
func Match(header string) Lang {
	tags, _, err := language.ParseAcceptLanguage(header)
	if err != nil || len(tags) == 0 {
		return English
	}
	_, i, confidence := matcher.Match(tags...)
	if confidence == language.No {
		return English
	}
	return Langs()[i]
}

// FromEnv chooses the language for a program from its environment, as gettext
// does: LANGUAGE is a list and comes first, unless the locale itself is C.
func FromEnv(getenv func(string) string) Lang {
	name := ""
	for _, v := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if name = getenv(v); name != "" {
			break
		}
	}
	base, _, _ := strings.Cut(name, ".")
	if base == "C" || base == "POSIX" {
		return English
	}
	for _, wish := range append(strings.Split(getenv("LANGUAGE"), ":"), name) {
		if l, ok := fromPOSIX(wish); ok {
			return l
		}
	}
	return English
}

// fromPOSIX reads a locale's name such as fr_CA.UTF-8@euro.
func fromPOSIX(name string) (Lang, bool) {
	if i := strings.IndexAny(name, "_.@-"); i >= 0 {
		name = name[:i]
	}
	return Parse(strings.ToLower(name))
}

//go:embed en.json fr.json
var files embed.FS

// load reads the messages of a language. Their file is part of the program and
// checked by the tests, so one that does not parse is a defect of the build.
func load(l Lang) *Printer {
	b := i18n.NewBundle(language.Make(string(l)))
	b.RegisterUnmarshalFunc("json", json.Unmarshal)
	file, err := b.LoadMessageFileFS(files, string(l)+".json")
	if err != nil {
		panic(fmt.Sprintf("reading the messages in %s: %v", l, err))
	}
	p := &Printer{lang: l, loc: i18n.NewLocalizer(b, string(l)), plurals: map[string]bool{}}
	for _, m := range file.Messages {
		if m.One != "" {
			p.plurals[m.ID] = true
		}
	}
	return p
}
