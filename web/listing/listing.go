// Package listing is how pages show the folders of a snapshot: where one is, and
// what is in it. Links and the tokens of forms are the pages' own.
package listing

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/locale"
)

// Part is how many entries of a folder a page shows. A folder that fits stands
// with its folders first, see Sort; a longer one in the catalog's order.
const Part = 500

// Crumb is a folder above the one that is shown, or that one.
type Crumb struct {
	Name, Href string
	Here       bool
}

// Crumbs lead from the top of a snapshot to a folder.
func Crumbs(say *locale.Printer, folder string, href func(folder string) string) []Crumb {
	crumbs := []Crumb{{Name: say.T("folder.root"), Href: href("/"), Here: folder == "/"}}
	if folder == "/" {
		return crumbs
	}
	for i := 1; i <= len(folder); i++ {
		if i == len(folder) || folder[i] == '/' {
			_, name := catalog.Split(folder[:i])
			crumbs = append(crumbs, Crumb{Name: name, Href: href(folder[:i]), Here: i == len(folder)})
		}
	}
	return crumbs
}

// Descend goes down from the top as long as there is nothing to choose: the
// folders above those that are backed up.
func Descend(ctx context.Context, c *catalog.Reader) (string, error) {
	path := "/"
	for range 20 {
		entries, _, err := c.Folder(ctx, path, "", 2)
		if err != nil || len(entries) != 1 || entries[0].Type != catalog.Folder {
			return path, err
		}
		path = entries[0].Path()
	}
	return path, nil
}

// Item is an entry of a folder.
type Item struct {
	Name     string // any bytes
	Token    string // for a form
	Href     string
	In       string // the folder it is in, where the page is of several
	Icon     string
	Size     int64
	Modified time.Time
	Target   string // of a link
	Note     string
	IsFolder bool
	IsFile   bool // with content that was backed up
	Takeable bool // somebody may choose it
}

// Of is an entry as an item, without a token and a link.
func Of(e *catalog.Entry, say *locale.Printer) Item {
	x := Item{Name: e.Name, Modified: e.Mtime.Time(), Icon: "file"}
	switch e.Type {
	case catalog.Folder:
		x.IsFolder, x.Takeable = true, true
	case catalog.File:
		x.Size = int64(e.Size)
		if Bare(e) {
			x.Icon, x.Note = "file-unknown", say.T("folder.unreadable")
			return x
		}
		x.IsFile, x.Takeable = true, true
	case catalog.Symlink:
		x.Icon, x.Target = "file-symlink", e.Target
	default:
		x.Icon, x.Note = "file-unknown", say.T("folder.special")
	}
	switch {
	case e.Flags&catalog.Unreadable != 0:
		x.Note = say.T("folder.unreadable")
	case e.Flags&catalog.Deferred != 0:
		x.Note = say.T("folder.deferred")
	}
	return x
}

// Bare reports whether of a file nothing but its name was backed up.
func Bare(e *catalog.Entry) bool {
	return e.Type == catalog.File && e.Flags&catalog.Unreadable != 0 && e.Size == 0
}

// Sort puts folders first.
func Sort(items []Item) {
	slices.SortStableFunc(items, func(a, b Item) int {
		if a.IsFolder != b.IsFolder {
			if a.IsFolder {
				return -1
			}
			return 1
		}
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
}
