package state

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/durable"
)

// The catalog file:
//
//	"BSCATLG1" ‖ sealed objects ‖ index ‖ refs ‖ tail
//	index = entries × (raw[32] id ‖ u64 offset ‖ u32 length)
//	refs  = count × raw[32] id, ascending
//	tail  = u64 offset of index ‖ u64 entries ‖ u64 count ‖ raw[32] SHA-256 of all before
//
// It follows from the root alone, so its name does too, and a run that changed
// nothing leaves it as it is.
const (
	catalogMagic = "BSCATLG1"
	indexEntry   = 32 + 8 + 4
	tailSize     = 8 + 8 + 8 + 32
)

type place struct {
	offset int64
	size   int
}

// Previous is what is remembered of a set's newest snapshot.
type Previous struct {
	Head Head // Seq is 0 when nothing is remembered
	// Root and Refs, the sorted ids that the snapshot needs, are there when the
	// catalog is.
	Root backup.Ref
	Refs []backup.ID
	// Damaged says why there is no catalog although there should be one.
	Damaged error

	f     *os.File
	index map[backup.ID]place
	user  backup.UUID
}

// Known reports whether the catalog is there.
func (p *Previous) Known() bool { return p.f != nil }

// Has reports whether the catalog holds the metadata object id.
func (p *Previous) Has(id backup.ID) bool { _, ok := p.index[id]; return ok }

// Close ends the use of the catalog.
func (p *Previous) Close() error {
	if p.f == nil {
		return nil
	}
	return p.f.Close()
}

// Previous opens what is remembered of the set. user is the scope of metadata.
// The whole catalog is hashed first: one that was cut short or altered is not
// used, as if it were lost, and the next run reads every file again.
func (s *State) Previous(set, user backup.UUID) (*Previous, error) {
	head, root, err := s.readHead(set)
	if errors.Is(err, ErrDamaged) {
		return &Previous{Damaged: err, user: user}, nil
	}
	if err != nil || head.Seq == 0 {
		return &Previous{user: user}, err
	}
	p := &Previous{Head: head, Root: root, user: user}
	f, err := os.Open(filepath.Join(s.setDir(set), catalogName(root.ID)))
	if err == nil {
		if err = p.load(f); err == nil {
			p.f = f
			return p, nil
		}
		f.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrDamaged) {
		return nil, fmt.Errorf("opening the remembered catalog: %w", foreign(s.dir, err))
	}
	return &Previous{Head: head, Damaged: err, user: user}, nil
}

func (p *Previous) load(f *os.File) error {
	damaged := func(why string) error { return fmt.Errorf("%w: %s: %s", ErrDamaged, f.Name(), why) }
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if size < int64(len(catalogMagic)+tailSize) {
		return damaged("too short")
	}
	var tail [tailSize]byte
	if _, err := f.ReadAt(tail[:], size-tailSize); err != nil {
		return err
	}
	body := size - 32
	at := int64(binary.BigEndian.Uint64(tail[0:]))
	entries, count := binary.BigEndian.Uint64(tail[8:]), binary.BigEndian.Uint64(tail[16:])
	h := sha256.New()
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{io.NewSectionReader(f, 0, body)}, make([]byte, 256<<10)); err != nil {
		return err
	}
	if [32]byte(h.Sum(nil)) != [32]byte(tail[24:]) {
		return damaged("its hash is not its content's")
	}
	// From here on the file is what some version of us wrote.
	if at < int64(len(catalogMagic)) || entries > uint64(size) || count > uint64(size) ||
		at+int64(entries)*indexEntry+int64(count)*32 != size-tailSize {
		return damaged("its parts do not fit")
	}
	in := bufio.NewReaderSize(io.NewSectionReader(f, at, size-tailSize-at), 256<<10)
	p.index = make(map[backup.ID]place, entries)
	var entry [indexEntry]byte
	for range entries {
		if _, err := io.ReadFull(in, entry[:]); err != nil {
			return err
		}
		p.index[backup.ID(entry[:32])] = place{
			offset: int64(binary.BigEndian.Uint64(entry[32:])),
			size:   int(binary.BigEndian.Uint32(entry[40:])),
		}
	}
	p.Refs = make([]backup.ID, count)
	for i := range p.Refs {
		if _, err := io.ReadFull(in, p.Refs[i][:]); err != nil {
			return err
		}
	}
	return nil
}

// Fetch reads the catalog's objects: a backup.FetchFunc without a network.
func (p *Previous) Fetch(ctx context.Context, kind backup.Kind, refs []backup.Ref, each func(i int, plain []byte) error) error {
	var sealed, plain []byte
	for i, ref := range refs {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		var err error
		if sealed, err = p.sealed(ref.ID, sealed); err != nil {
			return err
		}
		if plain, err = crypt.Open(plain[:0], p.user, kind, ref, sealed); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err := each(i, plain); err != nil {
			return err
		}
	}
	return nil
}

func (p *Previous) sealed(id backup.ID, buf []byte) ([]byte, error) {
	at, ok := p.index[id]
	if !ok {
		return buf, fmt.Errorf("%w: object %s is not in it", ErrDamaged, id)
	}
	buf = slices.Grow(buf[:0], at.size)[:at.size]
	if _, err := p.f.ReadAt(buf, at.offset); err != nil {
		return buf, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return buf, nil
}

// Catalog gathers the next snapshot's pages. New ones wait in a file of their
// own, so that a run can commit several times: partial snapshots, then the
// whole. It is for one goroutine at a time.
type Catalog struct {
	s      *State
	set    backup.UUID
	prev   *Previous
	stage  *os.File
	staged int64
	index  map[backup.ID]place // size 0: to be carried over
	order  []backup.ID
}

// NewCatalog begins the set's next catalog. prev is what Previous gave, and
// must stay open until Close.
func (s *State) NewCatalog(set backup.UUID, prev *Previous) (*Catalog, error) {
	dir := s.setDir(set)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the set's folder: %w", local(err))
	}
	return &Catalog{s: s, set: set, prev: prev, index: map[backup.ID]place{}}, nil
}

// Add puts a sealed metadata object into the catalog; one that is there
// already is no matter.
func (c *Catalog) Add(o backup.Object) error {
	if _, ok := c.index[o.Ref.ID]; ok {
		return nil
	}
	if c.stage == nil {
		f, err := os.OpenFile(filepath.Join(c.s.setDir(c.set), "catalog-stage"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("keeping a catalog page: %w", local(err))
		}
		c.stage = f
	}
	if _, err := c.stage.WriteAt(o.Sealed, c.staged); err != nil {
		return fmt.Errorf("keeping a catalog page: %w", local(err))
	}
	c.index[o.Ref.ID] = place{offset: c.staged, size: len(o.Sealed)}
	c.order = append(c.order, o.Ref.ID)
	c.staged += int64(len(o.Sealed))
	return nil
}

// Carry takes an object over from the previous catalog. It costs nothing until
// Commit, and nothing then when the whole catalog is the previous one.
func (c *Catalog) Carry(id backup.ID) error {
	if _, ok := c.index[id]; ok {
		return nil
	}
	if !c.prev.Has(id) {
		return fmt.Errorf("%w: object %s is not in it", ErrDamaged, id)
	}
	c.index[id] = place{}
	c.order = append(c.order, id)
	return nil
}

// Fetch reads objects that were added or that the previous catalog has: a
// backup.FetchFunc by which a catalog can be looked at before it is committed.
// No object may be added meanwhile.
func (c *Catalog) Fetch(ctx context.Context, kind backup.Kind, refs []backup.Ref, each func(i int, plain []byte) error) error {
	var sealed, plain []byte
	for i, ref := range refs {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		var err error
		if sealed, err = c.sealed(ref.ID, sealed); err != nil {
			return err
		}
		if plain, err = crypt.Open(plain[:0], c.prev.user, kind, ref, sealed); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err := each(i, plain); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the gathering, committed or not.
func (c *Catalog) Close() {
	if c.stage != nil {
		c.stage.Close()
		os.Remove(c.stage.Name())
		c.stage = nil
	}
}

// Commit makes the snapshot's catalog the set's newest: call it when the server
// has acknowledged the snapshot. refs are the ids that it needs, sorted; objects
// that were added and are not among them are left out. The catalog is on the
// disk before the head that names it, and the old one goes last. More objects
// may be added and committed afterwards.
func (c *Catalog) Commit(root backup.Ref, head Head, refs []backup.ID) error {
	name := catalogName(root.ID)
	// A partial committed meanwhile has removed the previous catalog's file.
	if !c.prev.Known() || c.prev.Root.ID != root.ID || !slices.Contains(c.s.catalogs(c.set), name) {
		if _, ok := c.index[root.ID]; !ok {
			return fmt.Errorf("writing the catalog: its root %s is not in it", root.ID)
		}
		if err := c.writeFile(filepath.Join(c.s.setDir(c.set), name), refs); err != nil {
			return fmt.Errorf("writing the catalog: %w", local(err))
		}
	}
	if err := c.s.writeHead(c.set, head, root); err != nil {
		return err
	}
	for _, old := range c.s.catalogs(c.set) {
		if old != name && old != "catalog-stage" {
			os.Remove(filepath.Join(c.s.setDir(c.set), old))
		}
	}
	return nil
}

func (c *Catalog) writeFile(path string, refs []backup.ID) error {
	f, err := durable.Create(path, 0o600)
	if err != nil {
		return err
	}
	defer f.Abort()
	sum := sha256.New()
	// bufio keeps the first error for Flush.
	out := bufio.NewWriterSize(io.MultiWriter(f, sum), 256<<10)
	out.WriteString(catalogMagic)
	at := int64(len(catalogMagic))
	var index, sealed []byte
	entries := 0
	for _, id := range c.order {
		if _, needed := slices.BinarySearchFunc(refs, id, compareIDs); !needed {
			continue
		}
		if sealed, err = c.sealed(id, sealed); err != nil {
			return err
		}
		out.Write(sealed)
		index = append(index, id[:]...)
		index = binary.BigEndian.AppendUint64(index, uint64(at))
		index = binary.BigEndian.AppendUint32(index, uint32(len(sealed)))
		at += int64(len(sealed))
		entries++
	}
	out.Write(index)
	for i := range refs {
		out.Write(refs[i][:])
	}
	for _, n := range []uint64{uint64(at), uint64(entries), uint64(len(refs))} {
		out.Write(binary.BigEndian.AppendUint64(nil, n))
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if _, err := f.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return f.Commit()
}

func (c *Catalog) sealed(id backup.ID, buf []byte) ([]byte, error) {
	at := c.index[id]
	if at.size == 0 {
		return c.prev.sealed(id, buf)
	}
	buf = slices.Grow(buf[:0], at.size)[:at.size]
	_, err := c.stage.ReadAt(buf, at.offset)
	return buf, err
}

func compareIDs(a, b backup.ID) int { return bytes.Compare(a[:], b[:]) }
