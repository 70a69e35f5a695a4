package browser_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/web/webtest"
)

// pictures is the folder that pictures go to. How pages look does not depend on
// the database, so the second time there are none, and English is enough.
var pictures = map[bool]string{false: "../../ci-output/pages"}[again()]

func again() bool { return os.Getenv(dbtest.Env) != "" }

// way is one to look at a page.
type way struct {
	name  string
	width int64
	dark  bool
}

// Every page is seen on both sizes, in both colours and in both languages.
var ways = map[locale.Lang][]way{
	locale.English: {{"desk", webtest.Desk, false}, {"phone-dark", webtest.Phone, true}},
	locale.French:  {{"desk-dark", webtest.Desk, true}, {"phone", webtest.Phone, false}},
}

// languages are those in which pages are looked at.
func languages() []locale.Lang {
	if again() {
		return []locale.Lang{locale.English}
	}
	return locale.Langs()
}

// waysTo are those to look at a page in a language: all, and one where the
// pages were looked at before, on the other database. The first is the one in
// which the browser shows the page already.
func waysTo(b *webtest.Browser, lang locale.Lang) []way {
	list := slices.Clone(ways[lang])
	if again() {
		return list[:1]
	}
	if b.Width() == list[len(list)-1].width {
		slices.Reverse(list)
	}
	return list
}

// walk opens pages, by the names of their pictures, in the browser's language
// and looks at each.
func walk(t *testing.T, b *webtest.Browser, lang locale.Lang, addresses map[string]string) {
	t.Helper()
	for name, address := range addresses {
		b.Go(address)
		see(t, b, lang, name)
	}
	atDesk(b)
}

// inBoth walks in one language after the other, and leaves the browser in
// English.
func inBoth(t *testing.T, b *webtest.Browser, addresses map[string]string) {
	t.Helper()
	for _, lang := range languages() {
		language(b, string(lang))
		walk(t, b, lang, addresses)
	}
	language(b, "en")
}

// look looks at the page that the browser shows, and leaves it on a desk.
func look(t *testing.T, b *webtest.Browser, lang locale.Lang, name string) {
	t.Helper()
	see(t, b, lang, name)
	atDesk(b)
}

// atDesk shows the page as Open does.
func atDesk(b *webtest.Browser) {
	b.Size(webtest.Desk, 860)
	b.Dark(false)
}

// see looks at the page that the browser shows, in every way, and leaves it in
// the last: it has caused no complaint, is not wider than its window, and says
// everything in its language.
func see(t *testing.T, b *webtest.Browser, lang locale.Lang, name string) {
	t.Helper()
	for _, complaint := range b.Problems() {
		t.Errorf("%s (%s) at %s: the browser complains: %s", name, lang, b.URL(), complaint)
	}
	speaks(t, b, lang, name)
	suffix := ""
	if lang != locale.English {
		suffix = "-" + string(lang)
	}
	for _, w := range waysTo(b, lang) {
		b.Size(w.width, 860)
		b.Dark(w.dark)
		if wide := webtest.Eval[int64](b, "document.documentElement.scrollWidth"); wide > w.width {
			t.Errorf("%s%s is %d pixels wide on a window of %d", name, suffix, wide, w.width)
		}
		b.Shot(pictures, name+suffix+"-"+w.name)
		if lang == locale.English && !again() {
			open(t, b, w.dark, name+"-"+w.name)
		}
	}
}

// refusedBy forgives the browser's complaints about a page whose status is an
// error on purpose, and no other.
func refusedBy(t *testing.T, b *webtest.Browser, status int) {
	t.Helper()
	complaints := b.Problems()
	if len(complaints) == 0 {
		t.Errorf("%s is no page of status %d", b.URL(), status)
	}
	for _, complaint := range complaints {
		if !strings.Contains(complaint, fmt.Sprintf("status of %d", status)) {
			t.Errorf("%s, want status %d: the browser complains: %s", b.URL(), status, complaint)
		}
	}
}

// texts are all that a page says: what is seen, and what is said of it.
const texts = `(() => {
	const list = [document.title];
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walker.nextNode()) {
		if (!walker.currentNode.parentElement.closest('script, style, [lang]:not(html)')) list.push(walker.currentNode.data.trim());
	}
	for (const name of ['aria-label', 'title', 'placeholder', 'alt', 'data-label'])
		for (const e of document.querySelectorAll('[' + name + ']')) list.push(e.getAttribute(name).trim());
	return list.filter((text) => text);
})()`

// aKey is what a message that does not exist looks like.
var aKey = regexp.MustCompile(`^[a-z]+(\.[a-z0-9_]+)+$`)

// spoken is what a language says: the sentences that need nothing put into them,
// and the first words of all keys.
type spoken struct{ sentences, words map[string]bool }

var languageFiles = sync.OnceValues(func() (map[locale.Lang]spoken, error) {
	all := map[locale.Lang]spoken{}
	for _, lang := range locale.Langs() {
		x := spoken{map[string]bool{}, map[string]bool{}}
		var messages map[string]any
		text, err := os.ReadFile("../../locale/" + string(lang) + ".json")
		if err == nil {
			err = json.Unmarshal(text, &messages)
		}
		if err != nil {
			return nil, err
		}
		for key, message := range messages {
			word, _, _ := strings.Cut(key, ".")
			x.words[word] = true
			if s, ok := message.(string); ok && strings.Contains(s, " ") {
				x.sentences[s] = true
			}
		}
		all[lang] = x
	}
	return all, nil
})

// speaks sees that the page is in its language: no key stands where a message
// should, and no sentence of another language.
func speaks(t *testing.T, b *webtest.Browser, lang locale.Lang, name string) {
	t.Helper()
	if got := webtest.Eval[string](b, "document.documentElement.lang"); got != string(lang) {
		t.Errorf("%s is in %q, want %q", name, got, lang)
	}
	all, err := languageFiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range webtest.Eval[[]string](b, texts) {
		word, _, _ := strings.Cut(text, ".")
		if aKey.MatchString(text) && all[lang].words[word] {
			t.Errorf("%s (%s) lacks the message %s", name, lang, text)
		}
		for other, x := range all {
			if other != lang && x.sentences[text] && !all[lang].sentences[text] {
				t.Errorf("%s is in %s, but says %q", name, lang, text)
			}
		}
	}
}
