//go:build unix

package connection

func settingsDir(func(string) string) string { return "/etc/backstay" }
