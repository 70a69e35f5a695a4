// Package oracle says whether two trees of files are the same. The tests, and
// quickstart, believe it and not the product: it has code of its own for
// everything, imports no package of ours, and looks at more than a backup
// needs to.
//
// A tree is what Read saw below a root at one time: for every item its name as
// raw bytes, type, size, content, all twelve bits of its mode, owner, time of
// modification in nanoseconds, link target, hard links, extended attributes
// (ACLs are among them), holes and device number. Access and change times,
// inode numbers and the devices that folders lie on are not part of it: no
// restore can or should bring them back.
package oracle

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Type is what an item is.
type Type byte

// The types, with the letters of find -type.
const (
	Folder Type = 'd'
	File   Type = 'f'
	Link   Type = 'l'
	FIFO   Type = 'p'
	Socket Type = 's'
	Char   Type = 'c'
	Block  Type = 'b'
)

func (t Type) String() string {
	switch t {
	case Folder:
		return "folder"
	case File:
		return "file"
	case Link:
		return "symbolic link"
	case FIFO:
		return "FIFO"
	case Socket:
		return "socket"
	case Char:
		return "character device"
	case Block:
		return "block device"
	}
	return "unknown type " + strconv.Itoa(int(t))
}

// Tree is all that was seen below a root.
type Tree struct {
	Root     string
	Entries  []*Entry // by path, compared as bytes; the root itself is "."
	Problems []Problem
}

// Entry is one item.
type Entry struct {
	Path   string // below the root, raw bytes
	Type   Type
	Size   int64    // of files
	Sum    [32]byte // SHA-256 of a file's content
	Mode   uint32   // permissions, setuid, setgid and sticky: 12 bits
	UID    uint32
	GID    uint32
	MTime  time.Time // UTC
	Target string    // of symbolic links, raw bytes
	Xattrs map[string]string
	Device uint64   // of devices
	Data   []Region // a file's content without its holes

	// Twin is the first path, in the tree's order, of the same inode when the
	// tree has more than one; otherwise "". Names of an inode outside the tree
	// do not count.
	Twin string

	// Unread tells that a part could not be read, as a problem of the same
	// path says. What is missing is then not compared.
	Unread bool

	block    int64 // the file system's unit of allocation
	dev, ino uint64
}

// Region is a part of a file from From up to To.
type Region struct{ From, To int64 }

// Problem is something that could not be read.
type Problem struct {
	Path string // below the root, raw bytes
	Err  error
}

func (p Problem) String() string { return name(p.Path) + ": " + p.Err.Error() }

// Count returns the number of files and the sum of their sizes, every name of
// a hard-linked file counted.
func (t *Tree) Count() (files int, size int64) {
	for _, e := range t.Entries {
		if e.Type == File {
			files++
			size += e.Size
		}
	}
	return files, size
}

// Aspect is what a difference is about.
type Aspect string

// The aspects. Missing and Extra items have no other differences, nor have
// items whose Kind differs.
const (
	Missing Aspect = "missing" // only in the first tree
	Extra   Aspect = "extra"   // only in the second tree
	Kind    Aspect = "type"
	Size    Aspect = "size"
	Content Aspect = "content"
	Mode    Aspect = "mode"
	Owner   Aspect = "owner"
	MTime   Aspect = "time"
	Target  Aspect = "target"
	Links   Aspect = "hard links"
	Xattrs  Aspect = "attributes"
	Holes   Aspect = "holes"
	Device  Aspect = "device"
	Unread  Aspect = "unread" // one of the trees could not be read here
)

// Difference is one aspect in which two trees differ.
type Difference struct {
	Path   string
	Aspect Aspect
	Was    string // in the first tree, for people
	Is     string // in the second
}

func (d Difference) String() string {
	s := name(d.Path) + ": " + string(d.Aspect)
	switch {
	case d.Was == "" && d.Is == "":
		return s
	case d.Was == "":
		return s + ": " + d.Is
	case d.Is == "":
		return s + ": " + d.Was
	}
	return s + ": was " + d.Was + ", is " + d.Is
}

// Compare returns how b differs from a, by path. Two trees without differences
// are the same in all that a Tree holds; what could not be read in either is a
// difference, so an empty answer never rests on something unseen. A caller
// that expects differences, such as owners after a restore by a plain user,
// drops them by path and aspect.
//
// Holes are compared as maps of data. File systems allocate in blocks, so each
// map is rounded outward to the larger of the two file systems' block sizes
// and then they must be equal. A hole that came back as data would fill a disk
// that the original fitted on. Zeros that came back as a hole would hide that
// the restore guesses: somebody may have written them to reserve the space, and
// programs that map a file's blocks (swap, databases) fail on a hole. Contents
// are compared with holes read as zeros, so a wrong map never hides wrong bytes.
func Compare(a, b *Tree) []Difference {
	c := comparison{twins: map[string]string{}}
	i, j := 0, 0
	for i < len(a.Entries) || j < len(b.Entries) {
		switch {
		case j == len(b.Entries) || i < len(a.Entries) && a.Entries[i].Path < b.Entries[j].Path:
			c.add(a.Entries[i].Path, Missing, a.Entries[i].Type.String(), "")
			i++
		case i == len(a.Entries) || b.Entries[j].Path < a.Entries[i].Path:
			c.add(b.Entries[j].Path, Extra, "", b.Entries[j].Type.String())
			j++
		default:
			c.entry(a.Entries[i], b.Entries[j])
			i, j = i+1, j+1
		}
	}
	for _, p := range a.Problems {
		c.add(p.Path, Unread, "the first tree's "+p.Err.Error(), "")
	}
	for _, p := range b.Problems {
		c.add(p.Path, Unread, "", "the second tree's "+p.Err.Error())
	}
	return c.diffs
}

type comparison struct {
	diffs []Difference
	twins map[string]string // a's Twin -> b's, as first met
}

func (c *comparison) add(path string, aspect Aspect, was, is string) {
	c.diffs = append(c.diffs, Difference{path, aspect, was, is})
}

// check adds a difference when the two values differ; show turns one into text.
func check[T comparable](c *comparison, path string, aspect Aspect, was, is T, show func(T) string) {
	if was != is {
		c.add(path, aspect, show(was), show(is))
	}
}

func (c *comparison) entry(a, b *Entry) {
	if a.Type != b.Type {
		c.add(a.Path, Kind, a.Type.String(), b.Type.String())
		return
	}
	octal := func(m uint32) string { return fmt.Sprintf("%04o", m) }
	check(c, a.Path, Mode, a.Mode, b.Mode, octal)
	check(c, a.Path, Owner, [2]uint32{a.UID, a.GID}, [2]uint32{b.UID, b.GID}, func(o [2]uint32) string {
		return fmt.Sprintf("%d:%d", o[0], o[1])
	})
	check(c, a.Path, MTime, a.MTime, b.MTime, func(t time.Time) string { return t.Format(time.RFC3339Nano) })
	check(c, a.Path, Target, a.Target, b.Target, name)
	check(c, a.Path, Device, a.Device, b.Device, func(d uint64) string { return fmt.Sprintf("%#x", d) })
	c.links(a, b)
	if a.Unread || b.Unread {
		return
	}
	c.xattrs(a, b)
	if a.Type != File {
		return
	}
	check(c, a.Path, Size, a.Size, b.Size, func(n int64) string { return strconv.FormatInt(n, 10) })
	if a.Size != b.Size {
		return
	}
	check(c, a.Path, Content, a.Sum, b.Sum, func(s [32]byte) string { return fmt.Sprintf("SHA-256 %x", s[:8]) })
	block := max(a.block, b.block)
	check(c, a.Path, Holes, regions(round(a.Data, block, a.Size)), regions(round(b.Data, block, b.Size)), func(s string) string { return s })
}

// links compares hard-link groups. The first name of a group may be missing in
// the other tree, so groups are matched as they are met rather than by name.
func (c *comparison) links(a, b *Entry) {
	if (a.Twin == "") != (b.Twin == "") {
		show := func(twin string) string {
			if twin == "" {
				return "alone"
			}
			return "the same as " + name(twin)
		}
		c.add(a.Path, Links, show(a.Twin), show(b.Twin))
		return
	}
	if a.Twin == "" {
		return
	}
	want, known := c.twins["a"+a.Twin]
	back, backKnown := c.twins["b"+b.Twin]
	if !known && !backKnown {
		c.twins["a"+a.Twin], c.twins["b"+b.Twin] = b.Twin, a.Twin
		return
	}
	if want != b.Twin || back != a.Twin {
		c.add(a.Path, Links, "the same as "+name(a.Twin), "the same as "+name(b.Twin))
	}
}

func (c *comparison) xattrs(a, b *Entry) {
	var was, is []string
	for _, k := range keys(a.Xattrs, b.Xattrs) {
		va, inA := a.Xattrs[k]
		vb, inB := b.Xattrs[k]
		if inA == inB && va == vb {
			continue
		}
		if inA {
			was = append(was, attr(k, va))
		}
		if inB {
			is = append(is, attr(k, vb))
		}
	}
	if len(was)+len(is) > 0 {
		c.add(a.Path, Xattrs, "{"+strings.Join(was, " ")+"}", "{"+strings.Join(is, " ")+"}")
	}
}

func attr(k, v string) string {
	if len(v) > 40 {
		return fmt.Sprintf("%s=%s... (%d bytes)", name(k), strconv.Quote(v[:40]), len(v))
	}
	return name(k) + "=" + strconv.Quote(v)
}

// round widens each region to whole blocks, cut off at size, and joins those
// that then touch.
func round(data []Region, block, size int64) []Region {
	var out []Region
	for _, r := range data {
		r.From -= r.From % block
		r.To = min((r.To+block-1)/block*block, size)
		if n := len(out); n > 0 && r.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, r.To)
			continue
		}
		out = append(out, r)
	}
	return out
}

func regions(data []Region) string {
	if len(data) == 0 {
		return "no data"
	}
	var s strings.Builder
	s.WriteString("data at")
	for _, r := range data {
		fmt.Fprintf(&s, " %d-%d", r.From, r.To)
	}
	return s.String()
}

// name shows a name as it is when that is safe to read, quoted otherwise.
func name(s string) string {
	odd := func(r rune) bool { return r == utf8.RuneError || r == '"' || r == '\\' || !unicode.IsPrint(r) }
	if s == "" || strings.ContainsFunc(s, odd) || strings.TrimSpace(s) != s {
		return strconv.Quote(s)
	}
	return s
}

// Report puts the differences into lines, at most limit of them, and then says
// how many more there are; limit 0 means all.
func Report(diffs []Difference, limit int) string {
	var b bytes.Buffer
	for i, d := range diffs {
		if limit > 0 && i == limit {
			fmt.Fprintf(&b, "... and %d more\n", len(diffs)-limit)
			break
		}
		fmt.Fprintln(&b, d)
	}
	return b.String()
}

func keys(a, b map[string]string) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}
