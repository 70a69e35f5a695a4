package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

func key(err error) string {
	if e := errs.Find(err); e != nil {
		return e.Key
	}
	return fmt.Sprint(err)
}

func TestChoose(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	music, docs, mine := t.TempDir(), t.TempDir(), t.TempDir()
	folder := func(path string) [][]byte { return [][]byte{[]byte(path)} }
	for _, tc := range []struct {
		name    string
		profile func(*profile.Settings)
		before  profile.Choices
		change  control.Change
		want    profile.Choices
		refused string
	}{
		{name: "a pause", change: control.Change{Pause: 2 * time.Hour}, want: profile.Choices{PausedAt: now, PausedUntil: now.Add(2 * time.Hour)}},
		{name: "a pause longer than a day", change: control.Change{Pause: 25 * time.Hour}, refused: "choices.pause.long"},
		{name: "a pause longer than the profile's", profile: func(s *profile.Settings) { s.UserMay.PauseMaxHours = 1 },
			change: control.Change{Pause: 2 * time.Hour}, refused: "choices.pause.long"},
		{name: "a pause that is not allowed", profile: func(s *profile.Settings) { s.UserMay.Pause = false }, change: control.Change{Pause: time.Hour},
			refused: "choices.not_allowed.pause"},
		{name: "the end of a pause, allowed or not", profile: func(s *profile.Settings) { s.UserMay.Pause = false },
			before: profile.Choices{PausedAt: now, PausedUntil: now.Add(time.Hour)}, change: control.Change{Resume: true}},

		{name: "an interval", before: profile.Choices{Cron: "0 12 * * *"}, change: control.Change{Set: profile.Choices{IntervalMinutes: 120}},
			want: profile.Choices{IntervalMinutes: 120}},
		{name: "an interval that is none", change: control.Change{Set: profile.Choices{IntervalMinutes: 1}}, refused: "profile.interval.invalid"},
		{name: "an interval that is not allowed", profile: func(s *profile.Settings) { s.UserMay.Schedule = false },
			change: control.Change{Set: profile.Choices{IntervalMinutes: 120}}, refused: "choices.not_allowed.interval"},
		{name: "the profile's interval again, allowed or not", profile: func(s *profile.Settings) { s.UserMay.Schedule = false },
			before: profile.Choices{IntervalMinutes: 120, CPU: profile.CPULow}, change: control.Change{Reset: []profile.Setting{profile.SettingInterval}},
			want: profile.Choices{CPU: profile.CPULow}},
		{name: "hours within a blackout",
			profile: func(s *profile.Settings) { s.Schedule.Blackouts = []profile.Window{{From: 8 * 60, To: 18 * 60}} },
			change:  control.Change{Set: profile.Choices{Windows: []profile.Window{{From: 9 * 60, To: 17 * 60}}}}, refused: "choices.hours.invalid"},
		{name: "a limit above the profile's", profile: func(s *profile.Settings) { s.Bandwidth.UpKbps = 500 },
			change: control.Change{Set: profile.Choices{UpKbps: 1000}}, refused: "choices.bandwidth.lower"},
		{name: "a share above the profile's", profile: func(s *profile.Settings) { s.Bandwidth.Percent = 20 },
			change: control.Change{Set: profile.Choices{UpPercent: 30}}, refused: "choices.bandwidth.lower.percent"},
		{name: "a share in place of a limit", before: profile.Choices{UpKbps: 100},
			change: control.Change{Set: profile.Choices{UpPercent: 30}}, want: profile.Choices{UpPercent: 30}},
		{name: "a limit below it", profile: func(s *profile.Settings) { s.Bandwidth.UpKbps = 500 },
			change: control.Change{Set: profile.Choices{UpKbps: 100}}, want: profile.Choices{UpKbps: 100}},
		{name: "a whole provider's network", change: control.Change{Set: profile.Choices{NetworksOut: []string{"10.0.0.0/8"}}}, refused: "choices.network.invalid"},
		{name: "something that there is not", change: control.Change{Reset: []profile.Setting{"colour"}}, refused: "choices.setting.unknown"},

		{name: "a folder", change: control.Change{Add: folder(mine)}, want: profile.Choices{Folders: []string{mine}}},
		{name: "a folder of the profile's that was left out", before: profile.Choices{Unlinked: []string{music}}, change: control.Change{Add: folder(music)}},
		{name: "a folder of the profile's", change: control.Change{Add: folder(music)}},
		{name: "a folder that the profile does not let users add", profile: func(s *profile.Settings) { s.UserMay.Folders = false },
			change: control.Change{Add: folder(mine)}, refused: "backup.folder.profile"},
		{name: "a folder less", before: profile.Choices{Folders: []string{mine}}, change: control.Change{Remove: folder(mine)}},
		{name: "a folder of the profile's less", change: control.Change{Remove: folder(music)}, want: profile.Choices{Unlinked: []string{music}}},
		{name: "a folder that has to be backed up", change: control.Change{Remove: folder(docs)}, refused: "folders.mandatory"},
		{name: "a part of a folder", change: control.Change{Remove: folder(filepath.Join(music, "loud"))}, refused: "folders.inside"},
		{name: "a folder that is not on the list", change: control.Change{Remove: folder(mine)}, refused: "folders.unknown"},
	} {
		st, err := state.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		s := profile.Defaults()
		s.Folders = []profile.Folder{{Path: music}, {Path: docs, Mandatory: true}}
		if tc.profile != nil {
			tc.profile(&s)
		}
		if err := errors.Join(st.SetProfile(state.Profile{Version: 1, Settings: s.Encode()}), st.SetChoices(tc.before)); err != nil {
			t.Fatal(err)
		}
		err = Choose(st, now, tc.change)
		got, readErr := st.Choices()
		if readErr != nil {
			t.Fatal(readErr)
		}
		switch {
		case tc.refused != "":
			if key(err) != tc.refused || !reflect.DeepEqual(got, tc.before) {
				t.Errorf("%s: %v, and then %+v; want %s and nothing changed", tc.name, err, got, tc.refused)
			}
		case err != nil || string(got.Encode()) != string(tc.want.Encode()):
			t.Errorf("%s: %s, %v, want %s", tc.name, got.Encode(), err, tc.want.Encode())
		}
	}
}

// What the user chooses holds at once, and the server is told.
func TestChoicesOfARunningAgent(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	st, r := device(t, f), &runs{}
	a := newAgent(t, st, r)
	start(t, a)
	eventually(t, "the first backup was made", func() bool { return r.count() == 1 })
	if _, err := control.Ask(t.Context(), st.Dir(), control.Request{Do: control.Choose, Change: &control.Change{Pause: 24 * time.Hour, Set: profile.Choices{CPU: profile.CPULow}}}, nil); err != nil {
		t.Fatal(err)
	}
	told := func() (s wire.Status) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, other := range f.statuses {
			if other.Choices != nil {
				s.Choices = other.Choices
			}
		}
		s.State = f.statuses[len(f.statuses)-1].State
		return s
	}
	eventually(t, "the server knows of the pause", func() bool {
		c, err := profile.DecodeChoices(told().Choices)
		return err == nil && c.CPU == profile.CPULow && !c.PausedUntil.IsZero()
	})
	eventually(t, "the device says that it is paused", func() bool { return told().State == wire.StatePaused })
	if blocked := a.Live().Blocked; len(blocked) != 1 || blocked[0].By != "paused" || blocked[0].Until.IsZero() {
		t.Errorf("in the way is %+v, want the pause", blocked)
	}
	if err := a.Change(control.Change{Resume: true, Set: profile.Choices{IntervalMinutes: 5}}); err != nil {
		t.Fatal(err)
	}
	before := r.count()
	eventually(t, "backups go on", func() bool { return r.count() > before })
}

// A pause stops the backup that runs, also one that its user asked for.
func TestPauseStopsABackup(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	st := device(t, f)
	begun := make(chan struct{}, 10)
	r := &runs{do: func(ctx context.Context, _ int, _ func(wire.Progress)) error {
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}}
	a := newAgent(t, st, r)
	ended := make(chan error)
	go func() {
		_, err := a.Backup(t.Context(), nil, nil)
		ended <- err
	}()
	<-begun
	if err := a.Change(control.Change{Pause: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; key(err) != "backup.paused" {
		t.Errorf("the backup ended with %v, want that backups are paused", err)
	}
	if run, _, err := st.LastRun(); err != nil || run.State != state.RunCancelled {
		t.Errorf("the run is %+v, %v, want it cancelled", run, err)
	}
}

// The server has to be told until it was, or cannot read what it is told.
func TestUntilTheServerKnows(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		err  error
		told bool
	}{
		{"told", nil, true},
		{"offline", errs.Of(errs.CannotConnect), false},
		{"deactivated for now", errs.Of(errs.DeviceDeactivated).Because(&wire.Refusal{Status: 403}), false},
		{"not understood", errs.New(errs.Invalid, "choices.invalid"), true},
	} {
		st := device(t, newFake(t))
		a := newAgent(t, st, &runs{})
		a.heardOf(a.status(), tc.err)
		if left := a.untold(); (left == nil) != tc.told {
			t.Errorf("%s: left to tell is %s", tc.name, left)
		}
	}
}

// What a device begins with.
func TestBegins(t *testing.T) {
	t.Parallel()
	here := profile.Choices{IntervalMinutes: 30, Unlinked: []string{"~/Music"}, Folders: []string{"/home/\xff"}}
	server := profile.Choices{Windows: []profile.Window{}, Unlinked: []string{"~/Videos"}, Folders: []string{"/home/a", `C:\Users\a`}}
	for _, tc := range []struct {
		name string
		out  wire.Activated
		want profile.Choices
	}{
		{"added", wire.Activated{Choice: wire.Add}, profile.Choices{Folders: here.Folders}},
		{"reactivated", wire.Activated{Choice: wire.Reactivate, Choices: server.Encode()},
			profile.Choices{Windows: server.Windows, Unlinked: server.Unlinked, Folders: here.Folders}},
		{"in place of another", wire.Activated{Choice: wire.Replace, Choices: server.Encode()},
			profile.Choices{Windows: server.Windows, Unlinked: server.Unlinked, Folders: []string{"/home/a", "/home/\xff"}}},
	} {
		st, err := state.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := st.SetChoices(here); err != nil {
			t.Fatal(err)
		}
		if got, err := begins(st, tc.out, nil); err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, %v, want %+v", tc.name, got, err, tc.want)
		}
	}
}

// The list says of each folder where it is from and whether it is backed up.
func TestListed(t *testing.T) {
	t.Parallel()
	music, docs, mine := t.TempDir(), t.TempDir(), t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(docs, link); err != nil {
		t.Fatal(err)
	}
	s := profile.Defaults()
	s.Folders = []profile.Folder{{Path: music}, {Path: link, Mandatory: true}, {Path: "/no/such"}, {Path: "/not/there", Mandatory: true}, {Path: `C:\Users`}}
	e := profile.Merge(s, profile.Choices{Unlinked: []string{music, link}, Folders: []string{mine}})
	var got []string
	for _, f := range Listed(e) {
		got = append(got, fmt.Sprint(f.Here, " ", f.Source, " backed=", f.Backed(), " missing=", f.Missing, " ", f.Ignored))
	}
	want := []string{
		music + " profile backed=false missing=false ",
		docs + " profile backed=true missing=false mandatory",
		"/no/such profile backed=true missing=true ",
		"/not/there profile backed=true missing=true ",
		mine + " user backed=true missing=false ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed are\n%q, want\n%q", got, want)
	}
	if got, want := backed(e), slices.Sorted(slices.Values([]string{docs, "/not/there", mine})); !slices.Equal(got, want) {
		t.Errorf("backed up are %q, want %q", got, want)
	}
}

// What keeps a folder out comes before what is wrong with it, and that before why
// it stays.
func TestRemark(t *testing.T) {
	t.Parallel()
	always := profile.Linked{Folder: profile.Folder{Mandatory: true}, Source: profile.FromProfile}
	for want, f := range map[string]Folder{
		"left out by you": {Linked: profile.Linked{Unlinked: true, Source: profile.FromProfile}, Denied: true},
		"left out: ":      {Linked: profile.Linked{Source: profile.FromUser, Ignored: profile.NotAllowed}, Missing: true},
		"no permission":   {Linked: always, Denied: true},
		"not there now":   {Linked: always, Missing: true},
		"always":          {Linked: always},
	} {
		if got := f.Remark(locale.For(locale.English)); !strings.Contains(got, want) {
			t.Errorf("of %+v it is said %q, want %q", f, got, want)
		}
	}
	if got := (Folder{Linked: profile.Linked{Source: profile.FromUser}}).Remark(locale.For(locale.English)); got != "" {
		t.Errorf("of a folder that is backed up it is said %q", got)
	}
}
