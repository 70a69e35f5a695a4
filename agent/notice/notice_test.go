package notice

import (
	"testing"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
)

// TestNext tells stories: each line is something that happens, an hour after the
// one before unless it says otherwise, and what the user is told of it.
func TestNext(t *testing.T) {
	type step struct {
		after time.Duration
		f     Facts
		want  Kind
	}
	const hour, day = time.Hour, 24 * time.Hour
	quota, full, away := errs.Of(errs.QuotaUsedUp), errs.Of(errs.LocalDiskFull), errs.Of(errs.CannotConnect)
	ok := Facts{Run: state.RunDone}
	failed := func(e *errs.Error) Facts { return Facts{Run: state.RunFailed, Failure: e} }
	stopped := Facts{Run: state.RunDone, Stopped: errs.Of(errs.DeviceDeactivated)}
	for name, story := range map[string]struct {
		want  profile.Notifications
		steps []step
	}{
		"a problem is told once, and that it has gone not at all": {profile.NotifyProblems, []step{
			{hour, ok, Nothing}, {hour, failed(quota), NotMade}, {hour, failed(quota), Nothing}, {day, failed(quota), Nothing}, {hour, ok, Nothing}}},
		"everything": {profile.NotifyAll, []step{
			{hour, ok, Complete}, {hour, ok, Nothing}, {hour, failed(quota), NotMade}, {hour, failed(quota), Nothing}, {hour, ok, Solved},
			{hour, ok, Nothing}, {day, ok, Complete}}},
		"nothing": {profile.NotifyOff, []step{{hour, failed(quota), Nothing}, {hour, stopped, Nothing}, {20 * day, failed(away), Nothing}}},
		"one that comes and goes": {profile.NotifyProblems, []step{
			{hour, failed(quota), NotMade}, {hour, ok, Nothing}, {hour, failed(quota), Nothing}, {hour, ok, Nothing}, {hour, failed(quota), Nothing},
			{hour, ok, Nothing}, {day, failed(quota), NotMade}}},
		"another one": {profile.NotifyProblems, []step{
			{hour, failed(quota), NotMade}, {hour, failed(full), NotMade}, {hour, failed(quota), Nothing}, {hour, failed(full), Nothing}}},
		"a train's tunnel": {profile.NotifyProblems, []step{
			{hour, ok, Nothing}, {hour, failed(away), Nothing}, {hour, failed(nil), Nothing}, {hour, ok, Nothing}}},
		"a long journey": {profile.NotifyProblems, []step{
			{hour, ok, Nothing}, {20 * hour, failed(away), Nothing}, {5 * hour, failed(away), Unprotected}, {hour, failed(away), Nothing},
			{hour, Facts{Run: state.RunCancelled}, Nothing}, {hour, ok, Nothing}}},
		"an interrupted backup says nothing, neither good nor bad": {profile.NotifyAll, []step{
			{hour, ok, Complete}, {hour, failed(quota), NotMade}, {hour, Facts{Run: state.RunCancelled}, Nothing}, {hour, failed(quota), Nothing}, {hour, ok, Solved}}},
		"stopped":     {profile.NotifyProblems, []step{{hour, ok, Nothing}, {hour, stopped, Stopped}, {hour, stopped, Nothing}, {3 * day, stopped, Nothing}, {hour, ok, Nothing}}},
		"never any":   {profile.NotifyProblems, []step{{hour, failed(away), Nothing}, {20 * hour, Facts{}, Nothing}, {4 * hour, failed(away), Never}, {hour, failed(away), Nothing}}},
		"nothing yet": {profile.NotifyAll, []step{{time.Minute, Facts{}, Nothing}, {time.Minute, Facts{}, Nothing}}},
	} {
		s := profile.Defaults()
		s.Notifications = story.want
		now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
		began, done := now, time.Time{}
		var told state.Told
		for i, step := range story.steps {
			now = now.Add(step.after)
			f := step.f
			if f.Run == state.RunDone && f.Stopped == nil {
				done = now
			}
			f.Now, f.Settings, f.LastDone, f.Began, f.Told = now, profile.Merge(s, profile.Choices{}), done, began, told
			var got Kind
			if got, told = Next(f); got != step.want {
				t.Errorf("%s: step %d: %q, want %q", name, i+1, got, step.want)
			}
		}
	}
}
