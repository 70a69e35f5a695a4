package scan

import (
	"bufio"
	"fmt"
	"regexp"
	"strings"
)

// What macOS says of its snapshots is read here, so that it is tested on any
// system.

var snapshotDate = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}-\d{6}$`)

// madeSnapshot finds the date by which the snapshot is known that tmutil has made.
func madeSnapshot(output string) (string, error) {
	for lines := bufio.NewScanner(strings.NewReader(output)); lines.Scan(); {
		if _, date, ok := strings.Cut(lines.Text(), "date: "); ok && snapshotDate.MatchString(strings.TrimSpace(date)) {
			return strings.TrimSpace(date), nil
		}
	}
	return "", fmt.Errorf("tmutil tells no snapshot: %q", output)
}

// inVolume is the path in a volume of what is at path: below where the volume is
// mounted, or, where firmlinks join the system's volume and the data's, the same as
// on the disk.
func inVolume(volume, path string) string {
	if volume == "/" {
		return path
	}
	if rest, ok := strings.CutPrefix(path, volume); ok && (rest == "" || rest[0] == '/') {
		return rest
	}
	return path
}

// otherMounts are those below a root: a view of the root's own volume shows empty
// folders there, which must not look as if all were deleted.
func otherMounts(root string, mounts []string) []string {
	var below []string
	for _, m := range mounts {
		if m != root && strings.HasPrefix(m, strings.TrimSuffix(root, "/")+"/") {
			below = append(below, m)
		}
	}
	return below
}
