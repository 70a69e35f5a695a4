package catalog

import (
	"slices"
	"strings"
)

// Join returns the path of name in folder.
func Join(folder, name string) string {
	if folder == "/" {
		return "/" + name
	}
	return folder + "/" + name
}

// Split returns the folder and the name of a path. The root folder itself,
// "/", has no name.
func Split(path string) (folder, name string) {
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return "/", path[i+1:]
	}
	return path[:i], path[i+1:]
}

// Inside reports whether path is folder or lies below it.
func Inside(folder, path string) bool {
	if folder == "/" {
		return true
	}
	return strings.HasPrefix(path, folder) && (len(path) == len(folder) || path[len(folder)] == '/')
}

// Outermost returns paths without those that lie in another of them, in the order
// of a walk: as a folder, a path stands before everything below it, and after it
// comes what is not.
func Outermost(paths []string) (top []string) {
	for _, p := range slices.SortedFunc(slices.Values(paths), compareFolders) {
		if len(top) == 0 || !Inside(top[len(top)-1], p) {
			top = append(top, p)
		}
	}
	return top
}

// Follows reports whether something in folder, or below it, may come after path
// in catalog order.
func Follows(folder, path string) bool {
	at, name := Split(path)
	return Inside(folder, at) || Compare(at, name, folder, "") < 0
}

// Compare is catalog order: by folder, then by name.
func Compare(folderA, nameA, folderB, nameB string) int {
	if c := compareFolders(folderA, folderB); c != 0 {
		return c
	}
	return strings.Compare(nameA, nameB)
}

// ComparePaths is Compare for whole paths.
func ComparePaths(a, b string) int {
	folderA, nameA := Split(a)
	folderB, nameB := Split(b)
	return Compare(folderA, nameA, folderB, nameB)
}

// Compare returns where e stands relative to o.
func (e *Entry) Compare(o *Entry) int { return Compare(e.Folder, e.Name, o.Folder, o.Name) }

// compareFolders compares name by name: a slash ends a name, so it counts as
// less than any byte of one, and a folder comes before those inside it.
func compareFolders(a, b string) int {
	if a == b {
		return 0
	}
	n := min(len(a), len(b))
	i := 0
	for i < n && a[i] == b[i] {
		i++
	}
	switch {
	case i == len(a):
		return -1
	case i == len(b):
		return 1
	case a[i] == '/':
		return -1
	case b[i] == '/':
		return 1
	case a[i] < b[i]:
		return -1
	}
	return 1
}
