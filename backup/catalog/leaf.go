package catalog

import (
	"github.com/backstay/backstay/backup"
)

// leaf is a leaf page being filled.
type leaf struct {
	body    backup.Encoder // the groups
	refs    []backup.Ref
	index   map[backup.ID]uint32
	folder  string
	groups  int
	countAt int // where the last group's count stands in the body
	inGroup int
	entries uint64
	bytes   uint64
	first   string // path of the first entry
}

// leafMark is a state to go back to.
type leafMark struct {
	body, refs, groups, countAt, inGroup int
	folder                               string
	entries, bytes                       uint64
}

func (l *leaf) size() int { return 2 + 4 + len(l.refs)*backup.RefSize + 4 + len(l.body.B) }

func (l *leaf) mark() leafMark {
	return leafMark{len(l.body.B), len(l.refs), l.groups, l.countAt, l.inGroup, l.folder, l.entries, l.bytes}
}

// back takes the last entry away again. The index keeps its refs: the page is
// to be ended next.
func (l *leaf) back(m leafMark) {
	l.body.B, l.refs = l.body.B[:m.body], l.refs[:m.refs]
	l.groups, l.countAt, l.inGroup, l.folder = m.groups, m.countAt, m.inGroup, m.folder
	l.entries, l.bytes = m.entries, m.bytes
	if m.groups > 0 {
		l.patch()
	}
}

func (l *leaf) reset() {
	clear(l.index)
	*l = leaf{body: backup.Encoder{B: l.body.B[:0]}, refs: l.refs[:0], index: l.index}
}

func (l *leaf) clone() leaf {
	c := *l
	c.body.B = append([]byte(nil), l.body.B...)
	c.refs = append([]backup.Ref(nil), l.refs...)
	c.index = make(map[backup.ID]uint32, len(l.index))
	for id, i := range l.index {
		c.index[id] = i
	}
	return c
}

func (l *leaf) add(e *Entry) {
	if l.entries == 0 {
		l.first = e.Path()
	}
	if l.groups == 0 || e.Folder != l.folder {
		l.body.String(e.Folder)
		l.countAt = len(l.body.B)
		l.body.U32(0)
		l.folder = e.Folder
		l.groups++
		l.inGroup = 0
	}
	l.inGroup++
	l.patch()
	l.entry(e)
	l.entries++
	if e.Type == File {
		l.bytes += e.Size
	}
}

func (l *leaf) patch() {
	count := backup.Encoder{B: l.body.B[l.countAt:l.countAt]}
	count.Count(l.inGroup)
}

func (l *leaf) entry(e *Entry) {
	b := &l.body
	b.String(e.Name)
	b.U8(uint8(e.Type))
	b.U8(uint8(e.Flags))
	b.U32(e.Mode)
	b.U32(e.UID)
	b.U32(e.GID)
	b.String(e.Owner)
	b.String(e.Group)
	l.time(e.Mtime)
	l.time(e.Ctime)
	b.U64(e.Ino)
	b.U64(e.Dev)
	b.U32(e.Nlink)
	l.attrs(e)
	switch e.Type {
	case File:
		l.file(e)
	case Symlink:
		b.String(e.Target)
	case Char, Block:
		b.U64(e.Rdev)
	}
}

func (l *leaf) time(t Time) {
	l.body.I64(t.Sec)
	l.body.U32(t.Nsec)
}

func (l *leaf) attrs(e *Entry) {
	switch {
	case e.AttrsRef != nil:
		l.body.U8(2)
		l.ref(e.AttrsRef)
	case len(e.Attrs) > 0:
		l.body.U8(1)
		encodeAttrs(&l.body, e.Attrs)
	default:
		l.body.U8(0)
	}
}

func (l *leaf) file(e *Entry) {
	b := &l.body
	b.U64(e.Size)
	b.Raw(e.Hash[:])
	b.Count(len(e.Holes))
	for _, h := range e.Holes {
		b.U64(h.Offset)
		b.U64(h.Length)
	}
	if len(e.Lists) > 0 {
		b.U8(1)
		b.Count(len(e.Lists))
		for i := range e.Lists {
			l.ref(&e.Lists[i])
		}
		return
	}
	b.U8(0)
	b.Count(len(e.Extents))
	for i := range e.Extents {
		x := &e.Extents[i]
		l.ref(&x.Ref)
		b.U32(x.Offset)
		b.U32(x.Length)
	}
}

// ref writes the ref's index in the table. Neighbours mostly lie in one
// bundle, so the last ref is tried before the map.
func (l *leaf) ref(r *backup.Ref) {
	if n := len(l.refs); n > 0 && l.refs[n-1].ID == r.ID {
		l.body.U32(uint32(n - 1))
		return
	}
	i, ok := l.index[r.ID]
	if !ok {
		i = uint32(len(l.refs))
		l.refs = append(l.refs, *r)
		l.index[r.ID] = i
	}
	l.body.U32(i)
}

// encode appends the page to dst.
func (l *leaf) encode(dst []byte) []byte {
	e := backup.Encoder{B: dst}
	e.U8(pageVersion)
	e.U8(0)
	e.Count(len(l.refs))
	for i := range l.refs {
		e.Ref(l.refs[i])
	}
	e.Count(l.groups)
	e.Raw(l.body.B)
	return e.B
}
