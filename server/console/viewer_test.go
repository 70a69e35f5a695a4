package console_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
)

var (
	hrefs = regexp.MustCompile(`href="(/admin[^"#]*)"`)
	forms = regexp.MustCompile(`(?s)<form[^>]*method="post"[^>]*>.*?</form>`)
	sends = regexp.MustCompile(`(?:form)?action="(/admin[^"]*)"`)
)

// Whoever may only look is shown nothing to press that is refused then: no link
// and no form on any page that can be reached.
func TestViewersAreShownNoForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Mail()
	user := w.NewUser("una")
	device := w.NewDevice(user, "LAPTOP")
	admin := w.as("admin")
	admin.done(admin.post("/admin/settings/licences/new", "name", "Main", "seats", "5", "preserved", "1"))
	for name, state := range map[string]accounts.State{"dis": accounts.Disabled, "pre": accounts.Preserved, "del": accounts.Deleted} {
		w.state(w.NewUser(name), state)
	}
	w.NewDevice(w.find("una"), "DESKTOP")
	viewer := w.as("viewer")
	at := "/admin/users/" + string(user.ID)
	seen := []string{"/admin/"}
	for i := 0; i < len(seen); i++ {
		p := viewer.get(seen[i])
		if p.status != http.StatusOK {
			if p.status >= 400 {
				t.Errorf("a page leads the viewer to %s, which is %d", seen[i], p.status)
			}
			continue
		}
		for _, form := range forms.FindAllString(p.body, -1) {
			if !strings.Contains(form, "<button") || strings.Contains(form, `/logout"`) || strings.Contains(form, "/preferences") {
				continue
			}
			for _, to := range sends.FindAllStringSubmatch(form, -1) {
				if strings.HasPrefix(to[1], "/admin/account") {
					continue // their own
				}
				t.Errorf("%s shows the viewer a form for %s", seen[i], to[1])
			}
		}
		for _, link := range hrefs.FindAllStringSubmatch(p.body, -1) {
			to := strings.ReplaceAll(link[1], "&amp;", "&")
			if path, _, _ := strings.Cut(to, "?"); !slices.Contains(seen, to) && !strings.HasPrefix(path, "/admin/account") && len(seen) < 200 {
				seen = append(seen, to)
			}
		}
	}
	if !slices.Contains(seen, at) || !slices.Contains(seen, "/admin/devices/"+device.DeviceID) {
		t.Errorf("the walk came to %d pages alone: %v", len(seen), seen)
	}
	// The pages that only ask what to do are not there for them.
	for _, path := range []string{"/admin/users/new", "/admin/users/import", at + "/edit", at + "/disable", at + "/preserve", at + "/delete", at + "/profile",
		at + "/licence", at + "/factors", "/admin/devices/" + device.DeviceID + "/deactivate", "/admin/devices/" + device.DeviceID + "/delete", "/admin/settings/administrators/new", "/admin/settings/licences/new"} {
		if p := viewer.get(path); p.status != http.StatusForbidden && p.status != http.StatusNotFound {
			t.Errorf("%s answers the viewer %d", path, p.status)
		}
	}
}

func (w *world) state(u accounts.User, to accounts.State) {
	w.t.Helper()
	if err := w.DB.Write(w.t.Context(), func(tx *db.Tx) error {
		return accounts.SetState(w.t.Context(), tx, access.System("test"), u.ID, to, "for the test")
	}); err != nil {
		w.t.Fatal(err)
	}
}
