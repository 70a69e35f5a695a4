package portal

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/web/listing"
)

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

// top are the tokens of what is at the top of the snapshot: all of it.
func (p *place) top(ctx context.Context) (tokens []string, err error) {
	entries, _, err := p.catalog.Folder(ctx, "/", "", listing.Part)
	for _, e := range entries {
		tokens = append(tokens, url.QueryEscape(e.Name))
	}
	return tokens, err
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
	entries, more, err := p.catalog.Folder(ctx, p.path, web.After(r), listing.Part)
	if err != nil {
		return folder{}, err
	}
	next := ""
	if more {
		next = entries[len(entries)-1].Name
	}
	f := folder{Token: url.QueryEscape(p.path), Crumbs: listing.Crumbs(say, p.path, func(folder string) string { return p.href("", folder) }), Pages: web.PagesOf(r, len(entries), 0, next)}
	for _, e := range entries {
		f.Entries = append(f.Entries, p.entry(e, say))
	}
	if !f.Pages.Needed() {
		listing.Sort(f.Entries)
	}
	return f, nil
}

func (p *place) entry(e *catalog.Entry, say *locale.Printer) listing.Item {
	x := listing.Of(e, say)
	x.Token = url.QueryEscape(e.Name)
	switch {
	case x.IsFolder:
		x.Href = p.href("", e.Path())
	case x.IsFile:
		x.Href = p.href("/file", e.Path())
	}
	return x
}
