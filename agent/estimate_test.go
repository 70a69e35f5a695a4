package agent

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay/wire"
)

func TestEstimate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, size := range map[string]int{"a": 10, "b/c": 20, "left-out/d": 40, "e.tmp": 80} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var e estimate
	if got := e.add(wire.Progress{Files: 1}); got.TotalFiles != 0 {
		t.Errorf("an estimate that has not begun says %+v", got)
	}
	e.begin(t.Context(), []string{dir, "/nowhere/at/all"}, func(path string) bool {
		return filepath.Base(path) == "left-out" || filepath.Ext(path) == ".tmp"
	})
	eventually(t, "it was counted", func() bool { return e.files.Load() > 0 })
	if got := e.add(wire.Progress{Files: 1, Bytes: 10}); got.TotalFiles != 2 || got.TotalBytes != 30 {
		t.Errorf("the estimate is %+v, want 2 files and 30 bytes", got)
	}
	// More than was thought: nobody knows the end.
	if got := e.add(wire.Progress{Files: 3}); got.TotalFiles != 0 {
		t.Errorf("an estimate that was passed says %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var ended estimate
	ended.begin(ctx, []string{dir}, func(string) bool { return false })
}
