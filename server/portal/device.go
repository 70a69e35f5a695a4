package portal

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/restore"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/web/listing"
)

// maxSnapshots is how many snapshots of a device the calendar knows.
const maxSnapshots = 5000

// device shows a device with one of its snapshots, the newest when the address
// names none, and a folder of it.
func (p *portal) device(w http.ResponseWriter, r *http.Request, v *visit) {
	d, list, chosen, err := p.choose(r, v)
	if err != nil {
		p.fail(w, r, v.caller, err)
		return
	}
	page := devicePage{Frame: p.frame(w, r, v, web.Visible(d.Name))}
	var x devices.Protection
	err = p.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		if page.Retired, err = devices.Retired(r.Context(), tx, d); err != nil {
			return err
		}
		restores, err := devices.Restores(r.Context(), tx, v.caller, d.ID)
		if err != nil {
			return err
		}
		page.Restores = entry.RestoreSigns(page.Frame, restores)
		x, err = new(devices.Judge).Protection(r.Context(), tx, d, page.Now())
		return err
	})
	if err != nil {
		p.fail(w, r, v.caller, err)
		return
	}
	page.Device = cardOf(page.Frame, d, x)
	if chosen >= 0 {
		err := p.fill(r, v, &page, list, chosen)
		// A device that was taken over can commit what nobody can open, and a
		// store can lose pages. The other snapshots must stay within reach.
		if page.Damaged = errs.Is(err, errs.Mismatch); page.Damaged {
			p.Log.ErrorContext(r.Context(), "a snapshot cannot be shown", "snapshot", page.Snapshot, "error", err, "request", v.caller.RequestID)
		} else if err != nil {
			p.fail(w, r, v.caller, err)
			return
		}
	}
	p.site.Render(w, r, http.StatusOK, "device", page)
}

// choose reads the device and its snapshots, newest first, and which of them
// the address names: -1 when there is none.
func (p *portal) choose(r *http.Request, v *visit) (d devices.Device, list []vault.Snapshot, chosen int, err error) {
	ctx, id := r.Context(), devices.ID(r.PathValue("device"))
	err = p.DB.Read(ctx, func(tx *db.Tx) (err error) {
		if d, err = devices.View(ctx, tx, v.caller, id); err != nil {
			return err
		}
		list, err = p.Vault.Snapshots(ctx, tx, v.caller, vault.Filter{Device: id, Limit: maxSnapshots})
		return err
	})
	if err != nil {
		return d, nil, 0, err
	}
	name := r.PathValue("snapshot")
	if name == "" {
		return d, list, min(0, len(list)-1), nil
	}
	chosen = slices.IndexFunc(list, func(s vault.Snapshot) bool { return s.Hash.Short() == name })
	if chosen < 0 {
		return d, nil, 0, errs.Of(errs.NoSuchSnapshot, "what", name)
	}
	return d, list, chosen, nil
}

func snapshotHref(s vault.Snapshot) string {
	return "/devices/" + url.PathEscape(string(s.Device)) + "/" + s.Hash.Short()
}

// fill opens the chosen snapshot and completes the page.
func (p *portal) fill(r *http.Request, v *visit, page *devicePage, list []vault.Snapshot, chosen int) error {
	s := list[chosen]
	base := snapshotHref(s)
	page.Snapshot = s.Hash.Short()
	page.Calendar = makeCalendar(page.Printer(), moments(list, page.Zone()), s.CommittedAt.In(page.Zone()))
	page.Snapshots = ofDay(list, s, page.Zone())
	at, err := p.open(r, v, s, base)
	if err != nil {
		return err
	}
	if at.path == "" {
		if at.path, err = listing.Descend(r.Context(), at.catalog); err != nil {
			return err
		}
	}
	if page.Retired {
		if page.All, err = at.top(r.Context()); err != nil {
			return err
		}
	}
	page.Folder, err = at.folder(r, page.Printer())
	return err
}

// open opens a snapshot at the path that the address names.
func (p *portal) open(r *http.Request, v *visit, s vault.Snapshot, base string) (*place, error) {
	path, err := cleanPath(r.FormValue("path"))
	if err != nil {
		return nil, err
	}
	o, err := p.Vault.Opening(r.Context(), v.caller, s.Hash)
	if err != nil {
		return nil, err
	}
	return newPlace(o, base, path), nil
}

// moments are the snapshots for the calendar, oldest first.
func moments(list []vault.Snapshot, zone *time.Location) []moment {
	m := make([]moment, 0, len(list))
	for _, s := range slices.Backward(list) {
		m = append(m, moment{time: s.CommittedAt.In(zone), partial: s.Status == "partial", href: snapshotHref(s)})
	}
	return m
}

// ofDay are the snapshots of the same day as the chosen one.
func ofDay(list []vault.Snapshot, chosen vault.Snapshot, zone *time.Location) []snapshotLink {
	var links []snapshotLink
	y, m, d := chosen.CommittedAt.In(zone).Date()
	for _, s := range list {
		if sy, sm, sd := s.CommittedAt.In(zone).Date(); sy != y || sm != m || sd != d {
			continue
		}
		links = append(links, snapshotLink{Href: snapshotHref(s), Time: s.CommittedAt, Bytes: s.Bytes,
			Unreadable: s.Unreadable, Partial: s.Status == "partial", Chosen: s.Hash == chosen.Hash})
	}
	return links
}

// file sends one file.
func (p *portal) file(w http.ResponseWriter, r *http.Request, v *visit) {
	_, list, chosen, err := p.choose(r, v)
	if err != nil {
		p.fail(w, r, v.caller, err)
		return
	}
	at, err := p.open(r, v, list[chosen], "")
	if err != nil {
		p.fail(w, r, v.caller, err)
		return
	}
	e, err := at.catalog.Lookup(r.Context(), at.path)
	if err == nil && (e.Type != catalog.File || listing.Bare(e)) {
		err = errs.Of(errs.NoSuchSnapshot, "what", at.path)
	}
	if err != nil {
		p.fail(w, r, v.caller, err)
		return
	}
	if err := p.Vault.Took(r.Context(), v.caller, at.opened, vault.Taken{Folder: e.Folder, Names: []string{e.Name}}); err != nil {
		p.fail(w, r, v.caller, err)
		return
	}
	p.brokenOff(r, v, serveFile(w, r, restore.NewContents(at.catalog.Fetch), e))
}

// zip sends a selection as an archive.
func (p *portal) zip(w http.ResponseWriter, r *http.Request, v *visit) {
	_, list, chosen, err := p.choose(r, v)
	if err != nil {
		p.fail(w, r, v.caller, err)
		return
	}
	sel, err := p.selection(r, v, list[chosen])
	if err == nil {
		err = sel.count(r.Context())
	}
	if err == nil {
		err = p.Vault.Took(r.Context(), v.caller, sel.opened, vault.Taken{Folder: sel.folder, Names: sel.names, Archive: true})
	}
	if err != nil {
		p.fail(w, r, v.caller, err)
		return
	}
	name := "backup"
	if _, last := catalog.Split(sel.folder); len(sel.names) == 1 {
		name = sel.names[0]
	} else if last != "" {
		name = last
	}
	web.SetDownloadHeaders(w.Header(), fmt.Sprintf("%s %s.zip", name, list[chosen].CommittedAt.UTC().Format("2006-01-02")))
	p.brokenOff(r, v, writeZip(r.Context(), w, sel, restore.NewContents(sel.catalog.Fetch), locale.For(web.LangOf(r))))
}

// selection is what the form asks for. Names come escaped, since a form cannot
// carry every byte that a name may have.
func (p *portal) selection(r *http.Request, v *visit, s vault.Snapshot) (*selection, error) {
	if err := r.ParseForm(); err != nil {
		return nil, errs.New(errs.TooLarge, "download.entries", "n", maxArchive).Because(err)
	}
	names := r.PostForm["e"]
	if len(names) == 0 {
		return nil, errs.New(errs.Invalid, "download.nothing")
	}
	folder, err := url.QueryUnescape(r.PostForm.Get("path"))
	if err != nil {
		return nil, errs.Of(errs.NoSuchSnapshot, "what", "").Because(err)
	}
	if folder, err = cleanPath(folder); err != nil {
		return nil, err
	}
	o, err := p.Vault.Opening(r.Context(), v.caller, s.Hash)
	if err != nil {
		return nil, err
	}
	sel := &selection{opened: o, catalog: catalog.NewReader(o.Root, o.Fetch), folder: folder}
	if sel.folder == "" {
		sel.folder = "/"
	}
	for _, token := range names {
		name, err := url.QueryUnescape(token)
		if err != nil {
			return nil, errs.Of(errs.NoSuchSnapshot, "what", token).Because(err)
		}
		sel.names = append(sel.names, name)
	}
	slices.Sort(sel.names)
	sel.names = slices.Compact(sel.names)
	return sel, nil
}

// brokenOff ends an answer that has begun and cannot be completed, so that the
// browser sees a failed download and not a short file.
func (p *portal) brokenOff(r *http.Request, v *visit, err error) {
	if err == nil {
		return
	}
	if r.Context().Err() == nil {
		p.Log.ErrorContext(r.Context(), "download broken off", "error", err, "request", v.caller.RequestID)
	}
	panic(http.ErrAbortHandler)
}
