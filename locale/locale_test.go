package locale

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
)

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		header string
		want   Lang
	}{
		{"", English},
		{"fr-CA,fr;q=0.9,en;q=0.8", French},
		{"en-GB,fr;q=0.9", English},
		{"de,fr;q=0.5", French},
		{"de,ja", English},
		{"*", English},
		{"\x00;;q=9", English}, // what a probe sends
	} {
		if got := Match(tc.header); got != tc.want {
			t.Errorf("Match(%q) = %v, want %v", tc.header, got, tc.want)
		}
	}
}

func TestFromEnv(t *testing.T) {
	for _, tc := range []struct {
		env  map[string]string
		want Lang
	}{
		{map[string]string{}, English},
		{map[string]string{"LANG": "fr_FR.UTF-8"}, French},
		{map[string]string{"LANG": "fr_FR.UTF-8", "LC_ALL": "en_GB.UTF-8"}, English},
		{map[string]string{"LANG": "en_US.UTF-8", "LANGUAGE": "de:fr:en"}, French},
		// gettext ignores LANGUAGE in the C locale; scripts rely on LC_ALL=C.
		{map[string]string{"LC_ALL": "C", "LANGUAGE": "fr"}, English},
		{map[string]string{"LC_ALL": "C.UTF-8", "LANG": "fr_FR"}, English},
		{map[string]string{"LANG": "fr@euro"}, French},
	} {
		got := FromEnv(func(name string) string { return tc.env[name] })
		if got != tc.want {
			t.Errorf("FromEnv(%v) = %v, want %v", tc.env, got, tc.want)
		}
	}
}

func TestPlurals(t *testing.T) {
	for _, tc := range []struct {
		lang Lang
		n    int64
		want string
	}{
		{English, 0, "0 days ago"},
		{English, 1, "1 day ago"},
		{English, 2000, "2,000 days ago"},
		{French, 0, "il y a 0 jour"},
		{French, 1, "il y a 1 jour"},
		{French, 2000, "il y a 2\u202f000 jours"},
		{French, 1000000, "il y a 1\u202f000\u202f000 de jours"},
	} {
		if got := For(tc.lang).N("time.ago.days", tc.n); got != tc.want {
			t.Errorf("%s N(%d) = %q, want %q", tc.lang, tc.n, got, tc.want)
		}
	}
}

func TestError(t *testing.T) {
	p := For(English)
	for _, tc := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("logging in: %w", errs.Of(errs.TooManyAttempts, "n", 30)), "Too many attempts. Try again in 30 seconds."},
		{errs.Of(errs.TooManyAttempts, "n", 1), "Too many attempts. Try again in 1 second."},
		{errs.Of(errs.SchemaVersion, "a", 9, "b", 2), "The database is of version 9, this program needs 2."},
		// What we did not expect says nothing of itself.
		{errors.New("pq: password of root is hunter2"), p.T("error.unexpected")},
		{nil, p.T("error.unexpected")},
	} {
		if got := p.Error(tc.err); got != tc.want {
			t.Errorf("Error(%v) = %q, want %q", tc.err, got, tc.want)
		}
	}
}

func TestMissingKeyShowsItself(t *testing.T) {
	if got := For(French).T("no.such.key"); got != "no.such.key" {
		t.Errorf("T(no.such.key) = %q", got)
	}
}

func TestBytes(t *testing.T) {
	for _, tc := range []struct {
		n      int64
		en, fr string
	}{
		{0, "0 B", "0\u00a0o"},
		{999, "999 B", "999\u00a0o"},
		{1000, "1 kB", "1\u00a0ko"},
		{1249, "1.2 kB", "1,2\u00a0ko"},
		{99949, "99.9 kB", "99,9\u00a0ko"},
		{99950, "100 kB", "100\u00a0ko"},
		{999499, "999 kB", "999\u00a0ko"},
		{999500, "1 MB", "1\u00a0Mo"},
		{61659000000, "61.7 GB", "61,7\u00a0Go"},
		{1 << 62, "4.6 EB", "4,6\u00a0Eo"},
	} {
		if got := For(English).Bytes(tc.n); got != tc.en {
			t.Errorf("Bytes(%d) = %q, want %q", tc.n, got, tc.en)
		}
		if got := For(French).Bytes(tc.n); got != tc.fr {
			t.Errorf("French Bytes(%d) = %q, want %q", tc.n, got, tc.fr)
		}
	}
}

func TestDuration(t *testing.T) {
	for _, tc := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "0.0 s"},
		{1400 * time.Millisecond, "1.4 s"},
		{45 * time.Second, "45 s"},
		{3*time.Minute + 20*time.Second, "3 min 20 s"},
		{time.Hour, "1 h"},
		{time.Hour + 5*time.Second, "1 h"},
		{2*time.Hour + 5*time.Minute + 9*time.Second, "2 h 5 min"},
		{76 * time.Hour, "3 d 4 h"},
	} {
		if got := For(English).Duration(tc.d); got != tc.want {
			t.Errorf("Duration(%v) = %q, want %q", tc.d, got, tc.want)
		}
	}
}

func TestTime(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		t      time.Time
		en, fr string
	}{
		{now, "just now", "à l’instant"},
		{now.Add(-12 * time.Minute), "12 minutes ago", "il y a 12 minutes"},
		{now.Add(3*time.Hour + time.Minute), "in 3 hours", "dans 3 heures"},
		{now.AddDate(0, 0, -29), "29 days ago", "il y a 29 jours"},
		{now.AddDate(0, -3, -21), "1 Aug 2026", "1er août 2026"},
	} {
		if got := For(English).Time(tc.t, now); got != tc.en {
			t.Errorf("Time(%v) = %q, want %q", tc.t, got, tc.en)
		}
		if got := For(French).Time(tc.t, now); got != tc.fr {
			t.Errorf("French Time(%v) = %q, want %q", tc.t, got, tc.fr)
		}
	}
	if got, want := For(French).Exact(now), "22 nov. 2026 à 12:00:00 UTC"; got != want {
		t.Errorf("Exact = %q, want %q", got, want)
	}
}
