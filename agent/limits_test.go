package agent

import (
	"net/netip"
	"testing"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/profile"
)

// What a client keeps to is the profile's, at this hour and to this server.
func TestLimitsOfTheProfile(t *testing.T) {
	st, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	if l := limits(st, noon); l.Up != 0 || l.Down != 0 {
		t.Errorf("before the first profile: %+v", l)
	}
	s := profile.Defaults()
	day, err := profile.ParseClock("08:00")
	if err != nil {
		t.Fatal(err)
	}
	evening, err := profile.ParseClock("18:00")
	if err != nil {
		t.Fatal(err)
	}
	s.Bandwidth = profile.Bandwidth{UpKbps: 8000, Percent: 40, RestoreKbps: 500, LANExempt: []string{"10.0.0.0/8"},
		Table: []profile.Rate{{Window: profile.Window{From: day, To: evening}, Kbps: 1000}}}
	if err := st.SetProfile(state.Profile{Version: 1, Settings: s.Encode()}); err != nil {
		t.Fatal(err)
	}
	if l := limits(st, noon); l.Up != 1000 || l.UpPercent != 0 || l.Down != 500 {
		t.Errorf("at noon: up %d, down %d, want 1000 and 500", l.Up, l.Down)
	}
	l := limits(st, noon.Add(8*time.Hour))
	if l.Up != 8000 || l.UpPercent != 40 {
		t.Errorf("in the evening: %d, %d %%, want 8000 and 40 %%", l.Up, l.UpPercent)
	}
	if !l.Exempt(netip.MustParseAddr("10.1.2.3")) || l.Exempt(netip.MustParseAddr("192.0.2.1")) {
		t.Error("the office is not exempt, or all is")
	}
}
