package restore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/errs"
)

// fileWriter writes one file, in one part or in several. Parts run one after
// another, each on whichever worker is free.
type fileWriter struct {
	r     *restorer
	in    *folder
	e     *catalog.Entry
	attrs []catalog.Attr
	group *linkGroup

	temp   string
	file   *os.File
	sum    hash.Hash
	pos    uint64 // in the content, holes included
	holes  []catalog.Hole
	ended  bool // given up, or finished
	sparse bool
}

// part writes what one window has of the file, and finishes it after the last.
func (f *fileWriter) part(ctx context.Context, win *window, o *op) {
	if f.ended {
		return
	}
	err := o.err
	if err == nil {
		err = f.pieces(ctx, win, o)
	}
	kept := false
	if err == nil && o.last {
		kept, err = f.finish(ctx)
	}
	if err != nil {
		f.abort()
		f.r.failed(f.e.Path(), err)
		return
	}
	if o.last {
		f.end()
		f.r.done(f.e, kept)
	}
}

func (f *fileWriter) pieces(ctx context.Context, win *window, o *op) error {
	for _, p := range o.pieces {
		if err := win.bad[p.chunk]; err != nil {
			return err
		}
	}
	if f.file == nil {
		if err := f.create(); err != nil {
			return err
		}
	}
	for _, p := range o.pieces {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.data(win.chunk(p.chunk)[p.offset:][:p.length]); err != nil {
			return err
		}
	}
	return nil
}

func (f *fileWriter) create() (err error) {
	f.temp = f.r.tempName()
	f.file, err = f.in.root.OpenFile(f.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("creating the file: %w", err)
	}
	f.sum, f.holes, f.sparse = sha256.New(), f.e.Holes, len(f.e.Holes) > 0
	return nil
}

// data writes what comes next, around the holes.
func (f *fileWriter) data(b []byte) error {
	for len(b) > 0 {
		f.hole()
		n := len(b)
		if len(f.holes) > 0 {
			n = int(min(uint64(n), f.holes[0].Offset-f.pos))
		}
		if err := f.writeAt(b[:n]); err != nil {
			return err
		}
		f.sum.Write(b[:n])
		f.pos += uint64(n)
		f.r.wrote(int64(n))
		b = b[n:]
	}
	return nil
}

func (f *fileWriter) writeAt(b []byte) (err error) {
	if f.sparse {
		_, err = f.file.WriteAt(b, int64(f.pos))
	} else {
		_, err = f.file.Write(b)
	}
	if err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	return nil
}

var zeros [64 << 10]byte

// hole passes over the hole that begins here, if one does. It reads as zeros.
func (f *fileWriter) hole() {
	if len(f.holes) == 0 || f.holes[0].Offset != f.pos {
		return
	}
	n := f.holes[0].Length
	f.holes = f.holes[1:]
	f.pos += n
	f.r.wrote(int64(n))
	for n > 0 {
		part := min(n, uint64(len(zeros)))
		f.sum.Write(zeros[:part])
		n -= part
	}
}

// finish checks the content and gives the file its metadata and its name.
func (f *fileWriter) finish(ctx context.Context) (kept bool, err error) {
	f.hole()
	if f.sparse {
		if err := f.file.Truncate(int64(f.e.Size)); err != nil {
			return false, fmt.Errorf("writing the file: %w", err)
		}
	}
	if f.pos != f.e.Size || !bytes.Equal(f.sum.Sum(nil), f.e.Hash[:]) {
		return false, backup.Mismatched("content of a file", errors.New("has another hash"))
	}
	f.r.warn(f.e.Path(), f.in.setFileMeta(f.file, f.r.cfg.Privileged, f.e, f.attrs))
	// A network file system may report a failed write only here.
	if err := f.file.Close(); err != nil {
		return false, fmt.Errorf("writing the file: %w", err)
	}
	f.r.warn(f.e.Path(), f.in.setTimesLater(f.temp, f.e))
	if kept, err = f.r.place(ctx, f.in, f.temp, f.e); err != nil {
		return false, fmt.Errorf("naming the file: %w", err)
	}
	if f.group != nil {
		f.group.restored(f.in, f.e)
	}
	return kept, nil
}

// abort takes the temporary file away.
func (f *fileWriter) abort() {
	if f.ended {
		return
	}
	if f.file != nil {
		f.file.Close()
		f.in.root.Remove(f.temp)
	}
	f.end()
}

func (f *fileWriter) end() {
	f.ended = true
	f.r.release(f.in)
}

// holds reports whether the file is in f with this size, time and content.
func (f *folder) holds(ctx context.Context, e *catalog.Entry) bool {
	info, err := f.root.Lstat(e.Name)
	if err != nil || !info.Mode().IsRegular() || uint64(info.Size()) != e.Size || catalog.TimeOf(info.ModTime()) != e.Mtime {
		return false
	}
	file, err := f.root.OpenFile(e.Name, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	if now, err := file.Stat(); err != nil || !os.SameFile(info, now) {
		return false
	}
	sum := sha256.New()
	buf := make([]byte, 1<<20)
	for ctx.Err() == nil {
		n, err := file.Read(buf)
		sum.Write(buf[:n])
		if err == io.EOF {
			return bytes.Equal(sum.Sum(nil), e.Hash[:])
		}
		if err != nil {
			return false
		}
	}
	return false
}

// link gives a file that was restored another of its names. In the meantime
// the first name may have come to mean something else: then the link is taken
// away again.
func (w *writer) link(f *folder, o *op) {
	err := w.tryLink(f, o)
	switch {
	case err == errKept:
		w.r.done(o.e, true)
	case err != nil:
		w.r.failed(o.e.Path(), err)
	default:
		w.r.done(o.e, false)
	}
}

var errKept = errors.New("it is there already")

func (w *writer) tryLink(f *folder, o *op) error {
	g := o.group
	if g.info == nil {
		return errs.New(errs.Local, "restore.link.first")
	}
	folderPath, name := catalog.Split(g.path)
	from := f
	if folderPath != f.path {
		var err error
		if from, err = w.r.walk(folderPath); err != nil {
			return fmt.Errorf("linking to %q: %w", g.path, err)
		}
		if from != w.r.top {
			defer from.close()
		}
	}
	for range 3 {
		err := w.r.hardLink(from, name, f, o.e.Name)
		now, statErr := f.root.Lstat(o.e.Name)
		same := statErr == nil && unchanged(g.info, now)
		switch {
		case err == nil && same:
			return nil
		case err == nil:
			return errors.Join(errs.New(errs.Local, "restore.busy"), f.root.Remove(o.e.Name))
		case !errors.Is(err, os.ErrExist):
			return fmt.Errorf("linking to %q: %w", g.path, err)
		case same:
			return errKept
		}
		if err := w.r.moveAside(f, o.e.Name, o.e.Path()); err != nil {
			return err
		}
	}
	return errs.New(errs.Local, "restore.busy")
}

// restored notes the name that the others are linked to.
func (g *linkGroup) restored(f *folder, e *catalog.Entry) {
	g.path = e.Path()
	g.info, _ = f.root.Lstat(e.Name) // without it the others fail, and say so
}

// unchanged reports whether now is the file that was. Its number alone does not
// tell: a new file often gets the one of a file just removed.
func unchanged(was, now os.FileInfo) bool {
	return os.SameFile(was, now) && was.Mode() == now.Mode() && was.Size() == now.Size() && was.ModTime().Equal(now.ModTime())
}

// symlink makes a link. It is never followed, so it may point anywhere.
func (r *restorer) symlink(f *folder, o *op) (kept bool, err error) {
	e := o.e
	for range 3 {
		err = f.root.Symlink(e.Target, e.Name)
		if err == nil {
			r.warn(e.Path(), f.setOtherMeta(r.cfg.Privileged, e, o.attrs))
			return false, nil
		}
		if !errors.Is(err, os.ErrExist) {
			return false, fmt.Errorf("making a link: %w", err)
		}
		if target, err := f.root.Readlink(e.Name); err == nil && target == e.Target {
			return true, nil
		}
		if err := r.moveAside(f, e.Name, e.Path()); err != nil {
			return false, err
		}
	}
	return false, errs.New(errs.Local, "restore.busy")
}

// special makes a FIFO, a socket or, for an administrator, a device.
func (r *restorer) special(f *folder, o *op) (kept bool, err error) {
	e := o.e
	if (e.Type == catalog.Char || e.Type == catalog.Block) && !r.cfg.Privileged {
		return false, errs.New(errs.Local, "restore.device.refused")
	}
	for range 3 {
		err = f.mknod(e)
		if err == nil {
			r.warn(e.Path(), f.setOtherMeta(r.cfg.Privileged, e, o.attrs))
			return false, nil
		}
		if !errors.Is(err, os.ErrExist) {
			return false, fmt.Errorf("making a special file: %w", err)
		}
		if info, err := f.root.Lstat(e.Name); err == nil && sameSpecial(info, e) {
			return true, nil
		}
		if err := r.moveAside(f, e.Name, e.Path()); err != nil {
			return false, err
		}
	}
	return false, errs.New(errs.Local, "restore.busy")
}
