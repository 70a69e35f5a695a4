package browser_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/web/webtest"
)

// upload chooses a file of rows on the page for an import.
func upload(b *webtest.Browser, rows string) {
	webtest.Eval[bool](b, fmt.Sprintf(`(() => {
		const chosen = new DataTransfer();
		chosen.items.add(new File([%q], 'users.csv', {type: 'text/csv'}));
		document.querySelector('input[type=file]').files = chosen.files;
		return true;
	})()`, rows))
}

// Thousands of users from a file: checked first, then made while their page shows
// how far it is, comes again by itself, and can be left.
func TestImport(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	b := webtest.Open(t)
	b.Go(s.URL + "/admin/users/import")
	b.Type("admin\t" + servertest.AdminPassword)
	b.Submit("\r")
	var rows strings.Builder
	rows.WriteString("username,email,first_name,profile\n")
	for n := range 2000 {
		fmt.Fprintf(&rows, "u%d,,User %d,\n", n, n)
	}
	rows.WriteString("late,not an address,,\ncarl,,,No such profile\nuser,,,\n")
	upload(b, rows.String())
	b.Follow("form[enctype] .btn-primary")
	want(t, b, "checked", "2,000 users can be made", "1 is there already", "2 rows cannot be imported", "No such profile", "Download failed rows")
	checked := b.URL()
	admin := &person{t: t, s: s, http: s.Client()}
	admin.get("/admin/login", http.StatusOK)
	admin.post("/admin/login", map[string][]string{"username": {"admin"}, "password": {servertest.AdminPassword}}, http.StatusSeeOther)
	answer, table := admin.get(strings.TrimPrefix(checked, s.URL)+"/failed", http.StatusOK)
	if got := string(table); !strings.Contains(got, "late,not an address") || !strings.Contains(got, "No such profile") || strings.Contains(got, "u1,") {
		t.Errorf("the failed rows are %q", got)
	}
	if got := answer.Header.Get("Content-Disposition"); !strings.HasPrefix(got, "attachment") {
		t.Errorf("the failed rows come as %q", got)
	}
	b.Follow(`form[action^="/admin/imports/"] button`)
	want(t, b, "running", "of 2,003 rows done", "You can leave this page")
	b.Shot(pictures, "console-import-running")
	b.Go(s.URL + "/admin/users/import")
	want(t, b, "found again", "of 2,003 rows done")
	b.Follow(`a[href^="/admin/imports/"]`)
	for range 1800 { // nobody touches it
		if strings.Contains(b.Text(), "2,000 users have been made") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	want(t, b, "done", "2,000 users have been made", "2 rows cannot be imported", "Show the users")
}
