package profile

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/errs"
)

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	if err := Defaults().Validate(); err != nil {
		t.Error(err)
	}
	if s := Defaults(); !s.WebRestore || s.IntervalMinutes != 240 {
		t.Errorf("defaults %+v", s)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       func(*Settings) // on the defaults
	}{
		{"nothing", `{}`, func(*Settings) {}},
		{"from a newer program", `{"web_restore": false, "colour": "blue"}`, func(s *Settings) { s.WebRestore = false }},
		{"no lists", `{"folders": null, "exclude": null}`, func(*Settings) {}},
		{"repeats and spaces", `{"folders": [{"path": " /a "}, {"path": "/a", "mandatory": true}, {"path": ""}], "exclude": ["x", " x", ""]}`,
			func(s *Settings) { s.Folders = []Folder{{"/a", true}}; s.Exclude = []string{"x"} }},
	} {
		want := Defaults()
		c.want(&want)
		got, err := Decode([]byte(c.text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, want)
		}
		again, err := Decode(got.Encode())
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s: encoded and decoded %+v, %v", c.name, again, err)
		}
	}
	for _, bad := range []string{``, `[]`, `{"interval_minutes": "4"}`, `{"folders": ["/a"]}`} {
		if _, err := Decode([]byte(bad)); errs.KindOf(err) != errs.Invalid {
			t.Errorf("Decode(%s) = %v, want Invalid", bad, err)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	folder := func(p string) func(*Settings) {
		return func(s *Settings) { s.Folders = []Folder{{Path: p}} }
	}
	exclude := func(e string) func(*Settings) {
		return func(s *Settings) { s.Exclude = []string{e} }
	}
	for _, c := range []struct {
		name   string
		change func(*Settings)
		ok     bool
	}{
		{"a folder", folder("/srv/share"), true},
		{"with a slash at its end", folder("/srv/share/"), true},
		{"the whole computer", folder("/"), true},
		{"below home", folder("~/Documents"), true},
		{"home", folder("~"), true},
		{"on Windows", folder(`C:\Users\una`), true},
		{"on Windows with slashes", folder("d:/Data"), true},
		{"another user's home", folder("~root/x"), false},
		{"relative", folder("Documents"), false},
		{"upwards", folder("/a/../etc"), false},
		{"upwards from home", folder("~/../x"), false},
		{"two slashes", folder("/a//b"), false},
		{"a drive alone", folder("C:"), false},
		{"a line break", folder("/a\nb"), false},
		{"not UTF-8", folder("/a\xff"), false},
		{"too long", folder("/" + strings.Repeat("a", maxPath)), false},
		{"a name", exclude("*.iso"), true},
		{"a path", exclude("~/Downloads/*"), true},
		{"an open bracket", exclude("[a"), false},
		{"a slash", exclude("/"), false},
		{"too often", func(s *Settings) { s.IntervalMinutes = 4 }, false},
		{"every five minutes", func(s *Settings) { s.IntervalMinutes = 5 }, true},
		{"too seldom", func(s *Settings) { s.IntervalMinutes = 10081 }, false},
		{"no devices", func(s *Settings) { s.MaxDevices = 0 }, true},
		{"fewer", func(s *Settings) { s.MaxDevices = -1 }, false},
		{"too many devices", func(s *Settings) { s.MaxDevices = 101 }, false},
	} {
		s := Defaults()
		c.change(&s)
		if err := s.Validate(); (err == nil) != c.ok || err != nil && errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v, want valid %v", c.name, err, c.ok)
		}
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	s := Defaults()
	s.Folders = []Folder{{Path: "~/Documents/"}, {Path: "/srv"}, {Path: `C:\Users`}, {Path: "/home/una/Documents"}, {Path: "/"}, {Path: "~"}}
	if got, want := s.Paths("/home/una"), []string{"/home/una/Documents", "/srv", "/", "/home/una"}; !slices.Equal(got, want) {
		t.Errorf("Paths = %q, want %q", got, want)
	}
	if got, want := s.Paths(""), []string{"/srv", "/home/una/Documents", "/"}; !slices.Equal(got, want) {
		t.Errorf("Paths without a home = %q, want %q", got, want)
	}
}

func TestExcluded(t *testing.T) {
	t.Parallel()
	s := Defaults()
	s.Exclude = []string{"*.iso", "node_modules", "~/Downloads", "/var/cache/*/", "a[bc]"}
	excluded := s.Excluded("/home/u*a")
	for p, want := range map[string]bool{
		"/x/big.iso":                true,
		"/x/big.iso.txt":            false,
		"/x/node_modules":           true,
		"/x/node_modules2":          false,
		"/home/u*a/Downloads":       true,
		"/home/una/Downloads":       false, // the star of the home is none
		"/home/u*a/x/Downloads":     false,
		"/var/cache/apt":            true,
		"/var/cache":                false,
		"/var/cache/apt/archives":   false, // the walk does not get there
		"/x/ab":                     true,
		"/x/ad":                     false,
		"/x/node_modules/left/pad":  false,
		"/home/u*a/Downloads/x.iso": true,
	} {
		if got := excluded(p); got != want {
			t.Errorf("excluded(%s) = %v, want %v", p, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"folders":[{"path":"/a","mandatory":true}],"exclude":["*.iso"],"interval_minutes":5}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Decode(text)
		if err != nil {
			return
		}
		again, err := Decode(s.Encode())
		if err != nil || string(again.Encode()) != string(s.Encode()) {
			t.Errorf("%s does not stay the same: %v", s.Encode(), err)
		}
		_ = s.Validate()
		s.Excluded("/home")("/a/b")
		s.Paths("/home")
	})
}
