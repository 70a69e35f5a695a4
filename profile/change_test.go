package profile

import (
	"testing"

	"github.com/backstay/backstay/locale"
)

// Each setting has words in both languages, and says what holds without the
// user's choice.
func TestWords(t *testing.T) {
	t.Parallel()
	s := Defaults()
	s.Bandwidth.UpKbps = 5000
	c := Choices{IntervalMinutes: 90, UpKbps: 2000, CPU: CPULow, NetworksOut: []string{"192.168.43.0/24"},
		Windows: []Window{{Days: 1<<1 | 1<<2, From: 20 * 60, To: 6 * 60}, {From: 12 * 60, To: 13 * 60}}}
	want := [][3]string{
		{"every 1 h 30 min", "every 4 h", "toutes les 1\u00a0h 30\u00a0min"},
		{"Mon, Tue 20:00–06:00; 12:00–13:00", "at any time", "lun., mar. 20:00–06:00; 12:00–13:00"},
		{"2,000 kbit/s", "5,000 kbit/s", "2\u202f000 kbit/s"},
		{"Low", "Normal", "Bas"},
		{"192.168.43.0/24", "none left out", "192.168.43.0/24"},
	}
	for i, v := range Merge(s, c).Settable() {
		value, profile := v.Words(locale.For(locale.English))
		french, _ := v.Words(locale.For(locale.French))
		if v.Name != AllSettings[i] || v.Source != FromUser || value != want[i][0] || profile != want[i][1] || french != want[i][2] {
			t.Errorf("%s (%s): %q, %q, %q, want %q", v.Name, v.Source, value, profile, french, want[i])
		}
	}
}
