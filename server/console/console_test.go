package console_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/servertest"
)

// world is a server, with administrators of each role, and a clock.
type world struct {
	*servertest.Server
	t     *testing.T
	ahead atomic.Int64 // by which the clock is ahead
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	w.Server = servertest.New(t, func(cfg *server.Config) {
		cfg.Now = func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }
	})
	for name, role := range map[string]access.Role{"orgadmin": access.OrgAdmin, "viewer": access.Viewer} {
		_, err := w.NewAccount(t.Context(), access.System("test"), accounts.New{Org: w.Org.ID, Kind: access.AdminKind, Role: role,
			Username: name, Email: name + "@example.org"}, servertest.AdminPassword)
		if err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// later lets time pass.
func (w *world) later(d time.Duration) { w.ahead.Add(int64(d)) }

// find reads an account by its username.
func (w *world) find(username string) (u accounts.User) {
	w.t.Helper()
	err := w.DB.Read(w.t.Context(), func(tx *db.Tx) (err error) {
		u, err = accounts.FindByUsername(w.t.Context(), tx, username)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

// audited counts the records about an object whose details hold a text.
func (w *world) audited(object, detail string) (n int) {
	w.t.Helper()
	kind, id, _ := strings.Cut(object, "/")
	err := w.DB.Read(w.t.Context(), func(tx *db.Tx) error {
		return tx.QueryRow(w.t.Context(), `SELECT count(*) FROM audit WHERE object_kind = $1 AND object_id = $2 AND details LIKE $3`,
			kind, id, "%"+detail+"%").Scan(&n)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// visitor is somebody's browser.
type visitor struct {
	w      *world
	client *http.Client
}

// page is an answer.
type page struct {
	status int
	to     string // where it redirects to
	body   string
	header http.Header
}

func (w *world) stranger() *visitor { return &visitor{w: w, client: w.Client()} }

// as logs an administrator in.
func (w *world) as(username string) *visitor {
	w.t.Helper()
	v := w.stranger()
	v.get("/admin/login")
	p := v.post("/admin/login", "username", username, "password", servertest.AdminPassword)
	if p.status != http.StatusSeeOther || p.to != "/admin/" {
		w.t.Fatalf("%s logs in: %d %s\n%s", username, p.status, p.to, p.body)
	}
	return v
}

func (v *visitor) do(r *http.Request) page {
	v.w.t.Helper()
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	answer, err := v.client.Do(r)
	if err != nil {
		v.w.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		v.w.t.Fatal(err)
	}
	return page{answer.StatusCode, answer.Header.Get("Location"), string(body), answer.Header}
}

func (v *visitor) request(method, path string, body io.Reader) *http.Request {
	v.w.t.Helper()
	r, err := http.NewRequest(method, v.w.URL+path, body)
	if err != nil {
		v.w.t.Fatal(err)
	}
	return r
}

func (v *visitor) get(path string) page {
	v.w.t.Helper()
	return v.do(v.request(http.MethodGet, path, nil))
}

// post sends a form of names and values.
func (v *visitor) post(path string, form ...string) page {
	v.w.t.Helper()
	values := url.Values{}
	for i := 0; i+1 < len(form); i += 2 {
		values.Add(form[i], form[i+1])
	}
	r := v.request(http.MethodPost, path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return v.do(r)
}

// upload sends a file.
func (v *visitor) upload(path, content string) page {
	v.w.t.Helper()
	return v.multipart(path, func(form *multipart.Writer) error {
		part, err := form.CreateFormFile("file", "users.csv")
		if err == nil {
			_, err = io.WriteString(part, content)
		}
		return err
	})
}

// multipart sends a form as browsers do whose form says that it is one.
func (v *visitor) multipart(path string, fill func(*multipart.Writer) error) page {
	v.w.t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	if err := errors.Join(fill(form), form.Close()); err != nil {
		v.w.t.Fatal(err)
	}
	r := v.request(http.MethodPost, path, &b)
	r.Header.Set("Content-Type", form.FormDataContentType())
	return v.do(r)
}

// done checks that something was done, and shows the page that it leads to.
func (v *visitor) done(p page, texts ...string) page {
	v.w.t.Helper()
	if p.status != http.StatusSeeOther {
		v.w.t.Fatalf("status %d, want a redirection:\n%s", p.status, p.body)
	}
	return v.get(p.to).want(v.w.t, http.StatusOK, texts...)
}

// want checks an answer's status and that it holds texts.
func (p page) want(t *testing.T, status int, texts ...string) page {
	t.Helper()
	if p.status != status {
		t.Errorf("status %d (to %s), want %d:\n%s", p.status, p.to, status, p.body)
	}
	for _, text := range texts {
		if !strings.Contains(p.body, text) {
			t.Errorf("the page lacks %q:\n%s", text, p.body)
		}
	}
	return p
}

// lacks checks that an answer does not hold texts.
func (p page) lacks(t *testing.T, texts ...string) page {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(p.body, text) {
			t.Errorf("the page holds %q:\n%s", text, p.body)
		}
	}
	return p
}

// copied is the value that a page gives to copy.
func (p page) copied(t *testing.T, id string) string {
	t.Helper()
	m := regexp.MustCompile(`<code id="` + id + `">([^<]+)</code>`).FindStringSubmatch(p.body)
	if m == nil {
		t.Fatalf("nothing to copy as %s:\n%s", id, p.body)
	}
	return m[1]
}

// table reads an answer as CSV.
func (p page) table(t *testing.T) [][]string {
	t.Helper()
	p.want(t, http.StatusOK)
	if kind, name := p.header.Get("Content-Type"), p.header.Get("Content-Disposition"); kind != "text/csv; charset=utf-8" || !strings.HasPrefix(name, "attachment;") {
		t.Errorf("the table comes as %q, %q", kind, name)
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(p.body, "\ufeff"))).ReadAll()
	if err != nil {
		t.Fatalf("reading the table: %v\n%s", err, p.body)
	}
	return rows
}
