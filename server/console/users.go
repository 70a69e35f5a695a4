package console

import (
	"net/http"
	"slices"
	"strings"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/web"
)

const listPart = 50

// rowOf is a user for a page, without what the devices add.
func rowOf(f web.Frame, u accounts.User, p profileItem) user {
	row := user{ID: string(u.ID), Username: u.Username, Email: u.Email, Profile: p.Name, ProfileID: p.ID,
		LastLogin: u.LastLoginAt, Created: u.CreatedAt, State: f.State("user.state.", string(u.State))}
	if u.Seat != accounts.NoSeat {
		row.Seat = f.Printer().T("user.seat." + string(u.Seat))
	}
	if name := u.Name(); name != u.Username {
		row.FullName = name
	}
	return row
}

// showable are the states that the list can be narrowed to, in their order.
var showable = []accounts.State{accounts.Active, accounts.Invited, accounts.Pending, accounts.Disabled, accounts.Preserved, accounts.Deleted}

// userFilter is what the address of the list says.
func userFilter(r *http.Request, tx *db.Tx, v *visit, page *usersPage) (accounts.Filter, error) {
	filter := accounts.Filter{Org: v.org(), Kind: access.UserKind, Search: page.Query, After: web.After(r), Limit: listPart}
	if state := accounts.State(r.FormValue("state")); slices.Contains(showable, state) {
		filter.State = state
	}
	list, err := profiles.List(r.Context(), tx, v.caller, v.org())
	if err != nil {
		return filter, err
	}
	page.Profiles = nil
	for _, p := range list {
		page.Profiles = append(page.Profiles, itemOf(p))
		if string(p.ID) == r.FormValue("profile") {
			filter.Profile, filter.Default = p.ID, p.Default
		}
	}
	page.Profile = string(filter.Profile)
	return filter, nil
}

func (c *console) users(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	page := usersPage{Frame: c.frame(w, r, v, "console.users"), Query: strings.TrimSpace(r.FormValue("q")), CanManage: v.may(access.ManageUsers)}
	err := c.DB.Read(ctx, func(tx *db.Tx) error {
		filter, err := userFilter(r, tx, v, &page)
		if err != nil {
			return err
		}
		counts, err := accounts.CountStates(ctx, tx, v.caller, filter)
		if err != nil {
			return err
		}
		page.setStates(r, filter.State, counts)
		page.Export = strings.Replace(with(r, "", ""), r.URL.Path, r.URL.Path+"/export", 1)
		list, after, err := accounts.List(ctx, tx, v.caller, filter)
		if err != nil {
			return err
		}
		page.Pages = web.PagesOf(r, len(list), page.total(), after)
		page.Users, err = userRows(r, tx, page.Frame, list, page.Profiles)
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "users", page)
}

// setStates makes the links that narrow the list to one state. One that nobody
// is in needs none.
func (page *usersPage) setStates(r *http.Request, chosen accounts.State, counts map[accounts.State]int) {
	p := page.Printer()
	all := choice{Text: p.T("users.all"), Href: with(r, "state", ""), Active: chosen == ""}
	page.States = nil
	for _, s := range showable {
		n := int64(counts[s])
		if s != accounts.Deleted {
			all.Count += n
		}
		if n == 0 && s != chosen {
			continue
		}
		page.States = append(page.States, choice{Text: p.T("user.state." + string(s)), Href: with(r, "state", string(s)), Count: n, Active: s == chosen})
	}
	page.States = slices.Insert(page.States, 0, all)
	page.Filtered = page.Query != "" || page.Profile != "" || chosen != ""
}

// total is how many users the chosen state has.
func (page *usersPage) total() int64 {
	for _, s := range page.States {
		if s.Active {
			return s.Count
		}
	}
	return 0
}

// with is the address of a list with one thing changed, from its beginning.
func with(r *http.Request, name, value string) string {
	q := r.URL.Query()
	q.Del("after")
	q.Del(name)
	if value != "" {
		q.Set(name, value)
	}
	if len(q) == 0 {
		return r.URL.Path
	}
	return r.URL.Path + "?" + q.Encode()
}

// userRows are users with their profiles and what their devices add up to.
func userRows(r *http.Request, tx *db.Tx, f web.Frame, list []accounts.User, all []profileItem) ([]user, error) {
	var ids []accounts.ID
	for _, u := range list {
		ids = append(ids, u.ID)
	}
	if len(ids) == 0 {
		return nil, nil
	}
	sums, err := devices.Summaries(r.Context(), tx, ids)
	if err != nil {
		return nil, err
	}
	quotas, err := devices.QuotasOfUsers(r.Context(), tx, list)
	if err != nil {
		return nil, err
	}
	failures, err := mail.Failures(r.Context(), tx, ids)
	if err != nil {
		return nil, err
	}
	var rows []user
	for _, u := range list {
		row := rowOf(f, u, profileOf(u, all))
		if e := failures[u.ID]; e != nil {
			row.MailFailed = f.Printer().Error(e)
		}
		row.Quota = quotaOf(f.Printer(), quotas[u.ID])
		row.Devices, row.LastBackup = int64(sums[u.ID].Devices), sums[u.ID].LastBackupAt
		rows = append(rows, row)
	}
	return rows, nil
}

// profileOf is the profile that a user has, among all of the organisation.
func profileOf(u accounts.User, all []profileItem) profileItem {
	for _, p := range all {
		if p.ID == string(u.Profile) || u.Profile == "" && p.Default {
			return p
		}
	}
	return profileItem{}
}
