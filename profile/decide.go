package profile

import (
	"path"
	"strings"
)

// Rule is what decides whether a path is backed up.
type Rule string

// The rules, the strongest first.
const (
	RuleExcluded Rule = "excluded" // an exclusion of the profile
	RuleFolder   Rule = "folder"   // a folder that is backed up
	RuleLeftOut  Rule = "left_out" // a folder that the user left out
	RuleNone     Rule = "none"     // no folder contains it
)

// Verdict says whether a path would be backed up, and which rule says so.
type Verdict struct {
	Backed bool
	Rule   Rule
	Of     string // the exclusion or folder, as it was written
	At     string // the folder or file that the exclusion means: the path, or one above it
	Folder Linked // of RuleFolder and RuleLeftOut
}

// Decide says whether an absolute path would be backed up on a device whose
// user has this home, as its agent decides: the outermost folder that contains
// it, and what is excluded below that. Both kinds of slashes are understood.
func (e Effective) Decide(p, home string) Verdict {
	p, home = clean(p), clean(home)
	v := Verdict{Rule: RuleNone}
	var root string
	for _, f := range e.Folders {
		at := f.Path
		if at == "~" || strings.HasPrefix(at, "~/") {
			if home == "" {
				continue
			}
			at = home + at[1:]
		}
		at = clean(at)
		switch {
		case !inside(p, at):
		case f.Backed() && (root == "" || len(at) < len(root)):
			root, v = at, Verdict{Backed: true, Rule: RuleFolder, Of: f.Path, Folder: f}
		case root == "" && f.Unlinked:
			v = Verdict{Rule: RuleLeftOut, Of: f.Path, Folder: f}
		}
	}
	if !v.Backed {
		return v
	}
	excludes := e.Settings.excludes(home)
	for _, at := range below(root, p) {
		if of := excludes(at); of != "" {
			return Verdict{Rule: RuleExcluded, Of: of, At: at}
		}
	}
	return v
}

// clean writes a path with slashes alone, without one at its end.
func clean(p string) string {
	if p = strings.TrimSpace(p); p == "" {
		return ""
	}
	return path.Clean(strings.ReplaceAll(p, `\`, "/"))
}

func inside(p, folder string) bool {
	return p == folder || folder == "/" && strings.HasPrefix(p, "/") || strings.HasPrefix(p, folder+"/")
}

// below are the paths from a folder down to p, the folder itself left out.
func below(folder, p string) []string {
	var list []string
	for ; p != folder && p != "." && p != "/"; p = path.Dir(p) {
		list = append([]string{p}, list...)
	}
	return list
}
