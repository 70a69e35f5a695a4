package authattack_test

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/asvs.md anew")

// requirements are the ids of ASVS 5.0.0, levels 1 and 2, each with its level.
//
//go:embed testdata/asvs-5.0.txt
var requirements string

const asvsPage = "../../docs/asvs.md"

// The page that says what is tested is what the rows say. To write it anew:
// go test ./e2e/authattack -run TestASVS -update
func TestASVS(t *testing.T) {
	page := asvs(t)
	if *update {
		if err := os.WriteFile(asvsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	stored, err := os.ReadFile(asvsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(stored) != page {
		t.Errorf("%s does not say what the rows say: go test ./e2e/authattack -run TestASVS -update", asvsPage)
	}
}

// asvs is the page.
func asvs(t testing.TB) string {
	var ids []string
	level := map[string]string{}
	for line := range strings.Lines(requirements) {
		id, l, _ := strings.Cut(strings.TrimSpace(line), " ")
		ids, level[id] = append(ids, id), l
	}
	tested := map[string][]string{}
	add := func(id, by string) {
		if !slices.Contains(tested[id], by) {
			tested[id] = append(tested[id], by)
		}
	}
	for _, r := range rows {
		for _, id := range r.asvs {
			add(id, r.id)
		}
	}
	for _, e := range elsewhere {
		exists(t, e)
		for _, id := range e.asvs {
			add(id, "`"+e.pkg+"` "+e.test)
		}
	}
	for _, id := range ids {
		if len(tested[id]) == 0 && reasonOf(id) == "" && partly[id] == "" {
			t.Errorf("%s has neither a test nor a reason", id)
		}
		if len(tested[id]) > 0 && reasonOf(id) != "" {
			t.Errorf("%s has a test, and a reason why it has none", id)
		}
	}
	for _, r := range rows {
		for _, id := range r.asvs {
			if level[id] == "" {
				t.Errorf("%s names %s, which is no requirement of levels 1 and 2", r.id, id)
			}
		}
	}
	return render(ids, level, tested)
}

func render(ids []string, level map[string]string, tested map[string][]string) string {
	var b strings.Builder
	b.WriteString(head)
	counts := map[string][2]int{}
	for _, id := range ids {
		c := counts[level[id]]
		c[1]++
		if len(tested[id]) > 0 {
			c[0]++
		}
		counts[level[id]] = c
	}
	for _, l := range []string{"1", "2"} {
		fmt.Fprintf(&b, "- Level %s: %d of %d have a test here.\n", l, counts[l][0], counts[l][1])
	}
	b.WriteString("\n## Attacks\n\nThe last column says on which servers an attack was seen to fail: ones that lack a protection.\n\n" +
		"| row | what is tried | requirements | it fails where |\n|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.id, r.what, strings.Join(r.asvs, ", "), strings.Join(failing(r), "; "))
	}
	for _, m := range missing {
		fmt.Fprintf(&b, "| %s | not yet: %s | | |\n", m.id, m.why)
	}
	b.WriteString("\n## Requirements\n\n| chapter | with a test | without |\n|---|---|---|\n")
	for _, chapter := range chapters(ids) {
		var with, without []string
		for _, id := range ids {
			if !strings.HasPrefix(id, chapter+".") {
				continue
			}
			if by := tested[id]; len(by) > 0 {
				with = append(with, id+" ("+strings.Join(by, ", ")+")")
			} else {
				without = append(without, id)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", chapter, strings.Join(with, "; "), strings.Join(without, ", "))
	}
	b.WriteString("\n## Why there is no test\n\n| why | requirements |\n|---|---|\n")
	for _, r := range reasons {
		fmt.Fprintf(&b, "| %s | %s |\n", r.why, strings.ReplaceAll(r.ids, " ", ", "))
	}
	for _, chapter := range []string{"10", "17"} {
		fmt.Fprintf(&b, "| %s | all of chapter %s |\n", notOurs[chapter], chapter)
	}
	b.WriteString("\n## What holds in part\n\n| requirement | in which part |\n|---|---|\n")
	for _, id := range ids {
		if why := partly[id]; why != "" {
			fmt.Fprintf(&b, "| %s | %s |\n", id, why)
		}
	}
	return b.String()
}

// failing says where a row's attacks were seen to fail.
func failing(r row) (list []string) {
	for _, a := range r.attacks {
		name := strings.TrimSuffix(r.id+"/"+a.name, "/")
		for _, weak := range weaknesses {
			if weak.attack == name && !slices.Contains(list, weak.off) {
				list = append(list, weak.off)
			}
		}
		if change := byHand[name]; change != "" {
			list = append(list, change+" (by hand)")
		}
	}
	return list
}

func chapters(ids []string) (list []string) {
	for _, id := range ids {
		chapter, _, _ := strings.Cut(id, ".")
		if len(list) == 0 || list[len(list)-1] != chapter {
			list = append(list, chapter)
		}
	}
	slices.SortFunc(list, func(a, b string) int {
		n, _ := strconv.Atoi(a)
		m, _ := strconv.Atoi(b)
		return n - m
	})
	return list
}

const head = `# What our tests say about ASVS 5.0

Made from the rows of e2e/authattack; do not edit. The numbers are requirements of the OWASP Application Security
Verification Standard 5.0.0 at levels 1 and 2. A number with a test is one of which a test tries to break what it asks for;
one without may hold all the same, by design or by review, but nothing here would notice if it stopped to: the page says
why. Every attack was seen to fail, on a server that lacks what it is about.

`

// proof is a test of another package.
type proof struct {
	pkg, test string
	asvs      []string
}

// elsewhere are tests of other packages that attack what stands here, too.
var elsewhere = []proof{
	{"backup/crypt", "TestOpenChecksEverything", []string{"11.3.3"}},
	{"backup/crypt", "TestProfile1Golden", []string{"11.3.1", "11.3.2"}},
	{"backup/crypt", "TestSignatures", []string{"11.6.1"}},
	{"server", "TestHTTP2AndTLS", []string{"12.2.1"}},
	{"server", "TestConsoleApart", []string{"3.5.4"}},
	{"server", "TestFrontSurvivesPanics", []string{"16.3.4", "16.5.1"}},
	{"server", "TestLinesSayWhoCausedThem", []string{"16.2.4"}},
	{"server", "TestVersions", []string{"12.1.1", "12.1.2"}},
	{"server/access", "TestAllow", []string{"8.2.1", "8.3.1"}},
	{"server/accounts", "TestImportRefusesFiles", []string{"5.2.1", "5.2.2"}},
	{"server/accounts", "TestTheLastSeatUnderARace", []string{"2.3.4"}},
	{"server/db", "TestWritesAreSerializable", []string{"2.3.3"}},
	{"server/devices", "TestLimits", []string{"2.3.2"}},
	{"server/devices", "TestProve", []string{"9.1.1"}},
	{"server/devices", "TestTimesOfProof", []string{"9.2.1"}},
	{"server/devices", "TestWrongTokens", []string{"9.2.2"}},
	{"server/factors", "TestTOTPSteps", []string{"6.5.1", "6.5.5"}},
	{"server/factors", "TestRecoveryCodes", []string{"6.5.1", "6.5.4"}},
	{"server/keys", "TestSeal", []string{"11.3.3"}},
	{"server/mail", "TestHostileValues", []string{"1.3.11"}},
	{"server/mail", "TestPasswordNeedsTLS", []string{"12.3.1"}},
	{"server/passwords", "TestDefaultParameters", []string{"11.4.2"}},
	{"server/settings", "TestRefused", []string{"2.2.3"}},
	{"server/vault", "TestForeignObjects", []string{"8.2.2", "8.4.1"}},
	{"server/vault", "TestPutTooLarge", []string{"5.2.1"}},
	{"web", "TestAttachment", []string{"5.4.2"}},
	{"web", "TestNothingInline", []string{"3.4.3"}},
	{"wire", "TestTrust", []string{"12.3.2"}},
}

// exists sees that a test that the page names is there.
func exists(t testing.TB, e proof) {
	t.Helper()
	files, err := os.ReadDir("../../" + e.pkg)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		text, err := os.ReadFile("../../" + e.pkg + "/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "func "+e.test+"(t *testing.T)") {
			return
		}
	}
	t.Errorf("%s has no %s", e.pkg, e.test)
}
