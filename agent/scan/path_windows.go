package scan

import (
	"path/filepath"
	"strings"
)

// A drive is the first name of a path in the catalog.

func catalogPath(path string) string {
	return strings.TrimRight("/"+filepath.ToSlash(path), "/")
}

func systemPath(path string) string {
	p := filepath.FromSlash(strings.TrimPrefix(path, "/"))
	if strings.HasSuffix(p, ":") {
		p += `\`
	}
	return p
}
