package portal

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/restore"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/web/listing"
)

// maxArchive is how many entries one archive may have. An archive's directory
// stands at its end and is held until then.
const maxArchive = 250_000

// maxNotes is how many names the list of what is missing holds; the rest is
// counted.
const maxNotes = 1000

// selection is what a download takes of a snapshot: some children of one
// folder, with everything in them.
type selection struct {
	opened  *vault.Opened
	catalog *catalog.Reader
	folder  string // "/" or "/a/b"
	names   []string
}

// walk calls each with every entry of the selection, folders before what is
// in them.
func (s *selection) walk(ctx context.Context, each func(*catalog.Entry) error) error {
	for _, name := range s.names {
		top, err := s.catalog.Lookup(ctx, catalog.Join(s.folder, name))
		if err != nil {
			return err
		}
		if err := each(top); err != nil {
			return err
		}
		if top.Type != catalog.Folder {
			continue
		}
		if err := s.below(ctx, top.Path(), each); err != nil {
			return err
		}
	}
	return nil
}

// below calls each with everything inside a folder. Catalog order keeps it in
// one range, which begins with the folder's own children.
func (s *selection) below(ctx context.Context, folder string, each func(*catalog.Entry) error) error {
	first, _, err := s.catalog.Folder(ctx, folder, "", 1)
	if err != nil || len(first) == 0 {
		return err
	}
	for e, err := range s.catalog.From(ctx, first[0].Path()) {
		if err != nil {
			return err
		}
		if e.Folder != folder && !catalog.Inside(folder, e.Folder) {
			return nil
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

// count makes sure that every name of the selection exists and that it fits
// into an archive, before the answer begins.
func (s *selection) count(ctx context.Context) error {
	n := 0
	return s.walk(ctx, func(*catalog.Entry) error {
		if n++; n > maxArchive {
			return errs.New(errs.TooLarge, "download.entries", "n", maxArchive)
		}
		return nil
	})
}

// archive writes a selection as a zip. What is not in it is named in a text
// file at its end: links, special files, and what could not be read.
type archive struct {
	zip      *zip.Writer
	contents *restore.Contents
	folder   string
	printer  *locale.Printer
	notes    []string
	left     int64 // entries that are not in the archive
}

// writeZip writes the selection to w. An error of the returned kind means that
// w lacks its end, and that nothing more may be written to it.
func writeZip(ctx context.Context, w io.Writer, s *selection, c *restore.Contents, p *locale.Printer) error {
	a := &archive{zip: zip.NewWriter(w), contents: c, folder: s.folder, printer: p}
	err := s.walk(ctx, func(e *catalog.Entry) error { return a.add(ctx, e) })
	if err != nil {
		return err
	}
	if err := a.writeNotes(); err != nil {
		return err
	}
	return a.zip.Close()
}

func (a *archive) add(ctx context.Context, e *catalog.Entry) error {
	name := strings.TrimPrefix(strings.TrimPrefix(e.Path(), a.folder), "/")
	switch {
	case e.Type == catalog.Symlink:
		a.note(name, a.printer.T("download.note.link", "target", web.Visible(e.Target)))
		return nil
	case e.Type != catalog.File && e.Type != catalog.Folder:
		a.note(name, a.printer.T("download.note.special"))
		return nil
	case listing.Bare(e):
		a.note(name, a.printer.T("download.note.unreadable"))
		return nil
	}
	h := &zip.FileHeader{Name: archiveName(name), Modified: e.Mtime.Time()}
	mode := fs.FileMode(e.Mode & 0o777)
	if e.Type == catalog.Folder {
		h.Name += "/"
		h.SetMode(mode | fs.ModeDir)
		_, err := a.zip.CreateHeader(h)
		return err
	}
	h.SetMode(mode)
	w, err := a.zip.CreateHeader(h)
	if err != nil {
		return err
	}
	if e.Flags&(catalog.Unreadable|catalog.Deferred) != 0 {
		a.notes = append(a.notes, a.printer.T("download.note.older", "name", web.Visible(name)))
	}
	return a.contents.Copy(ctx, e, w, 0, int64(e.Size))
}

func (a *archive) note(name, why string) {
	a.left++
	if len(a.notes) < maxNotes {
		a.notes = append(a.notes, web.Visible(name)+": "+why)
	}
}

// writeNotes says in the archive what is not in it.
func (a *archive) writeNotes() error {
	if len(a.notes) == 0 {
		return nil
	}
	w, err := a.zip.Create(a.printer.T("download.note.file"))
	if err != nil {
		return err
	}
	text := a.printer.N("download.note.head", a.left) + "\r\n\r\n" + strings.Join(a.notes, "\r\n") + "\r\n"
	_, err = io.WriteString(w, text)
	return err
}

// archiveName makes a path safe for whoever unpacks the archive: relative,
// UTF-8, without a drive, a step upwards, control characters or marks of
// direction. A name that had to be changed gets a mark made from the original
// one, so that two never become the same.
func archiveName(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if safe := archivePart(part); safe != part {
			sum := sha256.Sum256([]byte(strings.Join(parts[:i], "/") + "/" + part))
			parts[i] = safe + "~" + hex.EncodeToString(sum[:4])
		}
	}
	return strings.Join(parts, "/")
}

func archivePart(part string) string {
	if part == "" || part == "." || part == ".." {
		return "_"
	}
	var b strings.Builder
	for i, r := range part {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(part[i:], "\ufffd"),
			r == '\\', unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == 0x2028, r == 0x2029:
			b.WriteByte('_')
		case r == ':' && i == 1 && isLetter(part[0]):
			b.WriteByte('_') // a drive
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
