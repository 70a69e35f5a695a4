//go:build !windows

package scan

func catalogPath(path string) string { return path }
