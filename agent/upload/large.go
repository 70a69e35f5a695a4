package upload

import (
	"maps"
	"time"

	"github.com/backstay/backstay/backup/catalog"
)

// Large are files of Bytes and more, which are read at most once in Every,
// however often backups are made. Meanwhile the version that the last snapshot
// has stands for them, marked deferred. A file that no snapshot has yet is read
// at once. When Every is 0 all files are alike.
type Large struct {
	Bytes int64
	Every time.Duration
	All   bool // somebody waits for this backup: all are read
}

// large decides which files wait.
type large struct {
	Large
	now  func() time.Time
	read map[string]time.Time // when those were read that may have to wait
}

func newLarge(l Large, read map[string]time.Time, now func() time.Time) *large {
	// What lies in the future was noted before the clock was put back.
	maps.DeleteFunc(read, func(_ string, at time.Time) bool { return at.After(now()) || now().Sub(at) >= l.Every })
	return &large{l, now, read}
}

// wait reports whether a file of which there is a version is left for a later
// backup, and notes that it is read now when it is not.
func (l *large) wait(e *catalog.Entry, had bool) bool {
	if l.Every <= 0 || e.Size < uint64(l.Bytes) {
		return false
	}
	now := l.now()
	if at, ok := l.read[e.Path()]; had && ok && now.Sub(at) < l.Every && !l.All {
		return true
	}
	l.read[e.Path()] = now
	return false
}
