package oracle

import "strconv"

// attrPath is a path for the calls that take no descriptor: a short one, by way
// of the open folder.
func attrPath(_, _ string, dir int, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name
}
