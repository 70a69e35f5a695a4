package oracle

// attrPath is a path for the calls that take no descriptor.
func attrPath(root, path string, _ int, _ string) string { return root + "/" + path }
