package catalog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/backstay/backstay/backup"
)

// The rules for entries. The decoder refuses what breaks them, and the writer
// does not write it.

func checkFolder(folder string) error {
	if folder == "/" {
		return nil
	}
	if folder == "" || folder[0] != '/' {
		return errors.New("a folder's path is not absolute")
	}
	for name := range strings.SplitSeq(folder[1:], "/") {
		if err := checkName(name); err != nil {
			return err
		}
	}
	return nil
}

func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%q is no name", name)
	case len(name) > backup.MaxName:
		return errors.New("a name is too long")
	case strings.IndexByte(name, '/') >= 0 || strings.IndexByte(name, 0) >= 0:
		return errors.New("a name holds a slash or a zero byte")
	}
	return nil
}

// check looks at everything but the folder, which a page holds once for many
// entries.
func (e *Entry) check() error {
	if err := checkName(e.Name); err != nil {
		return err
	}
	switch {
	case e.Type < File || e.Type > Block:
		return fmt.Errorf("unknown type %d", e.Type)
	case e.Flags&^(Torn|Unreadable|Deferred) != 0:
		return fmt.Errorf("unknown flags %#x", e.Flags)
	case e.Mode > 0o7777:
		return fmt.Errorf("mode %#o", e.Mode)
	case e.Mtime.Nsec >= 1e9 || e.Ctime.Nsec >= 1e9:
		return errors.New("a time has too many nanoseconds")
	}
	if err := e.checkAttrs(); err != nil {
		return err
	}
	if e.Type == File {
		return e.checkContent()
	}
	return nil
}

func (e *Entry) checkAttrs() error {
	if len(e.Attrs) == 0 {
		return nil
	}
	if e.AttrsRef != nil {
		return errors.New("attributes both here and elsewhere")
	}
	if attrsSize(e.Attrs) > backup.MaxAttrs {
		return errors.New("attributes too large for their entry")
	}
	return checkAttrs(e.Attrs)
}

func checkAttrs(attrs []Attr) error {
	for i := 1; i < len(attrs); i++ {
		if attrs[i-1].Name >= attrs[i].Name {
			return errors.New("attributes out of order")
		}
	}
	return nil
}

func (e *Entry) checkContent() error {
	data, err := e.dataSize()
	if err != nil {
		return err
	}
	if len(e.Lists) > 0 {
		if len(e.Lists) < 2 || len(e.Extents) > 0 {
			return errors.New("extents in lists for no need")
		}
		return nil
	}
	if len(e.Extents) > backup.MaxExtents {
		return errors.New("too many extents for an entry")
	}
	var sum uint64
	for i := range e.Extents {
		if err := e.Extents[i].check(); err != nil {
			return err
		}
		sum += uint64(e.Extents[i].Length)
	}
	if sum != data {
		return errors.New("extents and size disagree")
	}
	return nil
}

func (x *Extent) check() error {
	if x.Length == 0 || uint64(x.Offset)+uint64(x.Length) > uint64(x.Ref.Len) {
		return errors.New("an extent is not inside its chunk")
	}
	return nil
}

// dataSize returns the size of the content without its holes.
func (e *Entry) dataSize() (uint64, error) {
	if len(e.Holes) > backup.MaxHoles {
		return 0, errors.New("too many holes")
	}
	data, end := e.Size, uint64(0)
	for i, h := range e.Holes {
		if h.Length == 0 || i > 0 && h.Offset <= end || h.Offset > e.Size || h.Length > e.Size-h.Offset {
			return 0, errors.New("holes overlap or lie outside")
		}
		end = h.Offset + h.Length
		data -= h.Length
	}
	return data, nil
}
