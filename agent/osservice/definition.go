package osservice

import (
	"encoding/xml"
	"strings"

	"github.com/kardianos/service"
)

// What launchd and Windows are told of the service is made here, so that it is
// tested on any system.

// label is what launchd calls the service.
const label = "org.backstay.agent"

// launchd is the definition of a daemon: started with the computer and whenever it
// ends, with the same time to end that systemd gives it. What is left of its
// processes ends with it.
const launchd = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key>
	<string>` + label + `</string>
	<key>ProgramArguments</key>
	<array>
		<string>PROGRAM</string>
		<string>service</string>
		<string>run</string>
	</array>
	<key>RunAtLoad</key>
	<true/>
	<key>KeepAlive</key>
	<true/>
	<key>ThrottleInterval</key>
	<integer>5</integer>
	<key>ExitTimeOut</key>
	<integer>15</integer>
	<key>ProcessType</key>
	<string>Background</string>
	<key>Umask</key>
	<integer>63</integer>
	<key>StandardErrorPath</key>
	<string>/var/log/backstay.log</string>
</dict>
</plist>
`

// launchdDefinition is the service for launchd. The library takes the text for a
// template, in which braces mean something.
func launchdDefinition(program string) *service.Config {
	var b strings.Builder
	xml.EscapeText(&b, []byte(program))
	text := strings.NewReplacer("{", "&#123;", "}", "&#125;").Replace(b.String())
	return &service.Config{Name: label, Executable: program, Option: service.KeyValue{
		"LaunchdConfig": strings.Replace(launchd, "PROGRAM", text, 1),
	}}
}

// windowsDefinition is the service for Windows: as the system itself, since only
// that may start agents as others, started with the computer once the rest has,
// and again five seconds after it ended; a day without that forgets earlier ends.
func windowsDefinition(program string) *service.Config {
	return &service.Config{
		Name: Name, DisplayName: "Backstay", Description: "Backs up this computer to its organisation's Backstay server.",
		Executable: program, Arguments: []string{"service", "run"},
		Option: service.KeyValue{
			"StartType": "automatic", "DelayedAutoStart": true,
			"OnFailure": "restart", "OnFailureDelayDuration": "5s", "OnFailureResetPeriod": 24 * 60 * 60,
		},
	}
}

// inside reports whether a path of Windows is root or lies in it.
func inside(root, path string) bool {
	root, path = strings.ToLower(strings.TrimRight(root, `\`)), strings.ToLower(path)
	return path == root || strings.HasPrefix(path, root+`\`)
}
