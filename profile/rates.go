package profile

import (
	"net/netip"
	"slices"
	"time"
)

// Bandwidth is how much of its line a computer gives to backups. 0 is always
// no limit.
type Bandwidth struct {
	// UpKbps is what backups send at most, in kilobits a second. Percent is the
	// other way to say it: of what the line gives, as the computer measures it.
	UpKbps  int `json:"up_kbps"`
	Percent int `json:"percent"`

	// Table are other limits for some times, instead of UpKbps and Percent. Where
	// two overlap the first holds.
	Table []Rate `json:"table"`

	// LANExempt are addresses of servers, as 10.0.0.0/8, to which no limit holds.
	LANExempt []string `json:"lan_exempt"`

	// RestoreKbps is what restores receive at most.
	RestoreKbps int `json:"restore_kbps"`
}

// Rate is a limit for some time.
type Rate struct {
	Window
	Kbps int `json:"kbps"`
}

// At is the limit for backups at t, by the clock of t's time zone: in kilobits
// a second, or in percent of the line. 0 is none.
func (b Bandwidth) At(t time.Time) (kbps, percent int) {
	for _, r := range b.Table {
		if r.Open(t) {
			return r.Kbps, 0
		}
	}
	return b.UpKbps, b.Percent
}

// Exempt reports whether no limit holds to a server at this address.
func (b Bandwidth) Exempt(server netip.Addr) bool {
	return slices.ContainsFunc(b.LANExempt, func(text string) bool {
		p, ok := parseCIDR(text)
		return ok && p.Contains(server.Unmap())
	})
}

// CPU is how much of the processor and the disk backups take from what else
// runs.
type CPU string

// How backups run beside the rest. CPUAdaptive is CPULow while somebody works
// on the computer, and CPUNormal while nobody does.
const (
	CPULow      CPU = "low"
	CPUNormal   CPU = "normal"
	CPUAdaptive CPU = "adaptive"
)
