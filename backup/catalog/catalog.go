// Package catalog is the list of everything in one snapshot: its entries in
// catalog order, written and read as a tree of sealed pages (docs/format.md,
// section 5).
//
// An entry is one file, folder, link or special item with its metadata. In
// catalog order all children of a folder stand together, before the children
// of its sub-folders; so a folder is a range, and a backup is a merge of a walk
// with the previous catalog. A leaf page holds entries, an inner page the first
// path and totals of the pages below it; the one page at the top is the root.
//
// Pages are cut by content: a change in one place changes the pages on the way
// to it and no others. A Writer cuts and seals them, a Reader finds its way
// through them and trusts nothing that it reads: every page is decoded strictly
// and must agree with what its parent says of it.
//
// The package knows neither where objects lie nor how they are sealed: that
// comes in as functions.
package catalog

import (
	"slices"
	"time"

	"github.com/backstay/backstay/backup"
)

// Type says what an entry is.
type Type uint8

// The types of entries.
const (
	File    Type = 1
	Folder  Type = 2
	Symlink Type = 3
	Fifo    Type = 4
	Socket  Type = 5
	Char    Type = 6
	Block   Type = 7
)

// String returns the type's name in lists.
func (t Type) String() string {
	names := [...]string{File: "file", Folder: "folder", Symlink: "symlink", Fifo: "fifo", Socket: "socket", Char: "char", Block: "block"}
	if t < File || t > Block {
		return "unknown"
	}
	return names[t]
}

// Flags say what is special about how an entry was read.
type Flags uint8

// The flags.
const (
	Torn       Flags = 1 // the content changed while it was read
	Unreadable Flags = 2 // not read this time: the last known state, or a new file's bare metadata
	Deferred   Flags = 4 // an earlier version: it has changed since, and was left for a later backup
)

// Time is a file's time. Seconds may be negative: before 1970.
type Time struct {
	Sec  int64
	Nsec uint32 // under 10^9
}

// TimeOf converts from the usual type.
func TimeOf(t time.Time) Time { return Time{t.Unix(), uint32(t.Nanosecond())} }

// Time converts to the usual type.
func (t Time) Time() time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }

// Before reports whether t is earlier than u.
func (t Time) Before(u Time) bool { return t.Sec < u.Sec || t.Sec == u.Sec && t.Nsec < u.Nsec }

// Attr is one extended attribute. Name and Value are raw bytes.
type Attr struct{ Name, Value string }

// Hole is a range of a sparse file that holds no data.
type Hole struct{ Offset, Length uint64 }

// Extent is a piece of a file's content: Length bytes from Offset of a chunk.
type Extent struct {
	Ref            backup.Ref
	Offset, Length uint32
}

// Entry is one item of a snapshot. All strings are raw bytes in no particular
// encoding. An Entry that comes from a Reader is shared and must not be
// changed; copy it first.
type Entry struct {
	Folder string // path of the folder it is in; "/" for the top
	Name   string

	Type         Type
	Flags        Flags
	Mode         uint32 // the lower 12 bits of the Unix mode
	UID, GID     uint32
	Owner, Group string
	Mtime, Ctime Time
	Ino, Dev     uint64
	Nlink        uint32

	Attrs    []Attr      // sorted by name
	AttrsRef *backup.Ref // in place of Attrs when they are too large, of kind Attrs

	// Of files.
	Size    uint64      // of the content, holes included
	Hash    backup.Hash // SHA-256 of the content, holes read as zeros
	Holes   []Hole
	Extents []Extent     // the content without its holes
	Lists   []backup.Ref // in place of Extents when there are too many, of kind Extents

	Target string // of symlinks
	Rdev   uint64 // of devices
}

// Path returns where the entry is.
func (e *Entry) Path() string { return Join(e.Folder, e.Name) }

// Equal reports whether e and o say the same, in every field.
func (e *Entry) Equal(o *Entry) bool {
	return e.Folder == o.Folder && e.Name == o.Name && e.Type == o.Type && e.Flags == o.Flags &&
		e.Mode == o.Mode && e.UID == o.UID && e.GID == o.GID && e.Owner == o.Owner && e.Group == o.Group &&
		e.Mtime == o.Mtime && e.Ctime == o.Ctime && e.Ino == o.Ino && e.Dev == o.Dev && e.Nlink == o.Nlink &&
		equalRef(e.AttrsRef, o.AttrsRef) && slices.Equal(e.Attrs, o.Attrs) &&
		e.Size == o.Size && e.Hash == o.Hash && e.Target == o.Target && e.Rdev == o.Rdev &&
		slices.Equal(e.Holes, o.Holes) && slices.Equal(e.Extents, o.Extents) && slices.Equal(e.Lists, o.Lists)
}

func equalRef(a, b *backup.Ref) bool {
	return a == b || a != nil && b != nil && *a == *b
}
