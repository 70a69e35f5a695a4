package catalog

import (
	"errors"
	"math"

	"github.com/backstay/backstay/backup"
)

// The least that items take, so that counts are bounded before memory is taken.
const (
	minEntry  = 5 + 1 + 1 + 4 + 4 + 4 + 4 + 4 + 12 + 12 + 8 + 8 + 4 + 1
	minGroup  = 5 + 4 + minEntry
	minChild  = 6 + backup.RefSize + 8 + 8
	minExtent = 12
	minHole   = 16
	minAttr   = 8
)

// pageVersion is the only version of pages there is.
const pageVersion = 1

// page is one decoded page: a leaf with entries or an inner page with children.
type page struct {
	level    uint8
	refs     []backup.Ref // a leaf's table
	kinds    []backup.Kind
	entries  []Entry
	children []child
	count    uint64 // entries of this page and below
	bytes    uint64 // their sizes
}

// child is what an inner page says of a page below it.
type child struct {
	folder, name string // of the first entry
	ref          backup.Ref
	entries      uint64
	bytes        uint64
}

// decoder reads one page. Strings are parts of one copy of the page's text.
type decoder struct {
	*backup.Decoder
	text    string
	page    *page
	used    int // refs used so far: they must come in the order of their use
	extents []Extent
}

func decode(plain []byte) (*page, error) {
	d := &decoder{Decoder: backup.NewDecoder("catalog page", plain), text: string(plain), page: &page{}}
	if len(plain) > backup.MaxPageRead {
		d.Fail("longer than allowed")
	}
	d.One(pageVersion, pageVersion)
	d.page.level = d.U8()
	if d.page.level == 0 {
		d.leaf()
	} else {
		d.inner()
	}
	if err := d.Finish(); err != nil {
		return nil, err
	}
	return d.page, nil
}

// string reads a length and so many bytes, as a part of the page's text.
func (d *decoder) string() string {
	b := d.Bytes(len(d.text))
	end := len(d.text) - d.Left()
	if d.Failed() {
		return ""
	}
	return d.text[end-len(b) : end]
}

func (d *decoder) fail(err error) {
	if err != nil {
		d.Fail(err.Error())
	}
}

func (d *decoder) inner() {
	n := d.Count(math.MaxInt32, minChild)
	if n == 0 {
		d.Fail("an inner page without children")
		return
	}
	children := make([]child, n)
	for i := range children {
		d.child(&children[i])
		if d.Failed() {
			return
		}
		if i > 0 && compareChildren(&children[i-1], &children[i]) >= 0 {
			d.Fail("children out of order")
			return
		}
	}
	d.page.children = children
}

func (d *decoder) child(c *child) {
	path := d.string()
	c.ref = d.Ref()
	c.entries, c.bytes = d.U64(), d.U64()
	if d.Failed() {
		return
	}
	if path == "" || path[0] != '/' {
		d.Fail("a path that is not absolute")
		return
	}
	c.folder, c.name = Split(path)
	d.fail(checkFolder(c.folder))
	d.fail(checkName(c.name))
	d.total(c.entries, c.bytes)
}

func compareChildren(a, b *child) int { return Compare(a.folder, a.name, b.folder, b.name) }

// total adds to the page's sums, which must not wrap: they are compared with
// what the parent says.
func (d *decoder) total(entries, bytes uint64) {
	p := d.page
	if entries > math.MaxUint64-p.count || bytes > math.MaxUint64-p.bytes {
		d.Fail("sums too large")
		return
	}
	p.count += entries
	p.bytes += bytes
}

func (d *decoder) leaf() {
	d.table()
	groups := d.Count(math.MaxInt32, minGroup)
	d.page.entries = make([]Entry, 0, d.Left()/(2*minEntry))
	folder := ""
	for i := range groups {
		last := folder
		folder = d.string()
		if d.Failed() {
			return
		}
		if i > 0 && compareFolders(last, folder) >= 0 {
			d.Fail("groups out of order")
			return
		}
		d.fail(checkFolder(folder))
		d.group(folder)
		if d.Failed() {
			return
		}
	}
	if d.used != len(d.page.refs) {
		d.Fail("refs that are not used")
	}
}

func (d *decoder) table() {
	n := d.Count(math.MaxInt32, backup.RefSize)
	d.page.refs = make([]backup.Ref, n)
	d.page.kinds = make([]backup.Kind, n)
	seen := make(map[backup.ID]struct{}, n)
	for i := range n {
		ref := d.Ref()
		d.page.refs[i] = ref
		seen[ref.ID] = struct{}{}
	}
	if len(seen) != n {
		d.Fail("the same ref twice")
	}
}

func (d *decoder) group(folder string) {
	n := d.Count(math.MaxInt32, minEntry)
	if n == 0 {
		d.Fail("a group without entries")
		return
	}
	p := d.page
	last := ""
	for range n {
		p.entries = append(p.entries, Entry{Folder: folder})
		e := &p.entries[len(p.entries)-1]
		d.entry(e)
		if d.Failed() {
			return
		}
		if e.Name <= last {
			d.Fail("entries out of order")
			return
		}
		last = e.Name
		d.total(1, e.Size)
	}
}

func (d *decoder) entry(e *Entry) {
	e.Name = d.string()
	e.Type, e.Flags = Type(d.U8()), Flags(d.U8())
	e.Mode, e.UID, e.GID = d.U32(), d.U32(), d.U32()
	e.Owner, e.Group = d.string(), d.string()
	e.Mtime, e.Ctime = d.time(), d.time()
	e.Ino, e.Dev, e.Nlink = d.U64(), d.U64(), d.U32()
	d.attrs(e)
	switch e.Type {
	case File:
		d.file(e)
	case Symlink:
		e.Target = d.string()
	case Char, Block:
		e.Rdev = d.U64()
	}
	if !d.Failed() {
		d.fail(e.check())
	}
}

func (d *decoder) time() Time { return Time{d.I64(), d.U32()} }

func (d *decoder) attrs(e *Entry) {
	switch d.One(0, 2) {
	case 1:
		e.Attrs = d.attrList()
		if len(e.Attrs) == 0 {
			d.Fail("an empty list of attributes")
		}
	case 2:
		ref := d.ref(backup.Attrs)
		e.AttrsRef = &ref
	}
}

func (d *decoder) attrList() []Attr {
	attrs := make([]Attr, d.Count(math.MaxInt32, minAttr))
	for i := range attrs {
		attrs[i] = Attr{d.string(), d.string()}
	}
	return attrs
}

func (d *decoder) file(e *Entry) {
	e.Size = d.U64()
	e.Hash = d.Hash()
	if n := d.Count(backup.MaxHoles, minHole); n > 0 {
		e.Holes = make([]Hole, n)
		for i := range e.Holes {
			e.Holes[i] = Hole{d.U64(), d.U64()}
		}
	}
	if d.One(0, 1) == 0 {
		e.Extents = d.extentList()
		return
	}
	e.Lists = make([]backup.Ref, d.Count(math.MaxInt32, 4))
	for i := range e.Lists {
		e.Lists[i] = d.ref(backup.Extents)
	}
	if len(e.Lists) == 0 {
		d.Fail("an empty list of lists")
	}
}

// extentList takes its memory from one slice for the whole page: nearly every
// file has a single extent.
func (d *decoder) extentList() []Extent {
	n := d.Count(backup.MaxExtents, minExtent)
	if n == 0 {
		return nil
	}
	if cap(d.extents)-len(d.extents) < n {
		d.extents = make([]Extent, 0, max(n, 64))
	}
	start := len(d.extents)
	for range n {
		d.extents = append(d.extents, Extent{d.ref(backup.Data), d.U32(), d.U32()})
	}
	return d.extents[start:len(d.extents):len(d.extents)]
}

// ref reads an index into the table, and holds the table to its order and each
// ref to one kind.
func (d *decoder) ref(kind backup.Kind) backup.Ref {
	i := int(d.U32())
	p := d.page
	if d.Failed() {
		return backup.Ref{}
	}
	if i == d.used && i < len(p.refs) {
		p.kinds[i] = kind
		d.used++
	}
	if i >= d.used || p.kinds[i] != kind {
		d.Fail("a ref that is not in its place")
		return backup.Ref{}
	}
	return p.refs[i]
}

// EncodeExtents is the plaintext of an object of kind Extents.
func EncodeExtents(extents []Extent) []byte {
	e := backup.Encoder{B: make([]byte, 0, 4+len(extents)*(backup.RefSize+8))}
	e.Count(len(extents))
	for i := range extents {
		e.Ref(extents[i].Ref)
		e.U32(extents[i].Offset)
		e.U32(extents[i].Length)
	}
	return e.B
}

// DecodeExtents is the reverse of EncodeExtents.
func DecodeExtents(plain []byte) ([]Extent, error) {
	d := backup.NewDecoder("list of extents", plain)
	extents := make([]Extent, d.Count(backup.MaxExtents, backup.RefSize+8))
	if len(extents) == 0 {
		d.Fail("empty")
	}
	for i := range extents {
		extents[i] = Extent{d.Ref(), d.U32(), d.U32()}
		if d.Failed() {
			break
		}
		if err := extents[i].check(); err != nil {
			d.Fail(err.Error())
		}
	}
	if err := d.Finish(); err != nil {
		return nil, err
	}
	return extents, nil
}

// EncodeAttrs is the plaintext of an object of kind Attrs, for attributes that
// do not fit into their entry.
func EncodeAttrs(attrs []Attr) []byte {
	e := backup.Encoder{B: make([]byte, 0, attrsSize(attrs))}
	encodeAttrs(&e, attrs)
	return e.B
}

// DecodeAttrs is the reverse of EncodeAttrs.
func DecodeAttrs(plain []byte) ([]Attr, error) {
	d := &decoder{Decoder: backup.NewDecoder("attributes", plain), text: string(plain)}
	attrs := d.attrList()
	if !d.Failed() && len(plain) <= backup.MaxAttrs {
		d.Fail("apart from their entry for no need")
	}
	d.fail(checkAttrs(attrs))
	if err := d.Finish(); err != nil {
		return nil, err
	}
	return attrs, nil
}

// AttrsFit reports whether attributes go into their entry.
func AttrsFit(attrs []Attr) bool { return attrsSize(attrs) <= backup.MaxAttrs }

func attrsSize(attrs []Attr) int {
	n := 4
	for i := range attrs {
		n += minAttr + len(attrs[i].Name) + len(attrs[i].Value)
	}
	return n
}

func encodeAttrs(e *backup.Encoder, attrs []Attr) {
	e.Count(len(attrs))
	for i := range attrs {
		e.String(attrs[i].Name)
		e.String(attrs[i].Value)
	}
}

var (
	errSums         = errors.New("a page is not what its parent says")
	errNotDelivered = errors.New("a page was not delivered")
)
