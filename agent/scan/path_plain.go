//go:build !windows && !linux

package scan

func systemPath(path string) string { return path }
