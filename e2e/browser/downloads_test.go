package browser_test

import (
	"archive/zip"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/servertest"
)

// person is somebody's browser, without the pictures.
type person struct {
	t    *testing.T
	s    *servertest.Server
	http *http.Client
}

// logIn logs somebody in at the portal.
func logIn(t *testing.T, s *servertest.Server, username string) *person {
	t.Helper()
	p := &person{t: t, s: s, http: s.Client()}
	p.get("/login", http.StatusOK)
	p.post("/login", url.Values{"username": {username}, "password": {servertest.UserPassword}}, http.StatusSeeOther)
	return p
}

func (p *person) do(r *http.Request, want int) (*http.Response, []byte) {
	p.t.Helper()
	answer, err := p.http.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if answer.StatusCode != want {
		p.t.Errorf("%s %s: status %d, want %d", r.Method, r.URL, answer.StatusCode, want)
	}
	return answer, body
}

func (p *person) request(method, path string, body io.Reader) *http.Request {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.s.URL+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

func (p *person) get(path string, want int) (*http.Response, []byte) {
	p.t.Helper()
	return p.do(p.request(http.MethodGet, path, nil), want)
}

func (p *person) post(path string, form url.Values, want int) (*http.Response, []byte) {
	p.t.Helper()
	r := p.request(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", p.s.URL)
	return p.do(r, want)
}

var link = regexp.MustCompile(`/devices/[0-9a-f-]{36}`)

// snapshot is the address of the newest snapshot of the only device.
func (p *person) snapshot() string {
	p.t.Helper()
	_, page := p.get("/", http.StatusOK)
	device := link.FindString(string(page))
	_, page = p.get(device, http.StatusOK)
	address := regexp.MustCompile(regexp.QuoteMeta(device) + `/[0-9a-f]{16}`).FindString(string(page))
	if address == "" {
		p.t.Fatalf("no snapshot on %s:\n%s", device, page)
	}
	return address
}

// A snapshot that cannot be opened does not hide the others.
func TestDamagedSnapshot(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	c := newClient(t, s)
	c.backedUp()
	user := logIn(t, s, s.User.Username)
	at := user.snapshot()
	packs := filepath.Join(s.Config.Data, "vault", "packs")
	if err := os.RemoveAll(packs); err != nil {
		t.Fatal(err)
	}
	again := logIn(t, s, s.User.Username) // whose opening is not kept in memory
	_, page := again.get(at, http.StatusOK)
	for _, text := range []string{"This snapshot cannot be opened", "E1506", `href="` + at + `"`} {
		if !strings.Contains(string(page), text) {
			t.Errorf("the page lacks %q:\n%s", text, page)
		}
	}
}

func file(path string) string { return "/file?path=" + url.QueryEscape(path) }

func TestDownloads(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	c := newClient(t, s)
	root := c.backedUp()
	user := logIn(t, s, s.User.Username)
	at := user.snapshot()

	report, err := os.ReadFile(filepath.Join(root, "Documents", "Report 2026.pdf"))
	if err != nil {
		t.Fatal(err)
	}
	answer, got := user.get(at+file(filepath.Join(root, "Documents", "Report 2026.pdf")), http.StatusOK)
	if !bytes.Equal(got, report) {
		t.Errorf("the report differs: %d bytes, want %d", len(got), len(report))
	}
	for name, want := range map[string]string{
		"Content-Type":            "application/octet-stream",
		"Content-Disposition":     `attachment; filename="Report 2026.pdf"; filename*=UTF-8''Report%202026.pdf`,
		"Content-Security-Policy": "sandbox; default-src 'none'",
		"X-Content-Type-Options":  "nosniff",
		"Cache-Control":           "no-store",
	} {
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	r := user.request(http.MethodGet, at+file(filepath.Join(root, "Documents", "Report 2026.pdf")), nil)
	r.Header.Set("Range", "bytes=1000-1999")
	r.Header.Set("If-Range", answer.Header.Get("ETag"))
	if _, got := user.do(r, http.StatusPartialContent); !bytes.Equal(got, report[1000:2000]) {
		t.Errorf("a range of the report differs: %d bytes", len(got))
	}
	// A name that is not UTF-8, and one that would be a script.
	if _, got := user.get(at+file(filepath.Join(root, "bad\xffname.bin")), http.StatusOK); string(got) != "raw" {
		t.Errorf("the file with raw bytes in its name is %q", got)
	}
	for _, path := range []string{"/etc/passwd", filepath.Join(root, "Documents"), filepath.Join(root, "Documents", "link to notes"), "../../../etc/passwd", "relative", ""} {
		user.get(at+file(path), http.StatusNotFound)
	}

	form := url.Values{"path": {url.QueryEscape(root)}, "e": {"Documents", "Pictures", url.QueryEscape("bad\xffname.bin")}}
	answer, got = user.post(at+"/zip", form, http.StatusOK)
	if d := answer.Header.Get("Content-Disposition"); !strings.Contains(d, `filename="marie `) {
		t.Errorf("the archive is called %s", d)
	}
	z, err := zip.NewReader(bytes.NewReader(got), int64(len(got)))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range z.File {
		names[f.Name] = true
	}
	for _, want := range []string{"Documents/", "Documents/Report 2026.pdf", "Documents/été à la mer.odt", "Pictures/2026/beach.jpg", "NOT INCLUDED.txt"} {
		if !names[want] {
			t.Errorf("the archive lacks %q: %v", want, names)
		}
	}
	if len(z.File) != 10 { // 3 folders, 6 files, 1 note
		t.Errorf("the archive has %d entries, want 10: %v", len(z.File), names)
	}
	user.post(at+"/zip", url.Values{"path": {"%2F"}}, http.StatusBadRequest)
	user.post(at+"/zip", url.Values{"path": {"%2F"}, "e": {"nothing of the kind"}}, http.StatusNotFound)

	t.Run("the owner sees what was taken", func(t *testing.T) {
		_, page := user.get("/activity?show=data", http.StatusOK)
		for _, text := range []string{"Opened a snapshot in the browser", "Downloaded a file", "<bdi>" + filepath.Join(root, "Documents", "Report 2026.pdf") + "</bdi>",
			`bad\xffname.bin</bdi>`, "Downloaded as an archive", "<bdi>" + filepath.Join(root, "Pictures") + "</bdi>", "ATELIER-07", `href="` + at + `"`} {
			if !bytes.Contains(page, []byte(text)) {
				t.Errorf("the activity lacks %q:\n%s", text, page)
			}
		}
		if n := bytes.Count(page, []byte("Downloaded a file")); n != 2 {
			t.Errorf("%d downloads of files are listed, want 2: a range is no other one", n)
		}
		_, page = user.get("/activity?show=logins", http.StatusOK)
		for _, text := range []string{"Logged in to the portal", "Logged in with the client", "Activated a device", "ATELIER-07", "127.0.0.1"} {
			if !bytes.Contains(page, []byte(text)) {
				t.Errorf("the log-ins lack %q:\n%s", text, page)
			}
		}
		admin := &person{t: t, s: s, http: s.Client()}
		admin.get("/admin/login", http.StatusOK)
		admin.post("/admin/login", url.Values{"username": {"admin"}, "password": {servertest.AdminPassword}}, http.StatusSeeOther)
		if _, page = admin.get("/admin/audit", http.StatusOK); !bytes.Contains(page, []byte("Download out of a backup")) || bytes.Contains(page, []byte("Report 2026")) {
			t.Errorf("the audit lacks the downloads, or tells the names:\n%s", page)
		}
	})

	t.Run("nobody else", func(t *testing.T) {
		other := logIn(t, s, s.NewUser("other").Username)
		for _, path := range []string{at, link.FindString(at), at + file(filepath.Join(root, "notes.txt"))} {
			_, page := other.get(path, http.StatusNotFound)
			if bytes.Contains(page, []byte("ATELIER")) || bytes.Contains(page, []byte("Documents")) {
				t.Errorf("%s tells a stranger something:\n%s", path, page)
			}
		}
		other.post(at+"/zip", form, http.StatusNotFound)
		nobody := &person{t: t, s: s, http: s.Client()}
		answer, _ := nobody.get(at+file(filepath.Join(root, "notes.txt")), http.StatusSeeOther)
		if to := answer.Header.Get("Location"); !strings.HasPrefix(to, "/login?next=") {
			t.Errorf("somebody who is not logged in is sent to %q", to)
		}
	})
	t.Run("another site's form", func(t *testing.T) {
		r := user.request(http.MethodPost, at+"/zip", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		user.do(r, http.StatusForbidden)
	})
	t.Run("one row for one opening", func(t *testing.T) {
		if n := opened(t, s); n != 1 {
			t.Errorf("%d openings are recorded, want 1", n)
		}
		logIn(t, s, s.User.Username).get(at, http.StatusOK)
		if n := opened(t, s); n != 2 {
			t.Errorf("%d openings are recorded after another log-in, want 2", n)
		}
	})
	t.Run("the profile forbids it", func(t *testing.T) {
		setPortal(t, s, false, false)
		user.get(at+file(filepath.Join(root, "notes.txt")), http.StatusForbidden)
		stranger := &person{t: t, s: s, http: s.Client()}
		stranger.get("/login", http.StatusOK)
		_, page := stranger.post("/login", url.Values{"username": {"user"}, "password": {servertest.UserPassword}}, http.StatusForbidden)
		if !bytes.Contains(page, []byte("E1106")) {
			t.Errorf("a log-in without web restore lacks E1106:\n%s", page)
		}
		setPortal(t, s, true, false)
		user.get(at+file(filepath.Join(root, "notes.txt")), http.StatusOK)
	})
	t.Run("after the log-out", func(t *testing.T) {
		answer, _ := user.post("/logout", nil, http.StatusSeeOther)
		if answer.Header.Get("Clear-Site-Data") == "" {
			t.Error("a log-out leaves the browser's data")
		}
		user.get(at, http.StatusSeeOther)
	})
}

// opened is how many openings of snapshots the audit has.
func opened(t *testing.T, s *servertest.Server) int {
	t.Helper()
	var rows []audit.Row
	err := s.DB.Read(t.Context(), func(tx *db.Tx) (err error) {
		rows, err = audit.List(t.Context(), tx, access.System("test"), audit.Filter{Action: access.ReadOwnData, Outcome: audit.Done})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(rows)
}

// Who may not come in is told as much as the product says, and no more.
func TestLogInMatrix(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	for _, tc := range []struct {
		name, path, username, password string
		status                         int
		code                           string
	}{
		{"unknown", "/login", "nobody", servertest.UserPassword, 401, "E1101"},
		{"wrong password", "/login", "user", "Wrong-Password-1", 401, "E1101"},
		{"administrator at the portal", "/login", "admin", servertest.AdminPassword, 401, "E1101"},
		{"user at the console", "/admin/login", "user", servertest.UserPassword, 401, "E1101"},
		{"no password", "/login", "user", "", 401, "E1101"},
		{"capitals", "/login", "USER", servertest.UserPassword, 303, ""},
		{"e-mail", "/login", "user@EXAMPLE.org", servertest.UserPassword, 303, ""},
		{"administrator", "/admin/login", "admin", servertest.AdminPassword, 303, ""},
	} {
		p := &person{t: t, s: s, http: s.Client()}
		p.get(tc.path, http.StatusOK)
		answer, page := p.post(tc.path, url.Values{"username": {tc.username}, "password": {tc.password}}, tc.status)
		if tc.code != "" && !bytes.Contains(page, []byte(tc.code)) {
			t.Errorf("%s: the page lacks %s", tc.name, tc.code)
		}
		for _, c := range answer.Cookies() {
			if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
				t.Errorf("%s: cookie %s is not locked down: %v", tc.name, c.Name, c)
			}
		}
	}
	// What a form says about where to go next stays on this server.
	p := &person{t: t, s: s, http: s.Client()}
	p.get("/login", http.StatusOK)
	answer, _ := p.post("/login", url.Values{"username": {"user"}, "password": {servertest.UserPassword}, "next": {"//evil.example"}}, http.StatusSeeOther)
	if to := answer.Header.Get("Location"); to != "/" {
		t.Errorf("a log-in leads to %q", to)
	}
}
