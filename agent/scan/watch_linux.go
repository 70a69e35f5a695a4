package scan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/backup/catalog"
)

const (
	// maxWatches bounds what watching costs: each keeps about a kilobyte of the
	// kernel's memory. Where there are more folders nothing is watched.
	maxWatches = 1 << 16
	// watchShare is the share of the user's watches that we take at most: editors
	// and file managers need theirs.
	watchShare = 2
	// trusted is how long hints are believed. What a program writes to memory that
	// is a file shows when it closes the file, and a database may never do that.
	trusted = 24 * time.Hour

	// fires is all that can change what a folder has.
	fires = unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_CREATE | unix.IN_DELETE |
		unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
)

// local are the file systems of which the kernel sees every change. Over a network
// others make them; in a stack of file systems they may come from below.
var local = map[int64]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.F2FS_SUPER_MAGIC: true,
	unix.TMPFS_MAGIC: true, 0xca451a4e: true /* bcachefs */, 0x2fc12fc1: true, /* ZFS */
}

// Watch remembers between walks which folders have not changed since. It does
// nothing in the meantime: the kernel notes the first change in each folder, by
// inotify, and is asked when the next walk begins.
//
// A folder is clean when it is watched since before it was last listed, nothing
// has fired since, and it is the same folder at the same path. It counts only
// relative to the snapshot that this listing went into. Whatever else there may
// be to doubt, all is walked: after a start, when snapshots went another way, when
// the kernel lost count, when something was mounted, after sleep, once a day.
type Watch struct {
	max int
	now func() time.Time

	mu      sync.Mutex
	fd      int // of inotify, -1 when nothing is watched
	folders map[string]*watched
	of      map[int32]*watched // by the kernel's number
	walk    int                // number of the walk
	full    time.Time          // when all was walked last
	base    string             // the snapshot that the last walk went into
	scope   string             // what was walked
	mounts  string             // what is mounted there
	off     bool               // there is too much to watch
	fs      map[uint64]bool    // by device: whether its file system is one of local
}

// watched is a folder that was walked.
type watched struct {
	path  string
	id    identity
	wd    int32 // -1 when it is not watched
	walk  int   // that listed it last
	clean bool
}

// NewWatch makes a watch; nothing is watched before the first walk with it.
func NewWatch() *Watch {
	most := 8192 // of kernels before 5.11
	if data, err := os.ReadFile("/proc/sys/fs/inotify/max_user_watches"); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
			most = n
		}
	}
	return &Watch{max: min(maxWatches, most/watchShare), now: time.Now, fd: -1}
}

// Forget makes the next walk a whole one.
func (w *Watch) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget()
}

func (w *Watch) forget() {
	if w.fd >= 0 {
		unix.Close(w.fd) // and with it all it watches
	}
	w.fd, w.base, w.folders, w.of = -1, "", map[string]*watched{}, map[int32]*watched{}
}

// Keep says that the last walk went into a snapshot, which the next one builds
// on.
func (w *Watch) Keep(snapshot string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.base = snapshot
	for path, f := range w.folders {
		if !f.clean && f.walk != w.walk {
			w.drop(path, f) // a walk goes to all that are not clean; this one has gone
		}
	}
}

// begin starts a walk of what scope says, which builds on a snapshot. It returns
// the names that lead, from each folder, to those that are not clean, and nil when
// all is to be walked.
func (w *Watch) begin(scope, base string, roots []string) map[string][]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.walk++
	mounts := mountsIn(roots)
	sound := w.fd >= 0 && w.drain()
	if !sound || base == "" || base != w.base || scope != w.scope || mounts != w.mounts || w.now().Sub(w.full).Abs() >= trusted {
		w.forget()
		w.scope, w.mounts, w.full, w.fs = scope, mounts, w.now(), map[uint64]bool{}
		if fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err == nil && !w.off {
			w.fd = fd
		} else if err == nil {
			unix.Close(fd)
		}
		return nil
	}
	w.base = "" // until this walk has gone into a snapshot
	ways := map[string][]string{}
	on := map[string]bool{} // paths whose way is known
	for path, f := range w.folders {
		for !f.clean && path != "/" && !on[path] {
			on[path] = true
			folder, name := catalog.Split(path)
			ways[folder] = append(ways[folder], name)
			path = folder
		}
	}
	return ways
}

// drain takes what the kernel has noted. It returns false when that is not all.
func (w *Watch) drain() bool {
	buf := make([]byte, 64<<10)
	for {
		n, err := ignoringEINTR(func() (int, error) { return unix.Read(w.fd, buf) })
		if errors.Is(err, unix.EAGAIN) {
			return true
		}
		if err != nil || n <= 0 {
			return false
		}
		for events := buf[:n]; len(events) >= unix.SizeofInotifyEvent; {
			wd := int32(binary.NativeEndian.Uint32(events))
			mask := binary.NativeEndian.Uint32(events[4:])
			events = events[unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(events[12:])):]
			if mask&(unix.IN_Q_OVERFLOW|unix.IN_UNMOUNT) != 0 {
				return false
			}
			if f := w.of[wd]; f != nil {
				f.clean, f.wd = false, -1 // it fires once
				delete(w.of, wd)
			}
		}
	}
}

// isClean reports whether nothing has changed in a folder.
func (w *Watch) isClean(path string, id identity) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.folders[path]
	return f != nil && f.clean && f.id == id
}

// arm watches a folder that is about to be listed.
func (w *Watch) arm(path string, d *dir) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fd < 0 {
		return
	}
	if len(w.folders) >= w.max {
		w.off = true
		w.forget()
		return
	}
	old := w.folders[path]
	f := &watched{path: path, id: identity{true, d.dev, d.ino, catalog.Folder}, wd: -1, walk: w.walk}
	w.folders[path] = f
	if w.isLocal(d) {
		// By the open folder, so that it is this one that is watched and no other.
		wd, err := unix.InotifyAddWatch(w.fd, "/proc/self/fd/"+strconv.Itoa(d.fd), fires|unix.IN_ONESHOT)
		if errors.Is(err, unix.ENOSPC) {
			w.off = true // others have taken them
			w.forget()
			return
		}
		if err == nil {
			f.wd, f.clean = int32(wd), true
		}
	}
	if old != nil && old.wd != f.wd && w.of[old.wd] == old {
		delete(w.of, old.wd) // what it has fired came before
	}
	if f.wd < 0 {
		return
	}
	if other := w.of[f.wd]; other != nil && other.path != path && other.walk == w.walk {
		// One folder at two places, by a mount: who of them changed is not told.
		other.clean, f.clean = false, false
	}
	w.of[f.wd] = f
}

func (w *Watch) isLocal(d *dir) bool {
	is, known := w.fs[d.dev]
	if !known {
		var st unix.Statfs_t
		is = unix.Fstatfs(d.fd, &st) == nil && local[int64(st.Type)]
		w.fs[d.dev] = is
	}
	return is
}

// doubt makes a folder one that is listed the next time.
func (w *Watch) doubt(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.folders[path]; f != nil {
		f.clean, f.walk = false, w.walk
	} else if w.fd >= 0 && len(w.folders) < w.max {
		w.folders[path] = &watched{path: path, wd: -1, walk: w.walk}
	}
}

// gone forgets a folder that no snapshot has any more.
func (w *Watch) gone(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.folders[path]; f != nil && f.walk != w.walk {
		w.drop(path, f)
	}
}

func (w *Watch) drop(path string, f *watched) {
	delete(w.folders, path)
	if f.wd >= 0 && w.of[f.wd] == f { // and not that of where it was moved to
		delete(w.of, f.wd)
		unix.InotifyRmWatch(w.fd, uint32(f.wd))
	}
}

// mountsIn is what is mounted inside of folders, as the kernel writes it.
func mountsIn(roots []string) string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "unknown " + time.Now().String() // never the same
	}
	var in strings.Builder
	for line := range bytes.Lines(data) {
		f := strings.Fields(string(line)) // id, parent, device, root of it, mount point
		if len(f) < 5 {
			continue
		}
		point := unescape(f[4])
		for _, root := range roots {
			if catalog.Inside(root, point) {
				in.WriteString(f[0] + " " + f[2] + " " + f[3] + " " + f[4] + "\n")
				break
			}
		}
	}
	return in.String()
}

// unescape reads a path as the kernel writes it, with spaces and the like as
// octal numbers.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
