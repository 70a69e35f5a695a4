package agent

import (
	"os"
	"time"
)

// localtime is where Unix systems say in which time zone they are.
const localtime = "/etc/localtime"

// zone is the time zone in which this computer is now. Go looks once, when a
// program starts, and an agent runs for months and travels.
//
// BUG(agent): on Windows it is the one in which the agent started.
func zone(path string) *time.Location {
	if os.Getenv("TZ") != "" {
		return time.Local // somebody chose it for this program
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return time.Local
	}
	here, err := time.LoadLocationFromTZData("Local", data)
	if err != nil {
		return time.Local
	}
	return here
}
