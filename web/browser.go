package web

import (
	"strings"

	"github.com/backstay/backstay/locale"
)

// What a browser says of itself, as people know it. The first that is found
// names it: others claim to be those below them, too.
var (
	browsers = [][2]string{
		{"Edg", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"},
		{"CriOS/", "Chrome"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"},
	}
	systems = [][2]string{
		{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Macintosh", "macOS"},
		{"CrOS", "ChromeOS"}, {"Linux", "Linux"},
	}
)

func named(agent string, names [][2]string) string {
	for _, n := range names {
		if strings.Contains(agent, n[0]) {
			return n[1]
		}
	}
	return ""
}

// Browser says which browser on which system calls itself agent, for people to
// recognise their own.
func Browser(p *locale.Printer, agent string) string {
	name, system := named(agent, browsers), named(agent, systems)
	switch {
	case name != "" && system != "":
		return p.T("account.session.browser", "browser", name, "system", system)
	case name != "":
		return name
	case system != "":
		return system
	}
	return p.T("account.session.unknown")
}

// Phone reports whether a browser says that it is on a phone or tablet.
func Phone(agent string) bool {
	return strings.Contains(agent, "Mobile") || strings.Contains(agent, "iPhone") || strings.Contains(agent, "Android")
}
