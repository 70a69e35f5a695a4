package devices

import "testing"

// Somebody is told of a quota once at 80, 95 and 100 percent, and again only
// after it has fallen well below what they were told.
func TestDue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		noted, percent int64
		note           int64
		tell           bool
	}{
		{"nothing is used", 0, 0, 0, false},
		{"not yet", 0, 79, 0, false},
		{"80", 0, 80, 80, true},
		{"told of 80", 80, 94, 80, false},
		{"95", 80, 95, 95, true},
		{"from nothing to 99: one mail", 0, 99, 95, true},
		{"full", 95, 100, 100, true},
		{"from nothing to full: one mail", 0, 120, 100, true},
		{"full still", 100, 120, 100, false},
		{"a little less than full", 100, 95, 100, false},
		{"full again, of which it was told", 100, 101, 100, false},
		{"well below full", 100, 94, 80, false},
		{"full again, after that", 80, 100, 100, true},
		{"a little below 80", 80, 75, 80, false},
		{"well below 80", 80, 74, 0, false},
		{"the limit is gone", 100, 0, 0, false},
	} {
		if note, tell := due(c.noted, c.percent); note != c.note || tell != c.tell {
			t.Errorf("%s: noted %d at %d %%: %d, %v; want %d, %v", c.name, c.noted, c.percent, note, tell, c.note, c.tell)
		}
	}
}
