package scan

import (
	"strings"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/errs"
)

// Rules say what is left out of a backup. The patterns are:
//
//	/home/ann/cache   this path and everything below it
//	node_modules      every item of this name, anywhere, and everything below it
//	*.iso             every item whose name matches; * stands for any characters
//	/srv/*/tmp        in paths, * stands for any characters of one name
//	cache/            with a slash at the end: folders only
//
// Letters are compared as they are, capital and small ones differ.
type Rules struct {
	names    map[string]bool // whole names; true: folders only
	suffixes map[string]bool // of patterns with one * at the beginning
	globs    []glob
}

type glob struct {
	path    bool // the pattern is of a path
	parts   []string
	folders bool
}

// NewRules reads patterns.
func NewRules(patterns []string) (*Rules, error) {
	r := &Rules{names: map[string]bool{}, suffixes: map[string]bool{}}
	for _, pattern := range patterns {
		if err := r.add(pattern); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Rules) add(pattern string) error {
	body, folders := strings.CutSuffix(pattern, "/")
	name, rooted := strings.CutPrefix(body, "/")
	switch {
	case name == "" || strings.Contains(name, "//") || strings.IndexByte(name, 0) >= 0 || !rooted && strings.Contains(name, "/"):
		return errs.New(errs.Invalid, "scan.exclude.pattern", "pattern", pattern)
	case rooted:
		r.globs = append(r.globs, glob{true, strings.Split(name, "/"), folders})
	case !strings.Contains(name, "*"):
		r.names[name] = folders && (r.names[name] || !has(r.names, name))
	case strings.LastIndexByte(name, '*') == 0:
		r.suffixes[name[1:]] = folders && (r.suffixes[name[1:]] || !has(r.suffixes, name[1:]))
	default:
		r.globs = append(r.globs, glob{false, []string{name}, folders})
	}
	return nil
}

func has(m map[string]bool, key string) bool { _, ok := m[key]; return ok }

// Match reports whether the item name in folder is left out. What is below a
// folder that is left out is not asked for.
func (r *Rules) Match(folder, name string, isFolder bool) bool {
	if folders, ok := r.names[name]; ok && (isFolder || !folders) {
		return true
	}
	if len(r.suffixes) > 0 && r.suffix(name, isFolder) {
		return true
	}
	for _, g := range r.globs {
		if (isFolder || !g.folders) && g.match(folder, name) {
			return true
		}
	}
	return false
}

// suffix looks the name's endings up, from each of its dots on and the whole.
func (r *Rules) suffix(name string, isFolder bool) bool {
	for ending, folders := range r.suffixes {
		if (isFolder || !folders) && strings.HasSuffix(name, ending) {
			return true
		}
	}
	return false
}

func (g *glob) match(folder, name string) bool {
	if !g.path {
		return matchName(g.parts[0], name)
	}
	rest := strings.TrimPrefix(catalog.Join(folder, name), "/")
	for i, pattern := range g.parts {
		part, after, more := strings.Cut(rest, "/")
		if !matchName(pattern, part) || more != (i < len(g.parts)-1) {
			return false
		}
		rest = after
	}
	return true
}

// matchName matches one name against a pattern in which * stands for any
// characters, none included.
func matchName(pattern, name string) bool {
	head, tail, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, head)
	if !ok {
		return false
	}
	for {
		part, rest, more := strings.Cut(tail, "*")
		if !more {
			return strings.HasSuffix(name, part)
		}
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name, tail = name[i+len(part):], rest
	}
}
