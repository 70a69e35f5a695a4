package entry

import (
	"net/http/httptest"
	"testing"
	"testing/fstest"
	"time"

	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

// A backup that waits for its turn at a busy server is not said to run: the
// pages say what the client says, docs/decisions/0016-turns.md.
func TestSignOfARunningBackup(t *testing.T) {
	t.Parallel()
	pages, err := Parse(fstest.MapFS{})
	if err != nil {
		t.Fatal(err)
	}
	site, err := web.New(web.Config{Name: "portal", Templates: pages, Now: func() time.Time { return sampleNow }})
	if err != nil {
		t.Fatal(err)
	}
	f := site.Frame(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	for _, c := range []struct {
		name     string
		level    devices.Level
		progress wire.Progress
		want     web.Sign
	}{
		{"at its beginning", devices.Never, wire.Progress{}, web.Sign{Sign: "good", Icon: "refresh", Text: "Backing up now"}},
		{"in the middle", devices.AtRisk, wire.Progress{Files: 3, TotalFiles: 1234}, web.Sign{Sign: "good", Icon: "refresh", Text: "Backing up: 3 of 1,234 files"}},
		{"waits, protected", devices.Protected, wire.Progress{Waits: 1}, web.Sign{Sign: "good", Icon: "clock", Text: "The server is busy, the backup goes on in about a minute."}},
		{"waits, too late", devices.AtRisk, wire.Progress{Files: 3, TotalFiles: 9, Waits: 4}, web.Sign{Sign: "warn", Icon: "clock", Text: "The server is busy, the backup goes on in about 4 minutes."}},
		{"waits with its first", devices.Never, wire.Progress{Waits: 4}, web.Sign{Sign: "warn", Icon: "clock", Text: "The server is busy, the backup goes on in about 4 minutes."}},
	} {
		if got := Sign(f, devices.Protection{Level: c.level, Running: true, Progress: c.progress}); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
