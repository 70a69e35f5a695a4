package localui

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/web/listing"
	"github.com/backstay/backstay/wire"
)

const (
	maxFound  = 200             // of a search
	searchFor = 8 * time.Second // and no longer
	maxOpened = 8               // snapshots at a time
)

// shown is a snapshot that its user looks at.
type shown struct {
	wire.Snapshot
	*agent.Opened
}

// restorePath is a page for whoever has proved to be the user, by its path below
// the base; of another path, that which lists the snapshots.
func restorePath(path string) string {
	if strings.HasPrefix(path, "/restore/at/") || path == besideAt {
		return path
	}
	return "/restore"
}

// openSnapshot opens a snapshot of the device, by its hash. ok is false while nobody has
// proved to be the user.
func (w *Window) openSnapshot(ctx context.Context, d *state.Device, hash string) (o *shown, ok bool, err error) {
	c, user, err := w.who(d)
	if err != nil || user == nil {
		return nil, false, err
	}
	m := &w.reading
	m.mu.Lock()
	o = m.opened[hash]
	m.mu.Unlock()
	if o != nil {
		return o, true, nil
	}
	o = &shown{}
	list, err := c.Snapshots(ctx)
	if err == nil {
		o.Snapshot, err = agent.Find(list, hash)
	}
	if err == nil {
		o.Opened, err = agent.Open(ctx, d, user, o.Hash)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err != nil && errs.KindOf(err) == errs.Unauthenticated:
		m.shut() // the password was changed, say
		return nil, false, err
	case err != nil:
		return nil, true, err
	case m.user == user:
		if len(m.opened) >= maxOpened {
			clear(m.opened)
		}
		m.opened[hash] = o
	}
	return o, true, nil
}

type snapshotPage struct {
	page
	Snapshot wire.Snapshot
	In       string // token of the folder
	Query    string // that was searched for, "" for a folder
	Crumbs   []listing.Crumb
	Items    []listing.Item
	More     bool // than what was found
	Pages    web.Pages
}

// snapshotPage shows a folder of a snapshot, or what was found in it.
func (w *Window) snapshotPage(rw http.ResponseWriter, r *http.Request, p page, s agent.Standing) {
	hash := r.PathValue("snapshot")
	ctx, cancel := hurried(r)
	defer cancel()
	o, ok, err := w.openSnapshot(ctx, s.Device, hash)
	if !ok {
		w.showUnlock(rw, r, p, s, "/restore/at/"+url.PathEscape(hash)+"?"+r.URL.RawQuery, err)
		return
	}
	f := &snapshotPage{page: p, Query: strings.TrimSpace(r.FormValue("q"))}
	if err == nil {
		f.Snapshot = o.Snapshot
		err = f.fill(ctx, r, o.Catalog)
	}
	if err != nil {
		w.refuse(rw, r, "/restore", err)
		return
	}
	w.site.Render(rw, r, http.StatusOK, "snapshot", f)
}

// fill reads what the page shows.
func (f *snapshotPage) fill(ctx context.Context, r *http.Request, c *catalog.Reader) error {
	folder, err := folderOf(ctx, c, untoken(r.FormValue("in")))
	if err != nil {
		return err
	}
	f.In = token(folder)
	f.Crumbs = listing.Crumbs(f.Printer(), folder, href)
	if f.Query != "" {
		ctx, cancel := context.WithTimeout(ctx, searchFor)
		defer cancel()
		found, more, err := agent.Search(ctx, c, folder, f.Query, maxFound)
		for _, e := range found {
			x := f.item(e)
			if x.In = fromHome(e.Folder); !x.IsFolder {
				x.Href = href(e.Folder)
			}
			f.Items = append(f.Items, x)
		}
		f.More = more
		return err
	}
	entries, more, err := c.Folder(ctx, folder, untoken(web.After(r)), listing.Part)
	if err != nil {
		return err
	}
	next := ""
	if more {
		next = token(entries[len(entries)-1].Name)
	}
	f.Pages = web.PagesOf(r, len(entries), 0, next)
	for _, e := range entries {
		f.Items = append(f.Items, f.item(e))
	}
	if !f.Pages.Needed() {
		listing.Sort(f.Items)
	}
	return nil
}

// folderOf is the folder at a path of a snapshot. Where nobody names one it is
// the first, from the top, in which there is something to choose.
func folderOf(ctx context.Context, c *catalog.Reader, path string) (string, error) {
	switch path {
	case "/":
		return path, nil
	case "":
		return listing.Descend(ctx, c)
	}
	e, err := c.Lookup(ctx, path)
	if err == nil && e.Type != catalog.Folder {
		err = errs.Of(errs.NoSuchSnapshot, "what", path)
	}
	return path, err
}

// href is the page of a folder, from another page of its snapshot.
func href(folder string) string { return "?" + url.Values{"in": {token(folder)}}.Encode() }

// item is an entry of the snapshot. What can be restored is more than what can
// be downloaded: links and special files, too.
func (f *snapshotPage) item(e *catalog.Entry) listing.Item {
	x := listing.Of(e, f.Printer())
	x.Token, x.Takeable = token(e.Path()), !listing.Bare(e)
	if x.IsFolder {
		x.Href = href(e.Path())
	}
	return x
}
