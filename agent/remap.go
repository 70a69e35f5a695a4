package agent

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup/catalog"
)

// move says where the folders of another computer go on this one.
type move struct {
	fromOS, fromHome string
	toOS, toHome     string
	maps             []state.PathMap // that somebody asked for; they win
	aside            string          // the folder for what has no place here
	// writable reports whether a path can be made, or written into. Nil: all can.
	writable func(path string) bool
}

// rule is a folder of the snapshot and where it goes.
type rule struct {
	from, to string
	aside    bool
}

// systemFolders hold what belongs to a system and its programs. It is not put
// over the system that is there: that may be another version.
var systemFolders = map[string][]string{
	"linux":  {"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/proc", "/run", "/sbin", "/snap", "/sys", "/usr", "/var"},
	"darwin": {"/Applications", "/Library", "/System", "/bin", "/cores", "/dev", "/opt", "/private", "/sbin", "/usr"},
	"windows": {"/C:/Program Files", "/C:/Program Files (x86)", "/C:/ProgramData", "/C:/Recovery", "/C:/System Volume Information", "/C:/Windows",
		"/C:/$Recycle.Bin"},
}

// rules are those that hold for the other computer's paths.
func (m move) rules() []rule {
	var rules []rule
	for _, p := range m.maps {
		rules = append(rules, rule{from: inCatalog(m.fromOS, string(p.From)), to: string(p.To)})
	}
	if m.fromHome != "" && m.toHome != "" {
		rules = append(rules, rule{from: inCatalog(m.fromOS, m.fromHome), to: m.toHome})
	}
	if m.fromOS == m.toOS {
		for _, folder := range systemFolders[m.fromOS] {
			rules = append(rules, m.asided(folder))
		}
	}
	return rules
}

// asided sends a folder to the one for what has no place.
func (m move) asided(from string) rule {
	return rule{from, filepath.Join(m.aside, filepath.FromSlash(strings.ReplaceAll(from, ":", ""))), true}
}

// target is where a path goes: as the rule of the deepest folder around it says,
// or to the same path, where the system is the same and lets that be written.
func (m move) target(p string) rule {
	var best *rule
	rules := m.rules()
	for i, r := range rules {
		if catalog.Inside(r.from, p) && (best == nil || len(r.from) > len(best.from)) {
			best = &rules[i]
		}
	}
	if best != nil {
		return rule{p, filepath.Join(best.to, filepath.FromSlash(strings.TrimPrefix(p, best.from))), best.aside}
	}
	if same := onSystem(m.toOS, p); m.fromOS == m.toOS && (m.writable == nil || m.writable(same)) {
		return rule{from: p, to: same}
	}
	return m.asided(p)
}

// parts divides the roots of a snapshot by where they go: a folder that has a
// rule of its own is a part of its own. What lies in several parts belongs to
// the deepest.
func (m move) parts(roots []string) []rule {
	all := slices.Clone(roots)
	for _, r := range m.rules() {
		if slices.ContainsFunc(roots, func(root string) bool { return catalog.Inside(root, r.from) }) {
			all = append(all, r.from)
		}
	}
	slices.SortFunc(all, catalog.ComparePaths)
	parts := make([]rule, 0, len(all))
	for _, p := range slices.Compact(all) {
		parts = append(parts, m.target(p))
	}
	return parts
}

// inCatalog is the path that a path of a system has in snapshots.
func inCatalog(system, p string) string {
	if system == "windows" && !strings.HasPrefix(p, "/") {
		p = "/" + strings.ReplaceAll(p, `\`, "/")
	}
	return path.Clean(p)
}

// onSystem is the path that a path of a snapshot has on a system.
func onSystem(system, p string) string {
	if system != "windows" {
		return p
	}
	p = strings.ReplaceAll(strings.TrimPrefix(p, "/"), "/", `\`)
	if strings.HasSuffix(p, ":") {
		p += `\`
	}
	return p
}

// asideFolder is where what has no place here goes.
func asideFolder(home, device string, at time.Time) string {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) {
			return '-'
		}
		return r
	}, device)
	return filepath.Join(home, "Restored-"+strings.Trim(name, ". ")+"-"+at.Format(time.DateOnly))
}
