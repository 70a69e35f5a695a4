package locale

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/backstay/backstay/errs"
)

// message is one entry of a message file: its forms by name, "other" alone
// for a sentence without a count.
type message map[string]string

func readMessages(t *testing.T, l Lang) map[string]message {
	t.Helper()
	data, err := files.ReadFile(string(l) + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		t.Fatal(err)
	}
	all := map[string]message{}
	for key, value := range raw {
		var text string
		if json.Unmarshal(value, &text) == nil {
			all[key] = message{"other": text}
			continue
		}
		m := message{}
		if err := json.Unmarshal(value, &m); err != nil {
			t.Fatalf("%s in %s: %v", key, l, err)
		}
		all[key] = m
	}
	return all
}

// The forms a counted message must have, by language (CLDR). French says
// "1 000 000 de fichiers": many.
var forms = map[Lang][]string{English: {"one", "other"}, French: {"many", "one", "other"}}

func TestBothLanguagesAreComplete(t *testing.T) {
	en, fr := readMessages(t, English), readMessages(t, French)
	for key := range fr {
		if en[key] == nil {
			t.Errorf("%s is in fr.json only", key)
		}
	}
	for key, m := range en {
		if fr[key] == nil {
			t.Errorf("%s is in en.json only", key)
			continue
		}
		counted := len(m) > 1
		if counted != (len(fr[key]) > 1) {
			t.Errorf("%s is counted in one language only", key)
			continue
		}
		for l, got := range map[Lang]message{English: m, French: fr[key]} {
			for _, form := range []string{"one", "many", "other"} {
				want := form == "other" || counted && slices.Contains(forms[l], form)
				if (got[form] != "") != want {
					t.Errorf("%s in %s: form %q present %v, want %v", key, l, form, got[form] != "", want)
				}
			}
		}
	}
}

var placeholder = regexp.MustCompile(`\{\{\s*\.(\w+)\s*\}\}`)

func placeholders(text string) []string {
	var names []string
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func TestPlaceholdersAreEqual(t *testing.T) {
	en, fr := readMessages(t, English), readMessages(t, French)
	for key, m := range en {
		want := placeholders(m["other"])
		for l, forms := range map[Lang]message{English: m, French: fr[key]} {
			for form, text := range forms {
				got := placeholders(text)
				// "one" may leave the number out: "the last file".
				if form == "one" && !slices.Contains(got, "n") && slices.Contains(want, "n") {
					got = append(got, "n")
					slices.Sort(got)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s %s in %s has placeholders %v, want %v", key, form, l, got, want)
				}
				if left := placeholder.ReplaceAllString(text, ""); strings.ContainsAny(left, "{}") {
					t.Errorf("%s %s in %s has a stray brace: %q", key, form, l, text)
				}
			}
		}
	}
}

func TestEveryCodeHasItsText(t *testing.T) {
	en := readMessages(t, English)
	for _, code := range errs.Codes() {
		if en["error."+string(code)] == nil {
			t.Errorf("no message for %s", code)
		}
	}
}

// sameInBoth lists the keys whose text is one in both languages, and why.
var sameInBoth = map[string]string{
	"cli.proxy.row.mode":            "the same word",
	"cli.proxy.example":             "a command as it is typed",
	"cli.proxy.show.example":        "a command as it is typed",
	"cli.proxy.test.example":        "a command as it is typed",
	"cli.diagnose.example":          "a command as it is typed",
	"connect.detail.proxy":          "the same word",
	"entry.factor.code":             "the same word",
	"account.sessions":              "the same word",
	"foot.version":                  "the same word",
	"foot.build":                    "French programs say build too",
	"device.protection":             "the same word",
	"cli.account.example":           "a command as it is typed",
	"cli.agent.example":             "a command as it is typed",
	"cli.ask.no":                    "both words begin with it",
	"cli.completion.example":        "a command as it is typed",
	"cli.service.example":           "a command as it is typed",
	"cli.service.adopt.example":     "a command as it is typed",
	"cli.service.drop.example":      "a command as it is typed",
	"cli.service.install.example":   "a command as it is typed",
	"cli.service.restart.example":   "a command as it is typed",
	"cli.service.run.example":       "a command as it is typed",
	"cli.service.start.example":     "a command as it is typed",
	"cli.service.status.example":    "a command as it is typed",
	"cli.service.stop.example":      "a command as it is typed",
	"cli.service.uninstall.example": "a command as it is typed",
	"cli.service.status.agent":      "the same word",
	"cli.snapshots.example":         "a command as it is typed",
	"cli.folders.example":           "a command as it is typed",
	"cli.folders.add.example":       "a command as it is typed",
	"cli.folders.remove.example":    "a command as it is typed",
	"cli.pause.example":             "a command as it is typed",
	"cli.resume.example":            "a command as it is typed",
	"cli.settings.example":          "a command as it is typed",
	"cli.settings.set.example":      "a command as it is typed",
	"cli.settings.reset.example":    "a command as it is typed",
	"choices.bandwidth.kbps":        "the same unit",
	"window.refused":                "what an error says",
	"window.settings.proxy":         "the same word",
	"cli.status.example":            "a command as it is typed",
	"cli.ui.example":                "a command as it is typed",
	"cli.version.example":           "a command as it is typed",
	"audit.object.licence":          "the same word",
	"licence.column.org":            "the same word",
	"audit.object.org":              "the same word",
	"profile.minutes":               "the same word",
	"unit.minutes":                  "the same word",
	"user.email":                    "the word of every French form",
	"quickstart.console":            "the address follows the same word",
	"settings.licences":             "the same word",
	"settings.organisation":         "the same word",
	"profile.cpu.normal":            "the same word",
	"profile.description":           "the same word",
	"profile.notifications":         "the same word",
	"profile.user_may.pause":        "the same word",
	"settings.mail.port.label":      "the same word",
	"user.licence":                  "the same word",
	"user.seat.active":              "the same word",
	"users.actions":                 "the same word",
}

func TestFrenchIsFrench(t *testing.T) {
	en, fr := readMessages(t, English), readMessages(t, French)
	for key, m := range en {
		same := m["other"] == fr[key]["other"]
		if _, listed := sameInBoth[key]; same != listed {
			t.Errorf("%s: equal in both languages is %v, listed is %v", key, same, listed)
		}
	}
	for key := range sameInBoth {
		if en[key] == nil {
			t.Errorf("sameInBoth lists %s, which does not exist", key)
		}
	}
	straight := regexp.MustCompile(`\pL'\pL`)
	loose := regexp.MustCompile(`[^\s]\x20[;:!?»]|«\x20|[^\s\x{a0}\x{202f}<&;:!?./«(]([;!?»]|:\s)`)
	for key, m := range fr {
		for form, text := range m {
			if straight.MatchString(text) {
				t.Errorf("%s %s has a straight apostrophe: %q", key, form, text)
			}
			if loose.MatchString(placeholder.ReplaceAllString(text, "x")) {
				t.Errorf("%s %s lacks an unbreakable space before its punctuation: %q", key, form, text)
			}
		}
	}
}

// source is what the programs and templates say about keys.
type source struct {
	where    map[string]string // a key-like literal, and a place that has it
	prefixes []string          // literals that end in a dot and are completed at run time
	wanted   map[string]string // keys that are asked for: they must exist
}

var (
	keyLike    = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[A-Za-z0-9_]+)+$`)
	prefixLike = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*\.$`)
	quoted     = regexp.MustCompile(`"([^"\s]+)"`)
	asked      = regexp.MustCompile(`\b[TN] "([^"]+)"`)
)

// readSources scans the module: Go files that ship, and templates.
func readSources(t *testing.T) source {
	t.Helper()
	s := source{where: map[string]string{}, wanted: map[string]string{}}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "node_modules" || name == "vendor" || name == "testdata" || name == "ci-output" || name == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		switch {
		case strings.HasSuffix(path, ".html"):
			return s.template(path)
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			return s.code(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *source) literal(text, place string) {
	if keyLike.MatchString(text) {
		s.where[text] = place
	}
	if prefixLike.MatchString(text) {
		s.prefixes = append(s.prefixes, text)
	}
}

func (s *source) template(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, m := range quoted.FindAllStringSubmatch(string(data), -1) {
		s.literal(m[1], path)
	}
	for _, m := range asked.FindAllStringSubmatch(string(data), -1) {
		if !strings.HasSuffix(m[1], ".") {
			s.wanted[m[1]] = path
		}
	}
	return nil
}

func (s *source) code(path string) error {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, 0)
	if err != nil {
		return err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		place := ""
		if n != nil {
			place = fmt.Sprint(set.Position(n.Pos()))
		}
		switch n := n.(type) {
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				if text, err := strconv.Unquote(n.Value); err == nil {
					s.literal(text, place)
				}
			}
		case *ast.CallExpr:
			s.call(n, place)
		}
		return true
	})
	return nil
}

// call notes the key that errs.New(kind, key), p.T(key) or p.N(key) asks for.
func (s *source) call(n *ast.CallExpr, place string) {
	f, ok := n.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	at := -1
	switch base, _ := f.X.(*ast.Ident); {
	case f.Sel.Name == "New" && base != nil && base.Name == "errs":
		at = 1
	case f.Sel.Name == "T" || f.Sel.Name == "N":
		at = 0
	}
	if at < 0 || len(n.Args) <= at {
		return
	}
	if lit, ok := n.Args[at].(*ast.BasicLit); ok && lit.Kind == token.STRING {
		if text, err := strconv.Unquote(lit.Value); err == nil {
			s.wanted[text] = place
		}
	}
}

func TestKeysAreUsedAndPresent(t *testing.T) {
	en := readMessages(t, English)
	s := readSources(t)
	for _, code := range errs.Codes() {
		s.where["error."+string(code)] = "errs"
	}
	for key, place := range s.wanted {
		if en[key] == nil {
			t.Errorf("%s asks for %s, which does not exist", place, key)
		}
	}
	for key := range en {
		if s.where[key] != "" {
			continue
		}
		if !slices.ContainsFunc(s.prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) {
			t.Errorf("nothing uses %s", key)
		}
	}
}

// codeAlone is the key of what a code says.
var codeAlone = regexp.MustCompile(`^error\.E\d+$`)

// Apostrophes are those of print. Commands are as they are typed, and the messages
// of codes as support knows them.
func TestEnglishApostrophes(t *testing.T) {
	t.Parallel()
	for key, forms := range readMessages(t, English) {
		for _, text := range forms {
			if strings.Contains(text, "'") && !strings.HasSuffix(key, ".example") && !codeAlone.MatchString(key) {
				t.Errorf("%s has a straight apostrophe: %s", key, text)
			}
		}
	}
}

// One word for one thing: what is sent, and where to, is an e-mail.
func TestFrenchSaysEmail(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("fr.json")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(strings.ToLower(line), "courriel") {
			t.Errorf("another word for an e-mail: %s", line)
		}
	}
}

// The table of codes in the docs has every code once, with the message as
// people see it and the API's status, and says why it appears and what to do.
func TestEveryCodeIsExplained(t *testing.T) {
	for l, file := range map[Lang]string{English: "errors.md", French: "errors.fr.md"} {
		text, err := os.ReadFile(filepath.Join("..", "docs", file))
		if err != nil {
			t.Fatal(err)
		}
		rows := map[string][]string{}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "| E") {
				cells := strings.Split(strings.Trim(line, "|\n "), " | ")
				code, _, _ := strings.Cut(cells[0], " ")
				if rows[code] != nil {
					t.Errorf("%s has %s twice", file, code)
				}
				rows[code] = cells
			}
		}
		messages := readMessages(t, l)
		for _, code := range errs.Codes() {
			cells := rows[string(code)]
			delete(rows, string(code))
			if len(cells) != 5 {
				t.Errorf("%s: the row of %s has %d cells, want 5", file, code, len(cells))
				continue
			}
			want := braces.Replace(messages["error."+string(code)]["other"])
			if cells[1] != want {
				t.Errorf("%s says of %s %q, the message is %q", file, code, cells[1], want)
			}
			if status := errs.Status(errs.Of(code)); status != http.StatusInternalServerError && cells[0] != fmt.Sprintf("%s (%d)", code, status) {
				t.Errorf("%s has %q, the API answers %s with %d", file, cells[0], code, status)
			}
			for _, cell := range cells[2:] {
				if len(cell) < len("–") {
					t.Errorf("%s: an empty cell for %s", file, code)
				}
			}
		}
		for code := range rows {
			t.Errorf("%s has %s, which is no code", file, code)
		}
	}
}

// braces writes a message's values as the docs do.
var braces = strings.NewReplacer("{{.", "{", "}}", "}")
