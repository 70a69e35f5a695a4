package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/tokens"
	"github.com/backstay/backstay/web"
)

const atTokens = "/admin/settings/tokens"

func (c *console) tokenRoutes(mux *entry.Mux) {
	mux.HandleFunc("GET "+atTokens, c.admin(c.apiTokens))
	mux.HandleFunc("GET "+atTokens+"/new", c.admin(c.newAPIToken))
	mux.HandleFunc("POST "+atTokens+"/new", c.admin(c.createAPIToken))
	mux.HandleFunc("GET "+atTokens+"/{apitoken}/revoke", c.admin(c.askRevokeAPIToken))
	mux.HandleFunc("POST "+atTokens+"/{apitoken}/revoke", c.admin(c.revokeAPIToken))
}

type apiTokensPage struct {
	settingsFrame
	Tokens []apiTokenItem
}

type apiTokenItem struct {
	tokens.Token
	State  web.State
	Why    string // it is stopped
	Scopes []string
	Works  bool
}

type newAPITokenPage struct {
	settingsFrame
	Form   web.Form
	Name   string
	Days   int
	Hours  bool // Days counts hours
	Chosen []string
	Scopes []scopeItem
}

type scopeItem struct {
	Name, Text string
	Chosen     bool
}

type madeAPITokenPage struct {
	settingsFrame
	Token   tokens.Token
	Secret  string
	Command string // that tries it
}

func (c *console) apiTokens(w http.ResponseWriter, r *http.Request, v *visit) {
	page := apiTokensPage{settingsFrame: c.settingsFrame(w, r, v, "settings.tokens")}
	page.Buttons = []button{{Text: page.Printer().T("token.new"), Icon: "plus", Href: atTokens + "/new", Class: "btn-primary"}}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		list, err := tokens.List(r.Context(), tx, v.caller, v.org())
		page.Tokens = nil
		for _, t := range list {
			page.Tokens = append(page.Tokens, apiTokenRow(page.Frame, t))
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "settings-tokens", page)
}

func apiTokenRow(f web.Frame, t tokens.Token) apiTokenItem {
	colours := map[tokens.State]string{tokens.Active: "green", tokens.Stopped: "orange", tokens.Expired: "secondary", tokens.Revoked: "red"}
	state, p := t.State(f.Now()), f.Printer()
	x := apiTokenItem{Token: t, State: web.State{Colour: colours[state], Text: p.T("token.state." + string(state))}, Works: state == tokens.Active || state == tokens.Stopped}
	if state == tokens.Stopped {
		x.Why = p.T("token.stopped.why", "username", web.Visible(t.MakerName))
	}
	for _, name := range strings.Fields(string(t.Scopes)) {
		x.Scopes = append(x.Scopes, p.T("access.scope."+name))
	}
	return x
}

func (c *console) newAPIToken(w http.ResponseWriter, r *http.Request, v *visit) {
	if err := audit.See(v.caller, access.ManageTokens, v.org(), "", "api-tokens"); err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	if c.fresh(w, r, v) {
		c.showNewAPIToken(w, r, v, http.StatusOK, newAPITokenPage{Days: int(tokens.DefaultLife / (24 * time.Hour))}, nil)
	}
}

func (c *console) showNewAPIToken(w http.ResponseWriter, r *http.Request, v *visit, status int, page newAPITokenPage, failure error) {
	page.settingsFrame = c.settingsFrame(w, r, v, "token.new")
	fields := map[string]string{"token.name.": "name", "token.life.": "days", "token.scopes.": "scopes"}
	if failure != nil && !refused(&page.Form, page.Printer(), failure, fields) {
		c.fail(w, r, v.caller, failure)
		return
	}
	for _, name := range access.ScopeNames() {
		page.Scopes = append(page.Scopes, scopeItem{name, page.Printer().T("access.scope." + name), slices.Contains(page.Chosen, name)})
	}
	c.site.Render(w, r, status, "token-new", page)
}

// createAPIToken makes a token, and shows it this once.
func (c *console) createAPIToken(w http.ResponseWriter, r *http.Request, v *visit) {
	page := newAPITokenPage{Name: r.PostFormValue("name"), Days: number(r, "days"), Hours: r.PostFormValue("unit") == "hours", Chosen: r.PostForm["scopes"]}
	made := madeAPITokenPage{}
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err
		}
		t, secret, err := tokens.Create(r.Context(), tx, v.caller, v.org(), page.Name, page.Chosen, lifeOf(page.Days, page.Hours, tokens.MaxLife))
		made.Token, made.Secret = t, secret
		return err
	})
	if err != nil {
		c.showNewAPIToken(w, r, v, web.Status(w, err), page, err)
		return
	}
	made.settingsFrame = c.settingsFrame(w, r, v, "token.made", "name", web.Visible(made.Token.Name))
	made.Frame = made.Frame.Secret()
	made.Command = "curl -H 'Authorization: Bearer " + made.Secret + "' " + strings.TrimRight(c.Gate.Address(access.AdminKind), "/") + "/api/v1/device-map"
	c.site.Render(w, r, http.StatusCreated, "token-made", made)
}

// askRevokeAPIToken asks before a token is revoked. Nobody has to prove who they
// are for it: a token that leaked should end at once.
func (c *console) askRevokeAPIToken(w http.ResponseWriter, r *http.Request, v *visit) {
	var t tokens.Token
	err := c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		t, err = tokens.View(r.Context(), tx, v.caller, r.PathValue("apitoken"))
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	page := askPage{Frame: c.frame(w, r, v, "token.revoke.title", "name", web.Visible(t.Name)), Action: atTokens + "/" + url.PathEscape(t.ID) + "/revoke", Back: atTokens}
	page.Text, page.Button = page.Printer().T("token.revoke.text", "token", t.Shown()), page.Printer().T("token.revoke")
	c.site.Render(w, r, http.StatusOK, "ask", page)
}

func (c *console) revokeAPIToken(w http.ResponseWriter, r *http.Request, v *visit) {
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error { return tokens.Revoke(r.Context(), tx, v.caller, r.PathValue("apitoken")) })
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Done(w, r, atTokens, web.Flash{Key: "token.revoked.done"})
}
