package mail_test

import (
	"encoding/xml"
	"html"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/mail"
)

// sample are values as they are in real mails.
var sample = map[string]string{
	"percent": "97", "used": "48.5 GB", "limit": "50 GB",
	"username": "marie.curie", "link": "https://backup.example.org/link?token=abc&x=1", "secret": "tulip-84-copper-oak",
	"portal": "https://backup.example.org/", "command": "backstay activate --server https://backup.example.org --user marie.curie",
	"days": "7", "code": "402913", "minutes": "30", "provider": "Active Directory", "at": "2026-11-22T08:30:00Z", "ip": "192.0.2.7",
	"usernames": "marie\nmarie.curie", "email": "new@example.org", "hours": "72", "count": "5", "change": "totp_added",
	"users": "pierre (Pierre Curie)\nirene", "org": "Institut", "licence": "Laboratory", "seats": "50", "taken": "53",
	"until": "2026-12-01T00:00:00Z", "name": "Marie Curie", "window": "21 November, 22:00 to 23:00", "since": "2026-11-21T22:00:00Z",
	"contact": "help@example.org", "device": "ATELIER-07", "hostname": "atelier-07b", "admin": "root.admin", "computer": "4c4c4544-0042", "devices": "ATELIER-07 (marie)\nlaptop (pierre)",
	"act": "Delete the user pierre for good, now", "asked": "admin", "decided": "ada", "reason": "because it must be",
	"failure": "This item is on legal hold and cannot be deleted.", "note": "The help desk is open on Sunday.", "again": "yes",
}

// alternatives are the ways in which a template's values are given: all of
// them, only those it must have, and all but one.
func alternatives(t mail.Template) (list []map[string]string) {
	if t == mail.Approval {
		return decisions()
	}
	must, may := mail.Values(t)
	all := map[string]string{}
	for _, name := range append(slices.Clone(must), may...) {
		all[name] = sample[name]
	}
	few := map[string]string{}
	for _, name := range must {
		few[name] = sample[name]
	}
	list = append(list, all)
	if t != mail.EmailConfirm { // a code or a link
		list = append(list, few)
	}
	for _, name := range may {
		but := maps.Clone(all)
		delete(but, name)
		if t == mail.Activation && name == "link" { // single sign-on: there is no password, and no term
			delete(but, "secret")
			delete(but, "days")
		}
		list = append(list, but)
	}
	if t == mail.SecondFactorChanged {
		for _, change := range []string{"totp_removed", "passkey_added", "passkey_removed", "codes_renewed", "reset"} {
			other := maps.Clone(all)
			other["change"] = change
			list = append(list, other)
		}
	}
	return list
}

// decisions are the values of mails about an approval, state by state.
func decisions() (list []map[string]string) {
	for state, also := range map[string][]string{"waiting": nil, "approved": {"decided", "at"}, "refused": {"decided"}, "withdrawn": nil, "expired": nil,
		"done": {"decided"}, "failed": {"decided", "failure"}} {
		values := map[string]string{"state": state}
		for _, name := range append(also, "act", "asked", "reason", "until", "link") {
			values[name] = sample[name]
		}
		list = append(list, values)
	}
	return list
}

// everyMail calls do with each mail that can be, in each language.
func everyMail(t *testing.T, do func(t *testing.T, m mail.Mail, subject, text, page string)) {
	t.Helper()
	for _, template := range mail.Templates() {
		for _, l := range mail.Languages() {
			for _, values := range alternatives(template) {
				m := mail.Mail{Template: template, Language: string(l), Values: values}
				subject, text, page, err := mail.Render(m, "Backup of Éole", "https://backup.example.org")
				if err != nil {
					t.Fatal(err)
				}
				do(t, m, subject, text, page)
			}
		}
	}
}

var tags = regexp.MustCompile(`(?s)<(style|title)>.*?</(style|title)>|<[^>]*>`)

// seen is what a page shows, in words.
func seen(page string) string {
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(page, " "))), " ")
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	everyMail(t, func(t *testing.T, m mail.Mail, subject, text, page string) {
		about := func(format string) string { return string(m.Template) + " in " + m.Language + ": " + format }
		if subject == "" || utf8.RuneCountInString(subject) > 90 || strings.Contains(subject, "  ") {
			t.Errorf(about("subject %q"), subject)
		}
		words := strings.Join(strings.Fields(text), " ")
		for name, value := range m.Values {
			switch name {
			case "at", "until", "since", "change", "state", "again":
				continue // said in words
			}
			for line := range strings.SplitSeq(value, "\n") {
				if !strings.Contains(words, line) || !strings.Contains(seen(page), line) {
					t.Errorf(about("%s %q is not in\n%s\n%s"), name, line, text, seen(page))
				}
			}
		}
		for _, bad := range []string{"<no value>", "ZgotmplZ", "{{", "\n\n\n", "0001", "2026-11-", "  \n"} {
			if strings.Contains(text, bad) || strings.Contains(seen(page), bad) || strings.Contains(page, "ZgotmplZ") {
				t.Errorf(about("%q stands in\n%s\n%s"), bad, text, seen(page))
			}
		}
		for line := range strings.SplitSeq(text, "\n") {
			if !strings.HasPrefix(line, "    ") && utf8.RuneCountInString(line) > 80 {
				t.Errorf(about("a line is %q"), line)
			}
		}
		if strings.Contains(text, "&") != strings.Contains(m.Values["link"], "&") || strings.ContainsAny(text, "<>") {
			t.Errorf(about("the text has HTML in it:\n%s"), text)
		}
		if !strings.Contains(text, "\n-- \n") || !strings.Contains(words, "backup.example.org") {
			t.Errorf(about("it does not say who sent it:\n%s"), text)
		}
		// Nothing is fetched, and nothing runs.
		for _, bad := range []string{"<img", "<script", "<link", "url(", "src=", "<style"} {
			if strings.Contains(page, bad) {
				t.Errorf(about("the page has %s"), bad)
			}
		}
		balanced(t, about(""), page)
	})
}

// balanced sees that what is opened is closed.
func balanced(t *testing.T, about, page string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Entity = xml.HTMLEntity
	for {
		if _, err := d.Token(); err != nil {
			if err.Error() != "EOF" {
				t.Errorf("%s: the page is not well-formed: %v\n%s", about, err, page)
			}
			return
		}
	}
}

func TestLanguagesDiffer(t *testing.T) {
	t.Parallel()
	if !slices.Equal(mail.Languages(), locale.Langs()) {
		t.Fatalf("mails are in %v", mail.Languages())
	}
	english := map[mail.Template]string{}
	everyMail(t, func(t *testing.T, m mail.Mail, subject, text, _ string) {
		if m.Language == "en" {
			english[m.Template] = subject
			return
		}
		if subject == english[m.Template] || !strings.HasPrefix(text, "Bonjour,\n") {
			t.Errorf("%s is not in French: %s\n%s", m.Template, subject, text)
		}
		// The spaces before French punctuation do not break.
		if regexp.MustCompile(`(?m)( |^)[:;?!]( |$)|\pL'\pL`).MatchString(text) {
			t.Errorf("%s has loose punctuation:\n%s", m.Template, text)
		}
	})
}

// Who made a mail may have chosen what is in it: names make no headers, no
// paragraphs, no markup and no links.
func TestHostileValues(t *testing.T) {
	t.Parallel()
	const evil = "x\r\nBcc: victim@example.org\r\n\r\n    https://evil.example/\u202e\u2028<script>alert(1)</script><a href=\"https://evil.example\">\"'&\x00\xff"
	for _, template := range mail.Templates() {
		for _, l := range mail.Languages() {
			must, may := mail.Values(template)
			values := map[string]string{}
			for _, name := range append(must, may...) {
				values[name] = evil
			}
			if values["link"] != "" {
				values["link"] = "javascript:alert(1)//" + evil
			}
			subject, text, page, err := mail.Render(mail.Mail{Template: template, Language: string(l), Values: values}, evil, "https://a.example/\r\nX: y")
			if err != nil {
				t.Fatal(err)
			}
			if strings.ContainsAny(subject, "\r\n\x00\u202e\u2028") {
				t.Errorf("%s: the subject is %q", template, subject)
			}
			if strings.ContainsAny(text, "\r\x00\u202e\u2028") || !utf8.ValidString(text) {
				t.Errorf("%s: the text is %q", template, text)
			}
			for line := range strings.SplitSeq(text, "\n") {
				if strings.HasPrefix(line, "    https://evil") {
					t.Errorf("%s: a value has a line of its own:\n%s", template, text)
				}
			}
			for _, bad := range []string{"<script", `href="https://evil`, `href="javascript`, "\u202e"} {
				if strings.Contains(page, bad) {
					t.Errorf("%s: the page has %s:\n%s", template, bad, page)
				}
			}
			balanced(t, string(template), page)
		}
	}
}

// What a mail lists has a line for each, in text and on the page.
func TestLists(t *testing.T) {
	t.Parallel()
	for _, template := range []mail.Template{mail.Usernames, mail.PreservedExpiring, mail.InactiveExpiring} {
		m := mail.Mail{Template: template, Language: "en", Values: alternatives(template)[0]}
		_, text, page, err := mail.Render(m, "Backup of Éole", "https://backup.example.org")
		if err != nil {
			t.Fatal(err)
		}
		if on, in := strings.Count(page, "<li "), strings.Count(text, "\n- "); on != 2 || in != 2 {
			t.Errorf("%s lists %d on the page and %d in the text, want 2:\n%s", template, on, in, text)
		}
	}
}

// The queue of mails calls every kind by a name.
func TestTemplateNames(t *testing.T) {
	for _, lang := range locale.Langs() {
		for _, template := range mail.Templates() {
			if name := locale.For(lang).T(template.Label()); name == template.Label() {
				t.Errorf("%s: a mail %s has no name", lang, template)
			}
		}
	}
}
