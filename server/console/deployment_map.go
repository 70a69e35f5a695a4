package console

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/web"
)

const deviceMap = deployment + "/map"

func (c *console) mapRoutes(mux *entry.Mux) {
	mux.HandleFunc("GET "+deviceMap, c.admin(func(w http.ResponseWriter, r *http.Request, v *visit) { c.showMap(w, r, v, http.StatusOK, nil) }))
	mux.HandleFunc("POST "+deviceMap, c.admin(c.checkMap))
	mux.HandleFunc("POST "+deviceMap+"/import", c.admin(c.importMap))
	mux.HandleFunc("POST "+deviceMap+"/failed", c.admin(c.failedMap))
	mux.HandleFunc("GET "+deviceMap+"/sample", c.admin(c.sampleMap))
	mux.HandleFunc("GET "+deviceMap+"/new", c.admin(c.askMapping))
	mux.HandleFunc("POST "+deviceMap+"/new", c.admin(c.saveMapping))
	mux.HandleFunc("GET "+deviceMap+"/{number}", c.admin(c.askMapping))
	mux.HandleFunc("POST "+deviceMap+"/{number}", c.admin(c.saveMapping))
	mux.HandleFunc("POST "+deviceMap+"/{number}/remove", c.admin(c.unmap))
}

// mapFields are the fields that the keys of what is wrong with a row name.
var mapFields = map[string]string{"deploy.map.user": "email", "deploy.map.state": "email", "error.E1207": "email", "deploy.map.id": "device_id", "deploy.map.taken": "device_id",
	"deploy.map.type": "id_type", "deploy.map.characters": "username", "deploy.map.old": "old_device_name", "deploy.map.expires": "expires"}

// mapNumber is the row that the address names, 0 for a new one.
func mapNumber(r *http.Request) (int64, error) {
	text := r.PathValue("number")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return 0, errs.New(errs.NotFound, "access.not.found")
	}
	return n, nil
}

// askMapping shows a row of the map, to be changed, or an empty one.
func (c *console) askMapping(w http.ResponseWriter, r *http.Request, v *visit) {
	n, err := mapNumber(r)
	m := deploy.Mapping{Type: deploy.ByUUID}
	if err == nil {
		err = c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
			if n == 0 {
				return audit.See(v.caller, access.ManageMap, v.org(), "", "device-map")
			}
			m, err = deploy.FindMapping(r.Context(), tx, v.caller, n)
			return err
		})
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.showMapping(w, r, v, http.StatusOK, m.Values(), nil)
}

func (c *console) showMapping(w http.ResponseWriter, r *http.Request, v *visit, status int, values map[string]string, failure error) {
	title := "deploy.map.change"
	if r.PathValue("number") == "" {
		title = "deploy.map.add"
	}
	page := mappingPage{deployFrame: c.deployFrame(w, r, v, title), Action: r.URL.Path, Values: values}
	if failure != nil {
		e := errs.Find(failure)
		if e == nil || !strings.HasPrefix(e.Key, "deploy.map.") && !errs.Is(failure, errs.AmbiguousAccount) || !page.Form.AddTo(page.Printer(), failure, mapFields) {
			c.fail(w, r, v.caller, failure)
			return
		}
	}
	p := page.Printer()
	for _, t := range []string{deploy.ByUUID, deploy.BySerial, deploy.ByHostname} {
		page.Types = append(page.Types, option{t, p.T("deploy.map.type." + t)})
	}
	page.Restores = restoreOptions(p)
	c.site.Render(w, r, status, "deploy-mapping", page)
}

// restoreOptions are what a row of the map may bring back, in words.
func restoreOptions(p *locale.Printer) []option {
	return []option{{"", p.T("deploy.map.restore.none")}, {"DATA", p.T("deploy.map.restore.data")}, {"SYSTEM", p.T("deploy.map.restore.system")}, {"ALL", p.T("deploy.map.restore.all")}}
}

func (c *console) saveMapping(w http.ResponseWriter, r *http.Request, v *visit) {
	n, err := mapNumber(r)
	values := map[string]string{}
	for _, name := range deploy.MapColumns() {
		values[name] = r.PostFormValue(name)
	}
	if err == nil {
		err = c.DB.Write(r.Context(), func(tx *db.Tx) error {
			_, err := deploy.Map(r.Context(), tx, v.caller, c.Keys, v.org(), n, maps.Clone(values))
			return err
		})
	}
	if err != nil {
		c.showMapping(w, r, v, web.Status(w, err), values, err)
		return
	}
	c.site.Done(w, r, deviceMap, web.Flash{Key: "form.saved"})
}

// mapShown is how many rows of the map are listed.
const mapShown = 200

// maxMap is the largest file for the map: accounts.MaxImportRows have room in it,
// and it has room in a form. It goes to and fro between the two steps, so that
// nothing has to be kept of it.
const maxMap = 3 << 20

func (c *console) showMap(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	page := mapPage{deployFrame: c.deployFrame(w, r, v, "deploy.page.map")}
	if failure != nil && errs.KindOf(failure) != errs.TooLarge && !refused(&page.Form, page.Printer(), failure, nil) ||
		errs.KindOf(failure) == errs.TooLarge && !page.Form.Add(page.Printer(), failure) {
		c.fail(w, r, v.caller, failure)
		return
	}
	page.Restores = restoreOptions(page.Printer())
	err := c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		page.Rows, page.Total, err = deploy.Mappings(r.Context(), tx, v.caller, v.org(), 0, mapShown)
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "deploy-map", page)
}

func (c *console) sampleMap(w http.ResponseWriter, r *http.Request, v *visit) {
	sendCSV(w, "device-map.csv", []byte(strings.Join(deploy.MapColumns(), ",")+"\r\nmarie@example.org,lab-7,4C4C4544-0042-3510-8052-B9C04F564433,uuid,marie,,,\r\n"))
}

// checkMap looks at an uploaded file and changes nothing yet.
func (c *console) checkMap(w http.ResponseWriter, r *http.Request, v *visit) {
	file, _, err := r.FormFile("file")
	if err != nil {
		c.showMap(w, r, v, http.StatusBadRequest, errs.New(errs.Invalid, "import.unreadable").Because(err))
		return
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxMap+1))
	if err == nil && len(text) > maxMap {
		err = errs.New(errs.TooLarge, "import.size", "n", maxMap>>20)
	}
	var f deploy.MapFile
	if err == nil {
		err = c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
			f, err = deploy.CheckMap(r.Context(), tx, v.caller, v.org(), bytes.NewReader(text))
			return err
		})
	}
	if err != nil {
		c.showMap(w, r, v, web.Status(w, err), err)
		return
	}
	page := mapCheckedPage{deployFrame: c.deployFrame(w, r, v, "deploy.map.checked"), Text: string(bytes.TrimPrefix(text, []byte("\ufeff"))), Good: f.Good, Exists: f.Exists, Bad: f.Bad}
	for _, row := range f.Rows {
		if row.Status == deploy.RowBad && len(page.Rows) < importShown {
			page.Rows = append(page.Rows, mapRow{int64(row.Line), row.Values["email"], row.Values["device_id"], page.Printer().Error(row.Reason)})
		}
	}
	c.site.Render(w, r, http.StatusOK, "deploy-map-checked", page)
}

// mapText is the file as the second step has it.
func mapText(r *http.Request) string {
	// Of a form that is not multipart the fields are there already.
	_ = r.ParseMultipartForm(maxMap)
	return r.PostFormValue("text")
}

func (c *console) importMap(w http.ResponseWriter, r *http.Request, v *visit) {
	var f deploy.MapFile
	err := c.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		f, err = deploy.ImportMap(r.Context(), tx, v.caller, c.Keys, v.org(), strings.NewReader(mapText(r)))
		return err
	})
	if err != nil {
		c.showMap(w, r, v, web.Status(w, err), err)
		return
	}
	c.site.Done(w, r, deviceMap, web.Flash{Key: "deploy.map.done", Args: []any{"n", f.Good}})
}

// failedMap sends the rows that cannot be used, each with its reason.
func (c *console) failedMap(w http.ResponseWriter, r *http.Request, v *visit) {
	var f deploy.MapFile
	err := c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		f, err = deploy.CheckMap(r.Context(), tx, v.caller, v.org(), strings.NewReader(mapText(r)))
		return err
	})
	var b bytes.Buffer
	if err == nil {
		err = deploy.FailedMapRows(&b, f, locale.For(web.LangOf(r)).Error)
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	sendCSV(w, "device-map-failed.csv", b.Bytes())
}

func (c *console) unmap(w http.ResponseWriter, r *http.Request, v *visit) {
	n, err := mapNumber(r)
	if err == nil {
		err = c.DB.Write(r.Context(), func(tx *db.Tx) error { return deploy.Unmap(r.Context(), tx, v.caller, n) })
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Done(w, r, deviceMap, web.Flash{Key: "deploy.map.removed"})
}
