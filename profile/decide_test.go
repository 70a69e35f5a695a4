package profile

import "testing"

func TestDecide(t *testing.T) {
	t.Parallel()
	s := Defaults()
	s.Folders = []Folder{{Path: "~/Documents", Mandatory: true}, {Path: "~/Pictures"}, {Path: "/srv"}, {Path: `C:\Data`}}
	s.Exclude = []string{"*.tmp", "node_modules", "~/Documents/private", "/srv/cache/"}
	e := Merge(s, Choices{Unlinked: []string{"~/Pictures", "~/Documents"}, Folders: []string{"/opt/own", "/srv/own"}})
	for _, c := range []struct {
		path, home string
		backed     bool
		rule       Rule
		of, at     string
	}{
		{"/home/ann/Documents/a.txt", "/home/ann", true, RuleFolder, "~/Documents", ""},
		{"/home/ann/Documents", "/home/ann", true, RuleFolder, "~/Documents", ""},
		{"/home/ann/Documents2/a", "/home/ann", false, RuleNone, "", ""},
		{"/home/ann/Documents/a", "", false, RuleNone, "", ""}, // where is ~?
		{"/home/ann/Documents/x/a.tmp", "/home/ann", false, RuleExcluded, "*.tmp", "/home/ann/Documents/x/a.tmp"},
		// An exclusion beats a folder that has to be backed up, and takes all below it.
		{"/home/ann/Documents/private/deep/a", "/home/ann", false, RuleExcluded, "~/Documents/private", "/home/ann/Documents/private"},
		{"/srv/www/node_modules/x/y.js", "/home/ann", false, RuleExcluded, "node_modules", "/srv/www/node_modules"},
		{"/srv/cache/1", "", false, RuleExcluded, "/srv/cache/", "/srv/cache"},
		{"/home/ann/Pictures/p.jpg", "/home/ann", false, RuleLeftOut, "~/Pictures", ""},
		{"/opt/own/x", "", true, RuleFolder, "/opt/own", ""},
		{"/srv/own/x/", "", true, RuleFolder, "/srv", ""}, // the outermost
		{`C:\Data\Report.docx`, `C:\Users\ann`, true, RuleFolder, `C:\Data`, ""},
		{`C:\Data\x.tmp`, `C:\Users\ann`, false, RuleExcluded, "*.tmp", "C:/Data/x.tmp"},
		{"/etc/passwd", "/home/ann", false, RuleNone, "", ""},
		{"", "/home/ann", false, RuleNone, "", ""},
		{"relative/a", "/home/ann", false, RuleNone, "", ""},
	} {
		v := e.Decide(c.path, c.home)
		if v.Backed != c.backed || v.Rule != c.rule || v.Of != c.of || v.At != c.at {
			t.Errorf("%q: %+v, want %v by %s %q at %q", c.path, v, c.backed, c.rule, c.of, c.at)
		}
		// The agent asks the same of each folder on the way.
		if v.Rule == RuleExcluded && !s.Excluded(c.home)(v.At) {
			t.Errorf("%q: the agent does not leave %q out", c.path, v.At)
		}
	}
}
