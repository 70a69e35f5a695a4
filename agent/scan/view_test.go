package scan

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/backup/catalog"
)

func TestViewPaths(t *testing.T) {
	t.Parallel()
	windows := &View{parts: []part{{from: "/C:", to: `\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy7`}}}
	mac := &View{parts: []part{
		{from: "/Users/ann", to: "/var/lib/backstay/view-1/Users/ann"},
		{from: "/Users/ann/net", to: "/Users/ann/net"},
	}}
	for _, c := range []struct {
		view                  *View
		path, separator, want string // "" when it is read on the disk
	}{
		{windows, "/C:/Users/Ann/a.txt", `\`, `\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy7\Users\Ann\a.txt`},
		{windows, "/C:", `\`, `\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy7\`},
		{windows, "/D:/a.txt", `\`, ""},
		{windows, "/", `\`, ""},
		{mac, "/Users/ann/Documents/x", "/", "/var/lib/backstay/view-1/Users/ann/Documents/x"},
		{mac, "/Users/annabel/x", "/", ""},
		{mac, "/Users/ann/net/x", "/", "/Users/ann/net/x"}, // another volume, which the view does not have
		{nil, "/Users/ann/x", "/", ""},
	} {
		if got, ok := c.view.path(c.path, c.separator); got != c.want || ok != (c.want != "") {
			t.Errorf("%s is read at %q, %v, want %q", c.path, got, ok, c.want)
		}
	}
}

// A catalog tells the disk's devices, whatever the view calls them.
func TestViewDevices(t *testing.T) {
	t.Parallel()
	v := &View{parts: []part{{from: "/Users/ann", to: "/view/Users/ann", device: 99, real: 7}}}
	for _, c := range []struct {
		path      string
		dev, want uint64
	}{{"/Users/ann/x", 99, 7}, {"/Users/ann", 99, 7}, {"/Users/ann/mounted", 50, 50}, {"/Users", 99, 99}} {
		e := catalog.Entry{Dev: c.dev}
		if v.disk(c.path, &e); e.Dev != c.want {
			t.Errorf("%s on device %d is on %d, want %d", c.path, c.dev, e.Dev, c.want)
		}
	}
}

// What a view made is undone the last first; what cannot be undone stays noted.
func TestViewCleanUp(t *testing.T) {
	t.Parallel()
	v := &View{note: filepath.Join(t.TempDir(), "view")}
	for _, made := range []string{"2026-11-22-190000", "/a folder/view-1"} {
		if err := v.noteDown(made); err != nil {
			t.Fatal(err)
		}
	}
	var undone []string
	busy := errors.New("busy")
	err := cleanUp(v.note, v.made, func(made string) error {
		undone = append(undone, made)
		if strings.HasPrefix(made, "/") {
			return busy
		}
		return nil
	})
	if !errors.Is(err, busy) || !slices.Equal(undone, []string{"/a folder/view-1", "2026-11-22-190000"}) {
		t.Errorf("undone %q, %v", undone, err)
	}
	if left, err := os.ReadFile(v.note); err != nil || string(left) != "/a folder/view-1\n" {
		t.Errorf("noted is %q, %v", left, err)
	}
	// The next view begins with it.
	if v, err := Freeze(t.Context(), []string{t.TempDir()}, v.note); err != nil || v.Release() != nil {
		t.Errorf("Freeze = %v, %v", v, err)
	}
	if _, err := os.Stat(v.note); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a note of nothing: %v", err)
	}
}

func TestMadeSnapshot(t *testing.T) {
	t.Parallel()
	for output, want := range map[string]string{
		"NOTE: local snapshots are considered purgeable and may be removed at any time by deleted(8).\nCreated local snapshot with date: 2026-11-22-190507\n": "2026-11-22-190507",
		"Created local snapshot with date: 2026-11-22-190507 \n":      "2026-11-22-190507",
		"Created local snapshot with date: $(reboot)\n":               "",
		"Failed to create local snapshot, error: Operation failed.\n": "",
		"": "",
	} {
		if got, err := madeSnapshot(output); got != want || (err == nil) != (want != "") {
			t.Errorf("madeSnapshot(%q) = %q, %v, want %q", output, got, err, want)
		}
	}
}

func TestInVolume(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"/", "/usr/local", "/usr/local"},
		{"/System/Volumes/Data", "/Users/ann", "/Users/ann"}, // joined by a firmlink
		{"/System/Volumes/Data", "/System/Volumes/Data/Users/ann", "/Users/ann"},
		{"/Volumes/Disk", "/Volumes/Disk/photos", "/photos"},
		{"/Volumes/Disk", "/Volumes/Disk", ""},
		{"/Volumes/Disk", "/Volumes/Disk 2/x", "/Volumes/Disk 2/x"},
	} {
		if got := inVolume(c[0], c[1]); got != c[2] {
			t.Errorf("inVolume(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
	if got := otherMounts("/Users/ann", []string{"/", "/Users/ann", "/Users/ann/net", "/Users/annabel/net"}); !slices.Equal(got, []string{"/Users/ann/net"}) {
		t.Errorf("otherMounts = %q", got)
	}
}
