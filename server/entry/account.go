package entry

import (
	"net/http"

	"github.com/backstay/backstay/web"
)

func (d *Door) accountRoutes() {
	d.Handle("GET /account", d.you)
}

// section is the frame of a page of Account.
func (d *Door) section(w http.ResponseWriter, r *http.Request, v *Visit) section {
	s := section{Frame: d.Portal.Frame(w, r, v)}
	s.Title = s.Printer().T("nav.account")
	for _, l := range []web.Link{
		{Key: "account.you", Href: d.Base + "/account", Icon: "user-circle"},
	} {
		l.Active = r.URL.Path == l.Href
		s.Sections = append(s.Sections, l)
	}
	return s
}

func (d *Door) you(w http.ResponseWriter, r *http.Request, v *Visit) {
	page := youPage{section: d.section(w, r, v), Username: v.User.Username, Email: v.User.Email}
	if name := v.User.Name(); name != v.User.Username {
		page.FullName = name
	}
	d.Site.Render(w, r, http.StatusOK, "account", page)
}
