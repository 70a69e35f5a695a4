package browser_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/backstay/backstay/web/webtest"
)

// axe is the script that knows the rules of WCAG.
var axe = sync.OnceValues(func() (string, error) {
	script, err := os.ReadFile("../../web/node_modules/axe-core/axe.min.js")
	return string(script), err
})

// barriers are the rules of WCAG 2.2, levels A and AA, that the page breaks so
// that somebody cannot use it, each with where. Nothing is fetched for it.
const barriers = `axe.run({
	runOnly: %s,
	resultTypes: ['violations'], preload: false, iframes: false,
}).then((found) => found.violations
	.filter((v) => v.impact === 'serious' || v.impact === 'critical')
	.flatMap((v) => v.nodes.map((n) => v.id + ': ' + n.html.slice(0, 200) + ': ' + n.failureSummary.replaceAll('\n', ' '))))`

// What the dark page can break that the light one does not are its colours.
var rules = map[bool]string{
	false: "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']",
	true:  "['color-contrast']",
}

// open sees that the page as it is shown now keeps nobody out who sees it badly,
// hears it, or has only a keyboard.
func open(t *testing.T, b *webtest.Browser, dark bool, name string) {
	t.Helper()
	script, err := axe()
	if err != nil {
		t.Fatal(fmt.Errorf("make assets fetches it: %w", err))
	}
	if !webtest.Eval[bool](b, "'axe' in window") {
		webtest.Eval[bool](b, script+"\n;true")
	}
	if found := webtest.Resolve[[]string](b, fmt.Sprintf(barriers, rules[dark])); len(found) > 0 {
		t.Errorf("%s at %s:\n%s", name, b.URL(), strings.Join(found, "\n"))
	}
}
