//go:build !linux

package scan

// Watch remembers between walks which folders have not changed since.
//
// BUG(scan): on other systems than Linux nothing is watched, and every walk is a
// whole one.
type Watch struct{}

// NewWatch makes a watch that sees nothing.
func NewWatch() *Watch { return &Watch{} }

// Forget makes the next walk a whole one.
func (*Watch) Forget() {}

// Keep says that the last walk went into a snapshot.
func (*Watch) Keep(string) {}

func (*Watch) begin(string, string, []string) map[string][]string { return nil }
func (*Watch) isClean(string, identity) bool                      { return false }
func (*Watch) arm(string, *dir)                                   {}
func (*Watch) doubt(string)                                       {}
func (*Watch) gone(string)                                        {}
