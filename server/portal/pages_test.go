package portal

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/web/listing"
)

var sampleNow = time.Date(2026, 11, 22, 12, 30, 0, 0, time.UTC)

const hostile = `<img src=x onerror=alert(1)>"'` + "\u202egpj\xff"

func aSign(sign, icon, text string) web.Sign { return web.Sign{Sign: sign, Icon: icon, Text: text} }

func sampleDevices() []device {
	return []device{
		{ID: "1", Name: "ATELIER-07", System: "Windows 11 · x86-64", Icon: "device-laptop", Protection: aSign("good", "shield-check", "Protected"), LastBackup: sampleNow.Add(-12 * time.Minute), Bytes: 61_659_000_000, Files: 214_880},
		{ID: "2", Name: hostile, System: "Debian GNU/Linux 12 · x86-64", Icon: "server-2", Protection: aSign("warn", "alert-triangle", "No backup for 5 days"), LastBackup: sampleNow.Add(-5 * 24 * time.Hour), Bytes: 1_240_000, Files: 318},
		{ID: "3", Name: "old-macbook", System: "macOS 15 · ARM64", Icon: "device-laptop", Protection: aSign("idle", "ban", "No longer backed up. Its snapshots are kept."), LastBackup: sampleNow.AddDate(0, -4, 0), Bytes: 88_400_000_000, Files: 91_002},
	}
}

func sampleFolder(r *http.Request) folder {
	pages := web.PagesOf(r, 500, 0, "zebra")
	return folder{
		Crumbs: []listing.Crumb{{Name: "/", Href: "?"}, {Name: "home", Href: "?path=/home"}, {Name: "marie", Href: "?path=/home/marie", Here: true}},
		Pages:  pages,
		Entries: []listing.Item{
			{Name: "Documents", Href: "?path=x", IsFolder: true, Takeable: true, Token: "Documents", Modified: sampleNow.Add(-time.Hour)},
			{Name: "Pictures", Href: "?path=x", IsFolder: true, Takeable: true, Token: "Pictures", Modified: sampleNow.AddDate(0, 0, -3)},
			{Name: "Report 2026 — final (2).pdf", Href: "f", Icon: "file", IsFile: true, Takeable: true, Size: 2_418_233, Token: "r", Modified: sampleNow.AddDate(0, -1, -3)},
			{Name: "été.ods", Href: "f", Icon: "file", IsFile: true, Takeable: true, Size: 18_233, Token: "e", Modified: sampleNow.AddDate(-1, -1, -3)},
			{Name: "current", Icon: "file-symlink", Target: "../releases/42", Token: "c", Modified: sampleNow.AddDate(0, 0, -8)},
			{Name: hostile, Href: "f", Icon: "file", IsFile: true, Takeable: true, Size: 0, Token: "%ff", Modified: sampleNow.AddDate(0, 0, -9)},
			{Name: "private", Icon: "file-unknown", Note: "unreadable", Token: "p", Modified: sampleNow},
			{Name: strings.Repeat("very-long-name-", 14) + ".tar.zst", Href: "f", Icon: "file", IsFile: true, Takeable: true, Size: 98_000_000_000, Token: "v", Modified: sampleNow},
		},
	}
}

func sampleDevice(f web.Frame, r *http.Request) devicePage {
	var moments []moment
	for i := range 40 {
		moments = append(moments, moment{time: sampleNow.AddDate(0, 0, i-39), partial: i%9 == 0, href: "?s"})
	}
	p := devicePage{Frame: f, Device: sampleDevices()[0], Snapshot: "9f2c41d07ab3e865", Calendar: makeCalendar(f.Printer(), moments, sampleNow), Folder: sampleFolder(r), Retired: true, All: []string{"home", "srv"}}
	p.Snapshots = []snapshotLink{
		{Href: "?", Time: sampleNow.Add(-12 * time.Minute), Bytes: 61_659_000_000, Chosen: true},
		{Href: "?", Time: sampleNow.Add(-4 * time.Hour), Bytes: 61_640_000_000, Unreadable: 3},
		{Href: "?", Time: sampleNow.Add(-8 * time.Hour), Bytes: 12_100_000_000, Partial: true},
	}
	return p
}

// sampleSite serves every page with made-up content.
func sampleSite(t *testing.T) (h http.Handler, names []string) {
	t.Helper()
	pages, err := parse()
	if err != nil {
		t.Fatal(err)
	}
	site, err := web.New(web.Config{Name: "portal", Templates: pages, Now: func() time.Time { return sampleNow }})
	if err != nil {
		t.Fatal(err)
	}
	nav := []web.Link{{Key: "portal.sources", Href: "/", Icon: "database", Active: true}, {Key: "nav.account", Href: "/account", Icon: "user-circle"}}
	samples := map[string]func(f, in web.Frame, r *http.Request) (string, web.Page){
		"sources": func(f, in web.Frame, r *http.Request) (string, web.Page) {
			return "sources", sourcesPage{Frame: in, Devices: sampleDevices()}
		},
		"sources-none": func(f, in web.Frame, r *http.Request) (string, web.Page) {
			return "sources", sourcesPage{Frame: in, Command: "backstay activate --server https://backup.example --user marie"}
		},
		"activity": func(f, in web.Frame, r *http.Request) (string, web.Page) {
			return "activity", activityPage{Frame: in, Parts: []web.Link{{Key: "portal.activity.all", Href: "/activity", Active: true}, {Key: "portal.activity.data", Href: "/activity?show=data"}}, Rows: []event{
				{At: sampleNow, Who: "marie", What: "Opening of own files", Device: hostile, IP: "192.0.2.7", Own: true, Outcome: web.State{Colour: "green", Text: "Done"}},
				{At: sampleNow, Who: "marie", What: "Downloaded files as an archive", Files: []string{"/home/marie/" + strings.Repeat("very-long-name-", 14), "/home/marie/été.ods"}, Snapshot: "9f2c41d07ab3e865", Href: "/devices/1/9f2c41d07ab3e865", Own: true, Outcome: web.State{Colour: "green", Text: "Done"}},
				{At: sampleNow, Who: hostile, What: "An administrator opened a snapshot", Admin: true, Outcome: web.State{Colour: "red", Text: "Denied"}},
			}}
		},
		"activity-none": func(f, in web.Frame, r *http.Request) (string, web.Page) { return "activity", activityPage{Frame: in} },
		"device":        func(f, in web.Frame, r *http.Request) (string, web.Page) { return "device", sampleDevice(in, r) },
		"device-none": func(f, in web.Frame, r *http.Request) (string, web.Page) {
			return "device", devicePage{Frame: in, Device: sampleDevices()[1]}
		},
		"folder-empty": func(f, in web.Frame, r *http.Request) (string, web.Page) {
			p := sampleDevice(in, r)
			p.Folder.Entries = nil
			return "device", p
		},
	}
	mux := http.NewServeMux()
	for name, make := range samples {
		names = append(names, name)
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			in := site.Frame(w, r)
			in.Title, in.Nav, in.Who = "Title", nav, "marie"
			out := site.Frame(w, r).Card()
			out.Title = "Title"
			template, page := make(out, in, r)
			site.Render(w, r, http.StatusOK, template, page)
		})
	}
	return site.Handler(mux), names
}

// Every page renders in both languages, whatever the names are, without
// anything inline and without a key left in place of its text.
func TestPagesRender(t *testing.T) {
	t.Parallel()
	h, names := sampleSite(t)
	for _, lang := range locale.Langs() {
		for _, name := range names {
			r := httptest.NewRequest(http.MethodGet, "/"+name, nil)
			r.Header.Set("Accept-Language", string(lang))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			page := w.Body.String()
			if w.Code != http.StatusOK || !strings.Contains(page, "</html>") {
				t.Errorf("%s in %s: status %d: %s", name, lang, w.Code, page)
			}
			for _, bad := range []string{" style=", "<style", " onclick=", " data-on", "<img src=x", "\u202e", "no value", "ZgotmplZ", "%!"} {
				if strings.Contains(page, bad) {
					t.Errorf("%s in %s holds %q", name, lang, bad)
				}
			}
		}
	}
}

func TestCalendar(t *testing.T) {
	p := locale.For(locale.English)
	at := func(month time.Month, day, hour int) time.Time {
		return time.Date(2026, month, day, hour, 0, 0, 0, time.UTC)
	}
	c := makeCalendar(p, []moment{
		{time: at(8, 30, 9), href: "aug"},
		{time: at(9, 1, 8), href: "a", partial: true},
		{time: at(9, 30, 8), href: "b", partial: true},
		{time: at(9, 30, 9), href: "c"},
		{time: at(10, 2, 9), href: "oct"},
		{time: at(10, 3, 9), href: "later"},
	}, at(9, 30, 9))
	if c.Month != "September 2026" || c.Previous != "aug" || c.Next != "oct" {
		t.Errorf("month %q, previous %q, next %q", c.Month, c.Previous, c.Next)
	}
	if len(c.Weeks) != 5 {
		t.Fatalf("%d weeks, want 5", len(c.Weeks))
	}
	// 1 September 2026 is a Tuesday, the 30th a Wednesday.
	if got, want := c.Weeks[0][1], (day{Day: 1, Href: "a", Title: "1 snapshot", Partial: true}); got != want {
		t.Errorf("first day %+v, want %+v", got, want)
	}
	if got, want := c.Weeks[4][2], (day{Day: 30, Href: "c", Title: "2 snapshots", Chosen: true}); got != want {
		t.Errorf("last day %+v, want %+v", got, want)
	}
	if got := c.Weeks[0][0].Day + c.Weeks[4][3].Day; got != 0 {
		t.Errorf("days outside the month are drawn")
	}
}
