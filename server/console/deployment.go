package console

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/web"
)

const deployment = "/admin/deployment"

func (c *console) deploymentRoutes(mux *entry.Mux) {
	mux.HandleFunc("GET "+deployment, c.admin(c.deployTokens))
	mux.HandleFunc("POST "+deployment+"/first-only", c.admin(c.setFirstOnly))
	mux.HandleFunc("GET "+deployment+"/new", c.admin(c.newDeployToken))
	mux.HandleFunc("POST "+deployment+"/new", c.admin(c.createDeployToken))
	mux.HandleFunc("POST "+deployment+"/installer", c.admin(c.installer))
	mux.HandleFunc("GET "+deployment+"/tokens/{token}", c.admin(c.deployToken))
	mux.HandleFunc("GET "+deployment+"/tokens/{token}/revoke", c.admin(c.askRevokeToken))
	mux.HandleFunc("POST "+deployment+"/tokens/{token}/revoke", c.admin(c.revokeToken))
	mux.HandleFunc("POST "+deployment+"/tokens/{token}/release/{device}", c.admin(c.releaseDevice))
	mux.HandleFunc("GET "+deployment+"/approvals", c.admin(c.deployApprovals))
	mux.HandleFunc("POST "+deployment+"/approvals", c.admin(c.decideDevices))
	mux.HandleFunc("GET "+deployment+"/knocking", c.admin(c.deployKnocks))
	mux.HandleFunc("GET "+deployment+"/rollout", c.admin(c.rollout))
	mux.HandleFunc("GET "+deployment+"/rollout/laggards", c.admin(c.laggards))
	c.mapRoutes(mux)
}

// deployFrame is the frame of a page of Deployment, titled by key.
func (c *console) deployFrame(w http.ResponseWriter, r *http.Request, v *visit, key string, args ...any) deployFrame {
	f := deployFrame{Frame: c.frame(w, r, v, key, args...)}
	for _, t := range []struct{ name, icon string }{{"", "ticket"}, {"/map", "link"}, {"/approvals", "circle-check"}, {"/knocking", "hourglass"}, {"/rollout", "list"}} {
		href := deployment + t.name
		name := strings.TrimPrefix(t.name, "/")
		if name == "" {
			name = "tokens"
		}
		f.Sections = append(f.Sections, web.Link{Key: "deploy.page." + name, Href: href, Icon: t.icon,
			Active: r.URL.Path == href || strings.HasPrefix(r.URL.Path, href+"/") && t.name != "" || t.name == "" && (strings.HasPrefix(r.URL.Path, deployment+"/tokens/") || r.URL.Path == deployment+"/new")})
	}
	return f
}

func (c *console) deployTokens(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	page := deployPage{deployFrame: c.deployFrame(w, r, v, "console.deployment")}
	err := c.DB.Read(ctx, func(tx *db.Tx) (err error) {
		page.Tokens = nil
		list, err := deploy.List(ctx, tx, v.caller, v.org())
		if err != nil {
			return err
		}
		for _, t := range list {
			page.Tokens = append(page.Tokens, tokenRow(page.Frame, t))
		}
		if page.FirstOnly, err = deploy.FirstDeviceOnly(ctx, tx, v.org()); err != nil {
			return err
		}
		page.Blocked, err = deploy.KeptOut(ctx, tx, v.caller, v.org())
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "deployment", page)
}

func tokenRow(f web.Frame, t deploy.Token) tokenItem {
	colours := map[deploy.State]string{deploy.Active: "green", deploy.Expired: "secondary", deploy.Revoked: "red", deploy.UsedUp: "secondary"}
	state := t.State(f.Now())
	return tokenItem{Token: t, Href: deployment + "/tokens/" + t.ID, Shown: t.Shown(), State: web.State{Colour: colours[state], Text: f.Printer().T("deploy.state." + string(state))},
		Works: state == deploy.Active}
}

func (c *console) setFirstOnly(w http.ResponseWriter, r *http.Request, v *visit) {
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
		return deploy.SetFirstDeviceOnly(r.Context(), tx, v.caller, v.org(), checked(r, "first_only"))
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Done(w, r, deployment, web.Flash{Key: "form.saved"})
}

func (c *console) newDeployToken(w http.ResponseWriter, r *http.Request, v *visit) {
	if err := audit.See(v.caller, access.Deploy, v.org(), "", "deploy-tokens"); err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	if c.fresh(w, r, v) {
		c.showNewToken(w, r, v, http.StatusOK, newTokenPage{Days: int(deploy.DefaultLife / (24 * time.Hour)), Approve: true, Prompt: true}, nil)
	}
}

// tokenFields are the fields that the keys of what is wrong with a token name.
var tokenFields = map[string]string{"deploy.name.": "name", "deploy.life.": "days", "deploy.uses.": "uses", "deploy.networks.": "networks",
	"deploy.hosts.": "hosts", "deploy.domains.": "domains", "profile.": "profile"}

func (c *console) showNewToken(w http.ResponseWriter, r *http.Request, v *visit, status int, page newTokenPage, failure error) {
	page.deployFrame = c.deployFrame(w, r, v, "deploy.new")
	if failure != nil && !refused(&page.Form, page.Printer(), failure, tokenFields) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		page.Profiles, err = profileOptions(r.Context(), tx, v, page.Printer().T("deploy.profile.default"))
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	page.Systems = nil
	for _, s := range deploy.Systems() {
		page.Systems = append(page.Systems, systemItem{s, web.System(s, "", ""), slices.Contains(page.Chosen, s)})
	}
	c.site.Render(w, r, status, "deploy-new", page)
}

// createDeployToken makes a token, and shows it this once with the lines that
// bring it to computers.
func (c *console) createDeployToken(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	page := newTokenPage{Name: r.PostFormValue("name"), Days: number(r, "days"), Hours: r.PostFormValue("unit") == "hours", Forever: checked(r, "forever"), Uses: number(r, "uses"),
		Networks: r.PostFormValue("networks"), Hosts: r.PostFormValue("hosts"), Domains: r.PostFormValue("domains"), Profile: r.PostFormValue("profile"),
		Approve: checked(r, "approve"), CreateUsers: checked(r, "create_users"), Prompt: checked(r, "prompt"), Chosen: r.PostForm["systems"]}
	if strings.TrimSpace(r.PostFormValue("uses")) == "" {
		page.Uses = 0
	}
	made := madeTokenPage{}
	err := c.DB.Write(ctx, func(tx *db.Tx) error {
		if err := c.checkFresh(ctx, tx, v); err != nil {
			return err
		}
		t, secret, err := deploy.Create(ctx, tx, v.caller, v.org(), deploy.Rules{Name: page.Name, Profile: access.ProfileID(page.Profile),
			Networks: lines(page.Networks), Systems: page.Chosen, Hosts: lines(page.Hosts), MaxUses: int64(page.Uses), Approve: page.Approve,
			CreateUsers: page.CreateUsers, Domains: lines(page.Domains), Prompt: page.Prompt}, page.life())
		made.Token, made.Secret = t, secret
		return err
	})
	if err != nil {
		c.showNewToken(w, r, v, web.Status(w, err), page, err)
		return
	}
	made.deployFrame = c.deployFrame(w, r, v, "deploy.made", "name", web.Visible(made.Token.Name))
	made.Frame = made.Frame.Secret()
	made.Folder = c.Clients.Dir
	made.Clients, err = c.Clients.List()
	if err == nil {
		made.Installers, err = c.Clients.Installers()
	}
	if err != nil {
		c.Log.Error("the folder of clients cannot be read", "error", err)
	}
	made.Lines = readyLines(c.source(made.Secret), made.Clients)
	c.site.Render(w, r, http.StatusCreated, "deploy-made", made)
}

func (c *console) source(token string) deploy.Source {
	return deploy.Source{Server: c.Gate.URL(), Fingerprint: c.Fingerprint, Token: token}
}

// installer sends a script that installs a client and enrols the computer by the
// token, which whoever asks has to know.
func (c *console) installer(w http.ResponseWriter, r *http.Request, v *visit) {
	name, token := r.PostFormValue("name"), r.PostFormValue("token")
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
		_, err := deploy.Prove(r.Context(), tx, v.caller, v.org(), token, name)
		return err
	})
	var text string
	if err == nil {
		text, err = c.Clients.Installer(name, c.source(token))
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	web.SetDownloadHeaders(w.Header(), name)
	io.WriteString(w, text)
}

// life is how long the token is to live, 0 for without end.
func (page newTokenPage) life() time.Duration {
	if page.Forever {
		return 0
	}
	return lifeOf(page.Days, page.Hours, deploy.MaxLife)
}

// lifeOf is how long a token of a form is to live, in days or hours; what is no
// life of a token stays none.
func lifeOf(n int, hours bool, longest time.Duration) time.Duration {
	unit := 24 * time.Hour
	if hours {
		unit = time.Hour
	}
	if n < 1 || n > int(longest/unit) {
		return -1
	}
	return time.Duration(n) * unit
}

func (c *console) deployToken(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	page := tokenPage{deployFrame: c.deployFrame(w, r, v, "console.deployment")}
	err := c.DB.Read(ctx, func(tx *db.Tx) error {
		t, err := deploy.View(ctx, tx, v.caller, r.PathValue("token"))
		if err != nil {
			return err
		}
		page.Title, page.Token, page.Quarantined = web.Visible(t.Name), tokenRow(page.Frame, t), nil
		if t.Profile != "" {
			p, err := profiles.Find(ctx, tx, t.Profile)
			if err != nil {
				return err
			}
			page.Profile = p.Name
		}
		for _, s := range t.Systems {
			page.Systems = append(page.Systems, web.System(s, "", ""))
		}
		list, held, err := deploy.Quarantined(ctx, tx, v.caller, t, quarantinedShown)
		if err != nil {
			return err
		}
		page.Held = held
		if page.Quarantined, err = deviceRows(ctx, tx, page.Frame, list); err != nil {
			return err
		}
		page.describe(t)
		enrolled, err := deploy.Rollout(ctx, tx, v.caller, t.Org, t.ID, tx.Now().AddDate(0, 0, -rolloutDays))
		page.Stages = nil
		if len(enrolled) > 0 {
			page.Stages, _ = stagesOf(page.Printer(), enrolled)
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "deploy-token", page)
}

// quarantinedShown is how many devices in quarantine a token's page lists.
const quarantinedShown = 200

// describe says a token's figures, and in sentences whom it lets in and what
// becomes of them.
func (page *tokenPage) describe(t deploy.Token) {
	p := page.Printer()
	ends := p.T("deploy.forever")
	if !t.ExpiresAt.IsZero() {
		ends = p.Date(t.ExpiresAt.In(page.Zone()))
	}
	used := "–"
	if !t.LastUsedAt.IsZero() {
		used = p.Time(t.LastUsedAt.In(page.Zone()), page.Now())
	}
	page.Figures = []count{{Icon: "devices", Text: p.T("deploy.uses"), Value: page.Token.Limit(p)}, {Icon: "clock", Text: p.T("deploy.last_used"), Value: used},
		{Icon: "ban", Text: p.T("deploy.failures"), Value: p.Number(t.Failures)}, {Icon: "hourglass", Text: p.T("deploy.expires"), Value: ends}}
	if t.Failures > 0 {
		page.Figures[2].Href = deployment + "/knocking"
	}
	page.Rules = nil
	say := func(sign, icon, key string, args ...any) {
		page.Rules = append(page.Rules, web.Sign{Sign: sign, Icon: icon, Text: p.T("deploy.rule."+key, args...)})
	}
	bounded := func(key, icon string, list []string) {
		if len(list) == 0 {
			say("idle", icon, key+".any")
			return
		}
		say("good", icon, key, "list", web.Visible(strings.Join(list, ", ")))
	}
	bounded("systems", "device-laptop", page.Systems)
	bounded("networks", "world", t.Networks)
	bounded("hosts", "filter", t.Hosts)
	if t.Approve {
		say("good", "circle-check", "approve")
	} else {
		say("warn", "alert-triangle", "approve.not")
	}
	if t.CreateUsers {
		say("good", "user-plus", "users", "list", web.Visible(strings.Join(t.Domains, ", ")))
	} else {
		say("idle", "user-off", "users.not")
	}
	if page.Profile != "" {
		say("good", "adjustments", "profile", "profile", web.Visible(page.Profile))
	}
	if t.Prompt {
		say("idle", "user-question", "ask")
	} else {
		say("idle", "user-x", "ask.not")
	}
}

func (c *console) askRevokeToken(w http.ResponseWriter, r *http.Request, v *visit) {
	if c.fresh(w, r, v) {
		c.showRevokeToken(w, r, v, http.StatusOK, nil)
	}
}

func (c *console) showRevokeToken(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	ctx := r.Context()
	page := revokePage{}
	err := c.DB.Read(ctx, func(tx *db.Tx) error {
		t, err := deploy.View(ctx, tx, v.caller, r.PathValue("token"))
		if err != nil {
			return err
		}
		page.deployFrame = c.deployFrame(w, r, v, "deploy.revoke.title", "name", web.Visible(t.Name))
		page.Token, page.Since = tokenRow(page.Frame, t), t.CreatedAt.In(page.Zone()).Format(minute)
		list, err := devices.OfToken(ctx, tx, t.ID, devices.Active, time.Time{})
		page.Devices = int64(len(list))
		return err
	})
	if err == nil && failure != nil && !refused(&page.Form, page.Printer(), failure, map[string]string{"deploy.since.": "since"}) {
		err = failure
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "deploy-revoke", page)
}

// revokeToken ends a token, and with it, if that is wanted, what it brought.
func (c *console) revokeToken(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx, id := r.Context(), r.PathValue("token")
	note := web.Flash{Key: "deploy.revoked"}
	since, wrong := sinceOf(r.PostFormValue("since"), c.site.Frame(w, r).Zone())
	quarantine := r.PostFormValue("what") == "quarantine"
	err := c.DB.Write(ctx, func(tx *db.Tx) error {
		if err := c.checkFresh(ctx, tx, v); err != nil {
			return err
		}
		if !quarantine {
			return deploy.Revoke(ctx, tx, v.caller, id)
		}
		if wrong != nil {
			return errs.New(errs.Invalid, "deploy.since.invalid")
		}
		return nil
	})
	if err == nil && quarantine {
		var n int
		n, err = deploy.Quarantine(ctx, c.DB, v.caller, id, since)
		note = web.Flash{Key: "deploy.quarantined", Args: []any{"n", n}}
	}
	if err != nil {
		c.showRevokeToken(w, r, v, web.Status(w, err), err)
		return
	}
	c.site.Done(w, r, deployment+"/tokens/"+url.PathEscape(id), note)
}

// minute is a time as browsers write it.
const minute = "2006-01-02T15:04"

// sinceOf reads a time, or a day that begins then.
func sinceOf(text string, there *time.Location) (time.Time, error) {
	if at, err := time.ParseInLocation(minute, text, there); err == nil {
		return at, nil
	}
	return time.ParseInLocation(day, text, there)
}

func (c *console) releaseDevice(w http.ResponseWriter, r *http.Request, v *visit) {
	id := r.PathValue("token")
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
		return deploy.Release(r.Context(), tx, v.caller, id, devices.ID(r.PathValue("device")))
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Done(w, r, deployment+"/tokens/"+url.PathEscape(id), web.Flash{Key: "deploy.released"})
}

// tokenOptions are the tokens to choose from in a filter.
func tokenOptions(ctx context.Context, tx *db.Tx, v *visit, p *locale.Printer) ([]option, error) {
	list, err := deploy.List(ctx, tx, v.caller, v.org())
	options := []option{{"", p.T("deploy.tokens.all")}}
	for _, t := range list {
		options = append(options, option{t.ID, web.Visible(t.Name)})
	}
	return options, err
}

// systemOptions are the operating systems to choose from in a filter.
func systemOptions(p *locale.Printer) []option {
	options := []option{{"", p.T("deploy.systems.all")}}
	for _, s := range deploy.Systems() {
		options = append(options, option{s, web.System(s, "", "")})
	}
	return options
}

func deployFilter(r *http.Request) deploy.Filter {
	return deploy.Filter{Token: r.FormValue("token"), OS: r.FormValue("os"), Search: strings.TrimSpace(r.FormValue("q"))}
}

func (c *console) deployApprovals(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	page := approvalsPage{deployFrame: c.deployFrame(w, r, v, "deploy.page.approvals"), Filter: deployFilter(r)}
	err := c.DB.Read(ctx, func(tx *db.Tx) (err error) {
		page.Devices = nil
		if page.Tokens, err = tokenOptions(ctx, tx, v, page.Printer()); err != nil {
			return err
		}
		names := map[string]string{}
		for _, o := range page.Tokens[1:] {
			names[o.Value] = o.Text
		}
		list, total, err := deploy.Waiting(ctx, tx, v.caller, v.org(), page.Filter, approvalsShown)
		if err != nil {
			return err
		}
		page.Total = total
		rows, err := deviceRows(ctx, tx, page.Frame, list)
		for n, d := range list[:len(rows)] {
			page.Devices = append(page.Devices, waitingDevice{rows[n], names[d.Token], d.Hardware.Hostname, d.LastIP, d.CreatedAt})
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	page.Systems = systemOptions(page.Printer())
	c.site.Render(w, r, http.StatusOK, "deploy-approvals", page)
}

// approvalsShown is how many devices that wait are listed; a filter decides
// upon more.
const approvalsShown = 200

// decideDevices lets devices that wait in or refuses them: those that are
// ticked, or all that the filter chooses.
func (c *console) decideDevices(w http.ResponseWriter, r *http.Request, v *visit) {
	act := r.PostFormValue("act")
	var only []devices.ID
	for _, id := range r.PostForm["device"] {
		only = append(only, devices.ID(id))
	}
	allow := act == "approve" || act == "approve-all"
	back := deployment + "/approvals"
	if strings.HasSuffix(act, "-all") {
		only = nil
	} else if len(only) == 0 {
		c.site.Done(w, r, back, web.Flash{Key: "deploy.approvals.none.chosen", Bad: true})
		return
	}
	n, err := deploy.Decide(r.Context(), c.DB, v.caller, v.org(), deployFilter(r), only, allow)
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	key := "deploy.approvals.refused"
	if allow {
		key = "deploy.approvals.approved"
	}
	c.site.Done(w, r, back, web.Flash{Key: key, Args: []any{"n", n}})
}

func (c *console) deployKnocks(w http.ResponseWriter, r *http.Request, v *visit) {
	page := knocksPage{deployFrame: c.deployFrame(w, r, v, "deploy.page.knocking")}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		list, more, err := deploy.Knocks(r.Context(), tx, v.caller, v.org())
		page.Knocks, page.More = nil, more
		for _, k := range list {
			page.Knocks = append(page.Knocks, knockItem{Knock: k, System: web.System(k.OS, "", ""), Why: whyNot(page.Frame, k.Code)})
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "deploy-knocking", page)
}

// whyNot says why a computer was not let in.
func whyNot(f web.Frame, code string) string {
	switch code {
	case "expired", "revoked", "used", "network", "system", "host", "prompt", "request":
		return f.Printer().T("deploy.knock." + code)
	case string(errs.TooManyDevices):
		return f.Printer().T("deploy.knock.limit")
	}
	return f.Printer().Error(errs.Of(errs.Code(code)))
}

// Limit is said of a token's uses.
func (t tokenItem) Limit(p *locale.Printer) string {
	if t.MaxUses == 0 {
		return p.Number(t.Uses)
	}
	return p.Number(t.Uses) + " / " + p.Number(t.MaxUses)
}
