// Package version says what this build is. Version is the major number,
// Release the minor one and Build the exact source, as the login page shows
// them.
package version

import (
	"fmt"
	"strconv"
	"strings"
)

// The parts of this build's name. Build is set by the linker:
// -ldflags "-X github.com/backstay/backstay/version.Build=...".
const (
	Version = 0
	Release = 1
)

// Build is the source's commit, "dev" when nobody set it.
var Build = "dev"

// String is the whole, as in "0.1 (build 3f2a91c)".
func String() string { return fmt.Sprintf("%s (build %s)", Number(), Build) }

// Number is the version that programs compare, as in "0.1".
func Number() string { return fmt.Sprintf("%d.%d", Version, Release) }

// Less reports whether version a is older than b. Both are numbers with a dot
// between them; what cannot be read counts as oldest.
func Less(a, b string) bool {
	am, ar := parse(a)
	bm, br := parse(b)
	return am < bm || am == bm && ar < br
}

func parse(s string) (version, release int) {
	v, r, _ := strings.Cut(s, ".")
	version, _ = strconv.Atoi(v)
	release, _ = strconv.Atoi(r)
	return version, release
}
