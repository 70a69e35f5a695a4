package profile

// Schedule says when backups run.
type Schedule struct {
	// Cron names times, in the five fields of a crontab; empty when
	// Settings.IntervalMinutes says how often. See ParseCron.
	Cron string `json:"cron"`

	// Windows are when backups may run, always when there are none; Blackouts
	// when they may not. Both are in the device's own time.
	Windows   []Window `json:"windows"`
	Blackouts []Window `json:"blackouts"`

	// OnWindowEnd is Finish when a backup that still runs at the end of a window,
	// or at the beginning of a blackout, goes on until it is done, and Pause when
	// it goes on in the next window.
	OnWindowEnd WindowEnd `json:"on_window_end"`

	// A file of more than BigFileBytes is backed up at most every BigFileMinutes,
	// however often the others are. 0 minutes is no difference.
	BigFileMinutes int   `json:"big_file_minutes"`
	BigFileBytes   int64 `json:"big_file_bytes"`

	// JitterPercent is how far devices are spread around the interval, so that
	// they do not come all at once.
	JitterPercent int `json:"jitter_percent"`
}

// WindowEnd says what becomes of a backup that runs when its window ends.
type WindowEnd string

// What becomes of a backup that runs when its window ends.
const (
	Finish WindowEnd = "finish"
	Pause  WindowEnd = "pause"
)

// UserMay is what users may choose for themselves, on each of their devices.
type UserMay struct {
	Schedule  bool `json:"schedule"`  // how often, or when
	Bandwidth bool `json:"bandwidth"` // a limit below the profile's
	CPU       bool `json:"cpu"`
	Pause     bool `json:"pause"`    // for up to PauseMaxHours
	Networks  bool `json:"networks"` // leave some out
	Folders   bool `json:"folders"`  // add their own

	PauseMaxHours int `json:"pause_max_hours"`
}

// Notifications say what users are told on their computers.
type Notifications string

// What users are told.
const (
	NotifyOff      Notifications = "off"
	NotifyProblems Notifications = "problems"
	NotifyAll      Notifications = "all"
)

// SameName says what becomes of a new device with the name of another one.
type SameName string

// What becomes of a new device with the name of another one.
const (
	SamePrompt  SameName = "prompt"  // the user is asked: replace, or another name
	SameReplace SameName = "replace" // it takes the other's place
	SameAllow   SameName = "allow"   // the new one gets a number after the name
)

// KeepUnlinked says whether unlinked folders stay so when a device is activated
// again.
type KeepUnlinked string

// Whether unlinked folders stay so.
const (
	KeepNo  KeepUnlinked = "no"
	KeepAsk KeepUnlinked = "ask" // the user decides
	KeepYes KeepUnlinked = "yes"
)

// SecondFactor says who needs one.
type SecondFactor string

// Whether users need a second factor.
const (
	Optional SecondFactor = "optional"
	Required SecondFactor = "required"
)
