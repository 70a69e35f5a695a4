package portal

import "net/http"

func (p *portal) account(w http.ResponseWriter, r *http.Request, v *visit) {
	page := accountPage{Frame: p.frame(w, r, v, ""), Username: v.user.Username, Email: v.user.Email}
	page.Title = page.Printer().T("nav.account")
	if name := v.user.Name(); name != v.user.Username {
		page.FullName = name
	}
	p.site.Render(w, r, http.StatusOK, "account", page)
}
