package console

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/web"
)

func (c *console) importRoutes(mux *entry.Mux) {
	mux.HandleFunc("GET /admin/users/import", c.admin(c.askImport))
	mux.HandleFunc("POST /admin/users/import", c.admin(c.checkImport))
	mux.HandleFunc("GET /admin/users/import/sample", c.admin(c.sampleImport))
	mux.HandleFunc("GET /admin/imports/{import}", c.admin(c.checkedImport))
	mux.HandleFunc("POST /admin/imports/{import}", c.admin(c.runImport))
	mux.HandleFunc("GET /admin/imports/{import}/failed", c.admin(c.failedImport))
	mux.HandleFunc("GET /admin/users/export", c.admin(c.exportUsers))
}

func (c *console) askImport(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showImport(w, r, v, http.StatusOK, nil)
}

func (c *console) showImport(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	page := importPage{Frame: c.frame(w, r, v, "users.import.title")}
	if failure != nil && !refused(&page.Form, page.Printer(), failure, nil) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		list, err := accounts.Imports(r.Context(), tx, v.caller, v.org())
		page.Last = nil
		for _, i := range list {
			page.Last = append(page.Last, lastImport{i.ID, i.CreatedAt, standing(page.Printer(), i)})
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "import", page)
}

// standing is how far an import is.
func standing(p *locale.Printer, i accounts.Import) web.Sign {
	switch {
	case i.State == accounts.ImportDone:
		return web.Sign{Sign: "good", Icon: "circle-check", Text: p.T("users.import.is.done")}
	case i.State == accounts.ImportRunning:
		return web.Sign{Sign: "good", Icon: "refresh", Text: p.T("users.import.of", "done", i.Done, "total", i.Total)}
	case i.Done > 0:
		return web.Sign{Sign: "warn", Icon: "alert-triangle", Text: p.T("users.import.stopped", "done", i.Done, "total", i.Total)}
	}
	return web.Sign{Sign: "idle", Icon: "hourglass", Text: p.T("users.import.is.checked")}
}

// importColumns is the first line of a file of users.
const importColumns = "username,email,first_name,last_name,profile,licence,quota,language,send_mail\r\n"

func (c *console) sampleImport(w http.ResponseWriter, r *http.Request, v *visit) {
	sendCSV(w, "users.csv", []byte(importColumns+"marie,marie@example.org,Marie,Curie,,,50 GB,fr,yes\r\n"))
}

// sendCSV sends a table as a file.
func sendCSV(w http.ResponseWriter, name string, table []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", web.Attachment(name))
	h.Set("Content-Length", strconv.Itoa(len(table)))
	w.Write(table)
}

// checkImport looks at an uploaded file and makes nothing yet.
func (c *console) checkImport(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	file, _, err := r.FormFile("file")
	if err != nil {
		c.showImport(w, r, v, http.StatusBadRequest, errs.New(errs.Invalid, "users.import.no_file"))
		return
	}
	defer file.Close()
	opts := accounts.ImportOptions{Profiles: map[string]access.ProfileID{}, SendMail: r.FormValue("no_mail") != "on"}
	err = c.DB.Read(ctx, func(tx *db.Tx) error {
		list, err := profiles.List(ctx, tx, v.caller, v.org())
		for _, p := range list {
			opts.Profiles[orgs.Fold(p.Name)] = p.ID
			if p.Default {
				opts.Profiles[orgs.Fold(p.Name)] = "" // nobody's own
			}
		}
		return err
	})
	var i accounts.Import
	if err == nil {
		i, err = accounts.CheckImport(ctx, c.DB, v.caller, v.org(), file, opts)
	}
	if err != nil {
		c.showImport(w, r, v, web.Status(w, err), err)
		return
	}
	c.site.Redirect(w, r, "/admin/imports/"+i.ID)
}

// importShown is how many of the rows that cannot be made the page lists; the
// file has all.
const importShown = 20

func (c *console) checkedImport(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showChecked(w, r, v, http.StatusOK, nil)
}

func (c *console) showChecked(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	page := importPage{Frame: c.frame(w, r, v, "users.import.title")}
	if failure != nil && !refused(&page.Form, page.Printer(), failure, nil) {
		c.fail(w, r, v.caller, failure)
		return
	}
	i, err := c.findImport(r, v)
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	page.ID, page.Total, page.Running, page.Done = i.ID, int64(i.Total), i.State == accounts.ImportRunning, i.State == accounts.ImportDone
	page.Good, page.Exists, page.Bad, page.Made = int64(i.Good), int64(i.Exists), int64(i.Bad), int64(i.Made)
	if page.Running {
		page.Made = int64(i.Done)
		page.Bar = spread([]bar{{Class: "good", Width: page.Made}, {Class: "rest", Width: page.Total - page.Made}})
	} else if !page.Done && i.Done > 0 {
		s := standing(page.Printer(), i)
		page.Stopped = &s
	}
	for _, row := range i.Rows {
		if row.Status == accounts.RowBad && !page.Running && len(page.Rows) < importShown {
			page.Rows = append(page.Rows, importRow{Line: int64(row.Line), Username: row.Username, Email: row.Email, Reason: rowReason(page.Printer(), row)})
		}
	}
	c.site.Render(w, r, status, "import-checked", page)
}

func (c *console) findImport(r *http.Request, v *visit) (i accounts.Import, err error) {
	err = c.DB.Read(r.Context(), func(tx *db.Tx) error {
		i, err = accounts.FindImport(r.Context(), tx, v.caller, r.PathValue("import"))
		return err
	})
	return i, err
}

// rowReason says why a row cannot be made.
func rowReason(p *locale.Printer, row accounts.Row) string {
	args := []any{}
	for name, value := range row.Args {
		args = append(args, name, value)
	}
	return p.T(row.Reason, args...)
}

// importPatience is how long the browser waits for a run, so that a short one is
// done when its page comes.
const importPatience = time.Second

// runImport makes the users of a checked file. It goes on when the page is left.
func (c *console) runImport(w http.ResponseWriter, r *http.Request, v *visit) {
	run, err := accounts.BeginImport(r.Context(), c.DB, v.caller, c.Keys, c.Gate.Hasher, c.Gate.URL(), r.PathValue("import"),
		func(username string) string { return web.ActivateCommand(c.Gate.URL(), c.Fingerprint, username) })
	if err != nil {
		c.showChecked(w, r, v, web.Status(w, err), err)
		return
	}
	done := make(chan struct{})
	c.Background(func(ctx context.Context) {
		defer close(done)
		if err := run.Finish(ctx); err != nil {
			c.Log.ErrorContext(ctx, "importing users", "import", run.ID, "error", err)
		}
	})
	select {
	case <-done:
	case <-time.After(importPatience):
	}
	c.site.Redirect(w, r, "/admin/imports/"+r.PathValue("import"))
}

// failedImport sends the rows that cannot be made, each with its reason, to be
// mended and imported again.
func (c *console) failedImport(w http.ResponseWriter, r *http.Request, v *visit) {
	i, err := c.findImport(r, v)
	var b bytes.Buffer
	if err == nil {
		p := locale.For(web.LangOf(r))
		err = accounts.FailedRows(&b, i, func(key string, args map[string]any) string {
			return rowReason(p, accounts.Row{Reason: key, Args: args})
		})
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	sendCSV(w, "users-failed.csv", b.Bytes())
}

// exportUsers sends the list of users that the address chooses as a file.
func (c *console) exportUsers(w http.ResponseWriter, r *http.Request, v *visit) {
	var b bytes.Buffer
	err := export(r.Context(), c.DB, v, &b, func(tx *db.Tx) (accounts.Filter, error) {
		return userFilter(r, tx, v, &usersPage{Query: r.FormValue("q")})
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	sendCSV(w, "users.csv", b.Bytes())
}

// export writes the users that choose chooses as a table. That somebody took
// the list along is recorded before it is read: others can write meanwhile.
func export(ctx context.Context, d *db.DB, v *visit, w io.Writer, choose func(*db.Tx) (accounts.Filter, error)) error {
	var filter accounts.Filter
	err := d.Write(ctx, func(tx *db.Tx) (err error) {
		if filter, err = choose(tx); err != nil {
			return err
		}
		return audit.Check(ctx, tx, v.caller, access.ViewUsers, v.org(), "", "users", audit.Note("export", "csv"))
	})
	if err != nil {
		return err
	}
	return d.Read(ctx, func(tx *db.Tx) error { return accounts.ExportCSV(ctx, tx, v.caller, filter, w) })
}
