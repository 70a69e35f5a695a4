package portal

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/web"
)

// folderPart is how many entries of a folder a page shows. A folder that fits
// stands with its folders first; a longer one in the catalog's order.
const folderPart = 500

// place is a snapshot that is open, and where in it we are.
type place struct {
	opened  *vault.Opened
	base    string // address of the snapshot
	catalog *catalog.Reader
	path    string // of the folder, "/" for the top
}

func newPlace(o *vault.Opened, base, path string) *place {
	return &place{opened: o, base: base, catalog: catalog.NewReader(o.Root, o.Fetch), path: path}
}

// href is the address of a folder or file of the snapshot. Names are any bytes,
// and an address carries them as they are.
func (p *place) href(what, path string) string {
	return p.base + what + "?path=" + url.QueryEscape(path)
}

// cleanPath is the path that an address asks for, "" when it asks for none.
// Anything but a plain absolute path leads nowhere, which is E1504.
func cleanPath(path string) (string, error) {
	if path == "" || path == "/" {
		return path, nil
	}
	path = strings.TrimSuffix(path, "/")
	for i, part := range strings.Split(path, "/") {
		if (part == "") != (i == 0) || part == "." || part == ".." || strings.ContainsRune(part, 0) {
			return "", errs.Of(errs.NoSuchSnapshot, "what", path)
		}
	}
	return path, nil
}

// descend goes down from the top as long as there is nothing to choose: the
// folders above those that are backed up.
func (p *place) descend(ctx context.Context) error {
	p.path = "/"
	for range 20 {
		entries, _, err := p.catalog.Folder(ctx, p.path, "", 2)
		if err != nil || len(entries) != 1 || entries[0].Type != catalog.Folder {
			return err
		}
		p.path = entries[0].Path()
	}
	return nil
}

// folder lists the folder we are in.
func (p *place) folder(r *http.Request, say *locale.Printer) (folder, error) {
	ctx := r.Context()
	if p.path != "/" {
		e, err := p.catalog.Lookup(ctx, p.path)
		if err != nil {
			return folder{}, err
		}
		if e.Type != catalog.Folder {
			return folder{}, errs.Of(errs.NoSuchSnapshot, "what", p.path)
		}
	}
	entries, more, err := p.catalog.Folder(ctx, p.path, web.After(r), folderPart)
	if err != nil {
		return folder{}, err
	}
	next := ""
	if more {
		next = entries[len(entries)-1].Name
	}
	f := folder{Token: url.QueryEscape(p.path), Crumbs: p.crumbs(say), Pages: web.PagesOf(r, len(entries), 0, next)}
	for _, e := range entries {
		f.Entries = append(f.Entries, p.entry(e, say))
	}
	if !f.Pages.Needed() {
		slices.SortStableFunc(f.Entries, byKindAndName)
	}
	return f, nil
}

func byKindAndName(a, b item) int {
	if a.IsFolder != b.IsFolder {
		if a.IsFolder {
			return -1
		}
		return 1
	}
	return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
}

func (p *place) crumbs(say *locale.Printer) []crumb {
	crumbs := []crumb{{Name: say.T("folder.root"), Href: p.href("", "/"), Here: p.path == "/"}}
	if p.path == "/" {
		return crumbs
	}
	for i := 1; i <= len(p.path); i++ {
		if i == len(p.path) || p.path[i] == '/' {
			_, name := catalog.Split(p.path[:i])
			crumbs = append(crumbs, crumb{Name: name, Href: p.href("", p.path[:i]), Here: i == len(p.path)})
		}
	}
	return crumbs
}

func (p *place) entry(e *catalog.Entry, say *locale.Printer) item {
	x := item{Name: e.Name, Token: url.QueryEscape(e.Name), Modified: e.Mtime.Time(), Icon: "file"}
	switch e.Type {
	case catalog.Folder:
		x.IsFolder, x.Takeable = true, true
		x.Href = p.href("", e.Path())
	case catalog.File:
		x.Size = int64(e.Size)
		if bare(e) {
			x.Icon, x.Note = "file-unknown", say.T("folder.unreadable")
			return x
		}
		x.IsFile, x.Takeable = true, true
		x.Href = p.href("/file", e.Path())
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
