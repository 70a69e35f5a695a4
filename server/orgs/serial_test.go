package orgs

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/backstay/backstay/errs"
)

// wrong returns the group that ParseSerial names, 0 when it is content.
func wrong(t interface{ Fatalf(string, ...any) }, typed string) int {
	_, err := ParseSerial(typed)
	if err == nil {
		return 0
	}
	if !errs.Is(err, errs.BadSerial) {
		t.Fatalf("ParseSerial(%q) = %v, want E1302", typed, err)
	}
	group, ok := errs.Find(err).Args["group"].(int)
	if !ok {
		t.Fatalf("ParseSerial(%q) = %v, which names no group", typed, err)
	}
	return group
}

// drawn is a serial number that the checker may vary and shrink.
func drawn(t *rapid.T) string {
	var b strings.Builder
	for g := range groups {
		values := rapid.SliceOfN(rapid.ByteRange(0, 31), groupData, groupData).Draw(t, "group")
		for _, v := range append(values, check(g, values)) {
			b.WriteByte(alphabet[v])
		}
	}
	return b.String()
}

// Every single wrong character, every exchange of two in a group and every
// exchange of two groups is found, and the group is named.
func TestSerialFindsMistakes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		serial := drawn(t)
		if got, err := ParseSerial(serial); err != nil || got != serial {
			t.Fatalf("ParseSerial(%q) = %q, %v", serial, got, err)
		}
		for i := range serial {
			group := i/groupSize + 1
			for _, c := range alphabet + "U!é" {
				typed := serial[:i] + string(c) + serial[i+1:]
				if typed != serial && wrong(t, typed) != group {
					t.Fatalf("%q with character %d as %q: names group %d", serial, i+1, c, wrong(t, typed))
				}
			}
			for j := i + 1; j < group*groupSize; j++ {
				if serial[i] != serial[j] && wrong(t, exchange(serial, i, j, 1)) != group {
					t.Fatalf("%q with characters %d and %d exchanged: names group %d", serial, i+1, j+1, wrong(t, exchange(serial, i, j, 1)))
				}
			}
			// Two neighbours of two groups are a mistake in each; the first is named.
			if j := i + 1; j < serialLen && j%groupSize == 0 && serial[i] != serial[j] && wrong(t, exchange(serial, i, j, 1)) != group {
				t.Fatalf("%q with characters %d and %d exchanged: not found", serial, i+1, j+1)
			}
		}
		for a := range groups {
			for b := a + 1; b < groups; b++ {
				if got := wrong(t, exchange(serial, a*groupSize, b*groupSize, groupSize)); got != a+1 && serial[a*groupSize:][:groupSize] != serial[b*groupSize:][:groupSize] {
					t.Fatalf("%q with groups %d and %d exchanged: names group %d", serial, a+1, b+1, got)
				}
			}
		}
	})
}

// exchange swaps n characters at i with those at j.
func exchange(s string, i, j, n int) string {
	return s[:i] + s[j:j+n] + s[i+n:j] + s[i:i+n] + s[j+n:]
}

func TestNewSerial(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	used := map[rune]bool{}
	for range 1000 {
		s := newSerial()
		if got, err := ParseSerial(s); err != nil || got != s {
			t.Fatalf("made %q, which reads as %q, %v", s, got, err)
		}
		if seen[s] {
			t.Fatalf("made %q twice", s)
		}
		seen[s] = true
		for _, c := range s {
			used[c] = true
		}
	}
	if len(used) != 32 {
		t.Errorf("%d characters are used, want 32", len(used))
	}
}

func TestParseSerial(t *testing.T) {
	t.Parallel()
	// 0 and 1 stand in it, and every group differs.
	const serial = "01AB" // completed below
	var whole strings.Builder
	for g := range groups {
		values := []byte{0, 1, 10, byte(11 + g)}
		for _, v := range append(values, check(g, values)) {
			whole.WriteByte(alphabet[v])
		}
	}
	s := whole.String()
	if !strings.HasPrefix(s, serial) {
		t.Fatalf("the serial of the test is %q", s)
	}
	dashed := FormatSerial(s)
	if len(dashed) != 29 || strings.Count(dashed, "-") != 4 {
		t.Fatalf("FormatSerial(%q) = %q", s, dashed)
	}
	for _, typed := range []string{
		s, dashed, strings.ToLower(dashed), " " + dashed + "\n", strings.ReplaceAll(dashed, "-", " "),
		strings.ReplaceAll(dashed, "-", "–"), strings.ReplaceAll(dashed, "-", " - "),
		strings.ReplaceAll(dashed, "0", "O"), strings.ReplaceAll(dashed, "1", "l"), strings.ReplaceAll(dashed, "1", "I"), strings.ReplaceAll(dashed, "0", "o"),
		s[:3] + "-" + s[3:7] + "\u00a0" + s[7:],
	} {
		if got, err := ParseSerial(typed); err != nil || got != s {
			t.Errorf("ParseSerial(%q) = %q, %v, want %q", typed, got, err, s)
		}
	}
	for typed, want := range map[string]any{
		"":                            0,
		"x":                           1,
		s[:24]:                        24,
		s + "0":                       26,
		s + s:                         50,
		dashed[:28]:                   nil, // the fifth group lacks one
		dashed[:6] + dashed[7:]:       nil, // the second
		"é" + s[1:] + "é":             26,
		strings.Repeat("-", 1000):     0,
		dashed[:5] + "-" + dashed[5:]: nil,
	} {
		_, err := ParseSerial(typed)
		if want == nil {
			continue
		}
		if !errs.Is(err, errs.BadSerial) || errs.Find(err).Args["n"] != want {
			t.Errorf("ParseSerial(%q) = %v, want E1302 with %v characters", typed, err, want)
		}
	}
	if got := wrong(t, dashed[:28]); got != 5 {
		t.Errorf("without its last character: names group %d, want 5", got)
	}
	if got := wrong(t, dashed[:6]+dashed[7:]); got != 2 {
		t.Errorf("without the first character of the second group: names group %d", got)
	}
}
