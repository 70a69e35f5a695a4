package state_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
)

var monday = time.Date(2026, 11, 16, 8, 0, 0, 0, time.UTC)

// ran is a backup that ended some hours after Monday morning.
func ran(hours int, how, key string) state.Activity {
	ended := monday.Add(time.Duration(hours) * time.Hour)
	return state.Activity{Kind: state.ActivityBackup, Run: state.Run{State: how, Note: errs.Note{Key: key}, Started: ended.Add(-time.Minute), Ended: ended}}
}

// What was done is listed, the newest first, in parts; what fails again and
// again alike is one line that says since when.
func TestActivities(t *testing.T) {
	t.Parallel()
	s := open(t)
	if list, more, err := s.Activities("", 10); len(list) > 0 || more || err != nil {
		t.Errorf("before anything was done: %v, %v, %v", list, more, err)
	}
	restored := ran(5, state.RunDone, "")
	restored.Kind, restored.Problems = state.ActivityRestore, make([]state.Fault, 500)
	for _, a := range []state.Activity{
		ran(0, state.RunDone, ""),
		ran(1, state.RunFailed, "away"), ran(2, state.RunFailed, "away"), ran(3, state.RunFailed, "away"),
		ran(4, state.RunFailed, "full"),
		restored,
		ran(6, state.RunFailed, "full"),                          // not one after the other
		ran(7, state.RunFailed, ""), ran(8, state.RunFailed, ""), // nobody knows whether these are alike
	} {
		if err := s.AddActivity(a); err != nil {
			t.Fatal(err)
		}
	}
	var got, after = "", ""
	for more := true; more; {
		var list []state.Activity
		var err error
		if list, more, err = s.Activities(after, 3); err != nil || len(list) == 0 {
			t.Fatalf("Activities(%q) = %v, %v", after, list, err)
		}
		for _, a := range list {
			got += fmt.Sprintf("%s %s%s %v×%d since %v\n", a.Kind, a.State, a.Key, a.Ended.Sub(monday), a.Tries, a.Started.Sub(monday))
			after = a.ID
		}
	}
	want := `backup failed 8h0m0s×0 since 7h59m0s
backup failed 7h0m0s×0 since 6h59m0s
backup failedfull 6h0m0s×0 since 5h59m0s
restore done 5h0m0s×0 since 4h59m0s
backup failedfull 4h0m0s×0 since 3h59m0s
backup failedaway 3h0m0s×3 since 59m0s
backup done 0s×0 since -1m0s
`
	if got != want {
		t.Errorf("the list is\n%swant\n%s", got, want)
	}
	if list, _, _ := s.Activities("", 4); len(list) < 4 || len(list[3].Problems) != 100 {
		t.Error("a restore with 500 faults does not list the first 100")
	}
}

// What was done long ago is forgotten, and what is damaged hides nothing else.
func TestActivitiesEnd(t *testing.T) {
	t.Parallel()
	s := open(t)
	if err := s.AddActivity(ran(0, state.RunDone, "")); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(s.Dir(), "activity")
	for i := range 1200 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("2020%04d.json", i)), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddActivity(ran(1, state.RunDone, "")); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1000 {
		t.Errorf("%d files are kept, %v, want 1000", len(files), err)
	}
	if list, more, err := s.Activities("", 10); len(list) != 2 || more || err != nil {
		t.Errorf("Activities = %d, %v, %v, want the two that can be read", len(list), more, err)
	}
}
