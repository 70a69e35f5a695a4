package entry

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

// browser says which browser on which system a session is in.
func browser(p *locale.Printer, agent string) string {
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

func mobile(agent string) bool {
	return strings.Contains(agent, "Mobile") || strings.Contains(agent, "iPhone") || strings.Contains(agent, "Android")
}
