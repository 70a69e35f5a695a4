package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/tokens"
	"github.com/backstay/backstay/wire"
)

// program is one that uses the API with a token.
type program struct {
	h     *host
	ip    string
	token string
}

// account makes one of the host's organisation.
func (h *host) account(n accounts.New) accounts.User {
	h.t.Helper()
	var u accounts.User
	n.Org = h.org.ID
	hash, err := h.Gate.Hasher.Hash(h.t.Context(), password)
	if err == nil {
		n.PasswordHash = hash
		err = h.DB.Write(h.t.Context(), func(tx *db.Tx) (err error) {
			u, err = accounts.Create(h.t.Context(), tx, access.System("test"), h.Keys, n)
			return err
		})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return u
}

// program is one with a token for scopes that an administrator made.
func (h *host) program(maker accounts.User, scopes ...string) program {
	h.t.Helper()
	p := program{h: h, ip: "192.0.2.7"}
	err := h.DB.Write(h.t.Context(), func(tx *db.Tx) (err error) {
		_, p.token, err = tokens.Create(h.t.Context(), tx, maker.Caller(access.Caller{}), maker.Org, "Inventory", scopes, tokens.DefaultLife)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// asks sends a request: header are pairs of name and value.
func (p program) asks(method, path string, body any, header ...string) *httptest.ResponseRecorder {
	p.h.t.Helper()
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			p.h.t.Fatal(err)
		}
		text = bytes.NewReader(b)
	}
	r := httptest.NewRequest(method, path, text)
	r.Header.Set("Authorization", "Bearer "+p.token)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, r.WithContext(access.WithCaller(r.Context(), access.Caller{IP: p.ip, RequestID: "R1"})))
	return w
}

// says reads an answer of a status into v.
func says[T any](t *testing.T, w *httptest.ResponseRecorder, status int) (v T) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("%d %s, want %d", w.Code, w.Body, status)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	return v
}

// wants is the failure of an answer.
func wants(t *testing.T, what string, w *httptest.ResponseRecorder, status int, key string) {
	t.Helper()
	var p wire.Problem
	err := json.Unmarshal(w.Body.Bytes(), &p)
	if err != nil || w.Code != status || p.Status != status || p.Key != key || p.RequestID != "R1" || p.Detail == "" || w.Header().Get("Content-Type") != wire.MediaTypeProblem {
		t.Errorf("%s: %d %s, want %d %s as a problem", what, w.Code, w.Body, status, key)
	}
}

func mapped(email, id string) map[string]any {
	return map[string]any{"email": email, "device_id": id, "id_type": "uuid"}
}

const mapScope = access.MapWrite

// A row of the device map is added, read, changed and deleted by a program.
func TestDeviceMapByProgram(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.account(accounts.New{Kind: access.UserKind, Username: "una", Email: "una@example.org"})
	p := h.program(h.account(accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "ada"}), mapScope)

	row := mapped("una@example.org", " 4C4C-1 ")
	row["expires"] = "2099-12-31"
	w := p.asks("POST", deviceMapPath, row)
	made := says[MapEntry](t, w, http.StatusCreated)
	if made.Email != "una" || made.DeviceID != "4c4c-1" || made.Expires != "2099-12-31" || made.CreatedBy != "Inventory" {
		t.Errorf("added: %+v", made)
	}
	at, etag := w.Header().Get("Location"), w.Header().Get("ETag")
	w = p.asks("GET", at, nil)
	if got := says[MapEntry](t, w, http.StatusOK); got != made || w.Header().Get("ETag") != etag || etag == "" {
		t.Errorf("read: %+v, %s, want %+v, %s", got, w.Header().Get("ETag"), made, etag)
	}
	row["username"] = "una"
	w = p.asks("PUT", at, row, "If-Match", etag)
	if got := says[MapEntry](t, w, http.StatusOK); got.Username != "una" || w.Header().Get("ETag") == etag {
		t.Errorf("changed: %+v, %s", got, w.Header().Get("ETag"))
	}
	// Two who have looked do not overwrite each other.
	wants(t, "changed by who did not see that", p.asks("PUT", at, row, "If-Match", etag), http.StatusPreconditionFailed, "request.stale")
	wants(t, "deleted by who did not see that", p.asks("DELETE", at, nil, "If-Match", etag), http.StatusPreconditionFailed, "request.stale")
	if w := p.asks("DELETE", at, nil, "If-Match", `"other", `+w.Header().Get("ETag")); w.Code != http.StatusNoContent || w.Body.Len() != 0 {
		t.Errorf("deleted: %d %s", w.Code, w.Body)
	}
	wants(t, "read when it is gone", p.asks("GET", at, nil), http.StatusNotFound, "access.not.found")

	// The rules are those of the console and of files.
	says[MapEntry](t, p.asks("POST", deviceMapPath, mapped("una", "c-100")), http.StatusCreated)
	for what, c := range map[string]struct {
		body   any
		status int
		key    string
	}{
		"nobody":                        {mapped("nobody", "c-101"), http.StatusNotFound, "deploy.map.user"},
		"the same computer":             {mapped("una", "C-100"), http.StatusConflict, "deploy.map.taken"},
		"no id":                         {mapped("una", ""), http.StatusBadRequest, "deploy.map.id"},
		"another type":                  {map[string]any{"email": "una", "device_id": "c-102", "id_type": "mac"}, http.StatusBadRequest, "deploy.map.type"},
		"a day that is over":            {map[string]any{"email": "una", "device_id": "c-102", "id_type": "uuid", "expires": "2001-01-01"}, http.StatusBadRequest, "deploy.map.expires"},
		"a number for a text":           {map[string]any{"email": 7}, http.StatusBadRequest, "request.form"},
		"no user at all":                {map[string]any{"device_id": "c-102"}, http.StatusBadRequest, "request.form"},
		"something that is not a field": {map[string]any{"email": "una", "device_id": "c-102", "owner": "una"}, http.StatusBadRequest, "request.form"},
	} {
		wants(t, what, p.asks("POST", deviceMapPath, c.body), c.status, c.key)
	}
	wants(t, "no JSON", p.asks("POST", deviceMapPath, "x", "Content-Type", "text/plain"), http.StatusBadRequest, "request.type")
	wants(t, "no number", p.asks("GET", deviceMapPath+"/x", nil), http.StatusBadRequest, "request.form")
	if w := p.asks("POST", deviceMapPath, mapped("nobody", "c-101"), "Accept-Language", "fr"); !strings.Contains(w.Body.String(), "Personne") {
		t.Errorf("in French: %s", w.Body)
	}

	// All of it stands in the audit, as the token's doing.
	for _, r := range h.audit(t, access.ManageMap) {
		if r.ActorKind != access.TokenKind || r.ActorName != "Inventory" || r.ActorID == "" || r.IP != p.ip || r.RequestID != "R1" || strings.Contains(fmt.Sprint(r), p.token) {
			t.Errorf("the audit has %+v", r)
		}
	}
	if n := len(h.audit(t, access.ManageMap)); n != 4 {
		t.Errorf("%d rows of the audit, want 4: added, changed, deleted, added", n)
	}
}

func (h *host) audit(t *testing.T, a access.Action) (rows []audit.Row) {
	t.Helper()
	err := h.DB.Read(t.Context(), func(tx *db.Tx) (err error) {
		rows, err = audit.List(t.Context(), tx, access.System("test"), audit.Filter{Org: h.org.ID, Action: a, Limit: 100})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// A list comes in pages, none of which has a row twice or leaves one out that was
// there all the time.
func TestDeviceMapInPages(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.account(accounts.New{Kind: access.UserKind, Username: "una"})
	p := h.program(h.account(accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "ada"}), access.MapRead, mapScope)
	type page struct {
		Items      []MapEntry `json:"items"`
		Total      int        `json:"total"`
		NextCursor string     `json:"next_cursor"`
	}
	if w := p.asks("GET", deviceMapPath, nil); !strings.Contains(w.Body.String(), `"items":[]`) {
		t.Errorf("an empty map: %s", w.Body)
	}
	var want, got []string
	for n := range 5 {
		id := fmt.Sprintf("c-10%d", n)
		says[MapEntry](t, p.asks("POST", deviceMapPath, mapped("una", id)), http.StatusCreated)
		want = append([]string{id}, want...)
	}
	for cursor := ""; ; {
		list := says[page](t, p.asks("GET", deviceMapPath+"?limit=2&cursor="+cursor, nil), http.StatusOK)
		for _, row := range list.Items {
			got = append(got, row.DeviceID)
		}
		if cursor == "" { // one more comes, in front of what was read
			says[MapEntry](t, p.asks("POST", deviceMapPath, mapped("una", "c-200")), http.StatusCreated)
		}
		if cursor = list.NextCursor; cursor == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("in pages: %v, want %v", got, want)
	}
	if list := says[page](t, p.asks("GET", deviceMapPath+"?cursor=9000000000000000000", nil), http.StatusOK); len(list.Items) != 6 {
		t.Errorf("from a row on that there never was: %+v", list)
	}
	for _, query := range []string{"?cursor=x", "?cursor=-1", "?cursor=0"} {
		wants(t, query, p.asks("GET", deviceMapPath+query, nil), http.StatusBadRequest, "request.cursor")
	}
	for _, query := range []string{"?limit=0", "?limit=1001", "?limit=many"} {
		wants(t, query, p.asks("GET", deviceMapPath+query, nil), http.StatusBadRequest, "request.form")
	}
}

// A request that is sent again because its answer was lost adds no second row.
func TestDeviceMapOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.account(accounts.New{Kind: access.UserKind, Username: "una"})
	ada := h.account(accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "ada"})
	p, other := h.program(ada, mapScope), h.program(ada, mapScope)
	wants(t, "what fails", p.asks("POST", deviceMapPath, mapped("nobody", "c-100"), "Idempotency-Key", "k1"), http.StatusNotFound, "deploy.map.user")
	first := p.asks("POST", deviceMapPath, mapped("una", "c-100"), "Idempotency-Key", "k1")
	made := says[MapEntry](t, first, http.StatusCreated)
	again := p.asks("POST", deviceMapPath, mapped("una", "c-100"), "Idempotency-Key", "k1")
	if got := says[MapEntry](t, again, http.StatusCreated); got != made || again.Header().Get("ETag") != first.Header().Get("ETag") || again.Header().Get("Location") != first.Header().Get("Location") {
		t.Errorf("again: %+v %v, want %+v %v", got, again.Header(), made, first.Header())
	}
	wants(t, "another request", p.asks("POST", deviceMapPath, mapped("una", "c-101"), "Idempotency-Key", "k1"), http.StatusConflict, "token.once.other")
	wants(t, "another token's", other.asks("POST", deviceMapPath, mapped("una", "c-100"), "Idempotency-Key", "k1"), http.StatusConflict, "deploy.map.taken")
	h.shift.Add(int64(25 * time.Hour))
	wants(t, "the day after", p.asks("POST", deviceMapPath, mapped("una", "c-100"), "Idempotency-Key", "k1"), http.StatusConflict, "deploy.map.taken")
}

// A token lets nobody in for longer, for more or from elsewhere than it says.
func TestTokensOfPrograms(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.account(accounts.New{Kind: access.UserKind, Username: "una"})
	ada := h.account(accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "ada"})
	p := h.program(ada, mapScope)
	reader := h.program(ada, access.MapRead)
	write := func(do func(tx *db.Tx) error) {
		t.Helper()
		if err := h.DB.Write(t.Context(), do); err != nil {
			t.Fatal(err)
		}
	}
	list := func(token string, header ...string) *httptest.ResponseRecorder {
		return program{h, "192.0.2.8", token}.asks("GET", deviceMapPath, nil, header...)
	}
	if w := list(p.token); w.Code != http.StatusOK || w.Header().Get("RateLimit-Limit") != "600" || w.Header().Get("RateLimit-Remaining") != "599" || w.Header().Get("RateLimit-Reset") == "" {
		t.Errorf("a good token: %d %v", w.Code, w.Header())
	}
	wants(t, "no token", list("", "Authorization", ""), http.StatusUnauthorized, "token.none")
	wants(t, "a password", list("", "Authorization", "Basic YWRhOng="), http.StatusUnauthorized, "token.none")
	for _, wrong := range []string{"x", p.token[:len(p.token)-1], p.token + "x", p.token[:len(p.token)-1] + "!", tokens.Prefix + strings.Repeat("0", 12) + p.token[len(tokens.Prefix)+12:], "bsu_" + p.token} {
		w := list(wrong)
		wants(t, "a wrong token", w, http.StatusUnauthorized, "token.wrong")
		if w.Header().Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("a wrong token: %v", w.Header())
		}
	}
	wants(t, "a token that reads, to write", reader.asks("POST", deviceMapPath, mapped("una", "c-100")), http.StatusForbidden, "access.denied")
	denied := h.audit(t, access.ManageMap)
	if len(denied) != 1 || denied[0].Outcome != audit.Refuse || denied[0].ActorKind != access.TokenKind {
		t.Errorf("the audit of what was refused: %+v", denied)
	}

	// Rights that the maker loses, the token loses, and gets them again with them.
	role := func(r access.Role) {
		write(func(tx *db.Tx) error {
			_, err := tx.Exec(t.Context(), "UPDATE users SET role = $2 WHERE id = $1", ada.ID, r)
			return err
		})
	}
	role(access.Viewer)
	wants(t, "a viewer's token", list(p.token), http.StatusForbidden, "access.denied")
	role(access.OrgAdmin)
	if w := list(p.token); w.Code != http.StatusOK {
		t.Errorf("again an administrator's token: %d %s", w.Code, w.Body)
	}
	state := func(s accounts.State) {
		write(func(tx *db.Tx) error {
			_, err := tx.Exec(t.Context(), "UPDATE users SET state = $2 WHERE id = $1", ada.ID, s)
			return err
		})
	}
	state(accounts.Disabled)
	wants(t, "the token of somebody who is disabled", list(p.token), http.StatusUnauthorized, "token.stopped")
	state(accounts.Active)
	write(func(tx *db.Tx) error {
		id, _, _ := strings.Cut(strings.TrimPrefix(reader.token, tokens.Prefix), ".")
		return tokens.Revoke(t.Context(), tx, ada.Caller(access.Caller{}), id)
	})
	wants(t, "a revoked token", list(reader.token), http.StatusUnauthorized, "token.revoked")
	h.shift.Add(int64(tokens.DefaultLife + time.Hour))
	wants(t, "an expired token", list(p.token), http.StatusUnauthorized, "token.expired")
	var refused []string
	for _, r := range h.audit(t, access.Login) {
		if r.Outcome == audit.Refuse && r.ActorKind == access.TokenKind {
			refused = append(refused, r.ObjectKind+" "+r.ActorName)
		}
	}
	if want := []string{"api-token Inventory", "api-token Inventory", "api-token Inventory"}; !slices.Equal(refused, want) {
		t.Errorf("the audit of tokens that are good no more: %v, want %v", refused, want)
	}
}

// Wrong tokens are answered for a while, and then turned away, which keeps nobody
// out who has a good one.
func TestManyWrongTokens(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := h.program(h.account(accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "ada"}), access.MapRead)
	wrong := program{h, p.ip, strings.Replace(p.token, tokens.Prefix, tokens.Prefix+"0", 1)[:len(p.token)]}
	for range 20 {
		wants(t, "a wrong token", wrong.asks("GET", deviceMapPath, nil), http.StatusUnauthorized, "token.wrong")
	}
	w := wrong.asks("GET", deviceMapPath, nil)
	wants(t, "one more", w, http.StatusTooManyRequests, "error.E1104")
	if w.Header().Get("Retry-After") == "" {
		t.Error("nobody is told when to come again")
	}
	if w := p.asks("GET", deviceMapPath, nil); w.Code != http.StatusOK {
		t.Errorf("a good token from there: %d %s", w.Code, w.Body)
	}
}

// A program that asks too often is told when it may again, and no other with it.
func TestAskedTooOften(t *testing.T) {
	t.Parallel()
	var c asked
	now := time.Date(2026, 11, 23, 12, 0, 20, 0, time.UTC)
	one, two := access.Caller{Token: "one", IP: "192.0.2.1"}, access.Caller{Token: "two", IP: "192.0.2.1"}
	for n := range askedByToken {
		if err := c.admit(http.Header{}, now, one); err != nil {
			t.Fatalf("request %d: %v", n, err)
		}
	}
	header := http.Header{}
	if err := c.admit(header, now, one); !errs.Is(err, errs.TooManyAttempts) || header.Get("RateLimit-Remaining") != "0" || header.Get("RateLimit-Reset") != "41" {
		t.Errorf("one more: %v, %v", err, header)
	}
	for range askedByAddress - askedByToken - 1 {
		if err := c.admit(header, now, two); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.admit(header, now, two); !errs.Is(err, errs.TooManyAttempts) || header.Get("RateLimit-Limit") != "1200" {
		t.Errorf("one more from the address: %v, %v", err, header)
	}
	if err := c.admit(header, now.Add(40*time.Second), one); err != nil || header.Get("RateLimit-Remaining") != "599" {
		t.Errorf("in the next minute: %v, %v", err, header)
	}
}

// The document has the routes that there are, and no others.
func TestDocumentAndRoutes(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := program{h: h}.asks("GET", OpenAPIPath, nil, "Authorization", "")
	doc := says[struct {
		OpenAPI string                               `json:"openapi"`
		Paths   map[string]map[string]map[string]any `json:"paths"`
	}](t, w, http.StatusOK)
	var described, mounted []string
	for path, methods := range doc.Paths {
		for method, op := range methods {
			described = append(described, strings.ToUpper(method)+" "+path)
			if op["operationId"] == "" || op["summary"] == "" || op["security"] == nil {
				t.Errorf("%s %s is not described: %v", method, path, op)
			}
		}
	}
	for _, r := range h.Routes() {
		if strings.Contains(r.Pattern, " "+Prefix) {
			mounted = append(mounted, r.Pattern)
		}
	}
	slices.Sort(described)
	slices.Sort(mounted)
	if !slices.Equal(described, mounted) || doc.OpenAPI != "3.1.0" {
		t.Errorf("the document %s has %q, mounted are %q", doc.OpenAPI, described, mounted)
	}
	if strings.Contains(w.Body.String(), "$schema") {
		t.Error("answers have a field $schema")
	}
}

// What the document says of a row is what a file has for columns.
func TestRowsAndColumns(t *testing.T) {
	t.Parallel()
	columns := MapValues{}.columns()
	for _, name := range deploy.MapColumns() {
		if _, ok := columns[name]; !ok {
			t.Errorf("a row says nothing of %s", name)
		}
	}
	if len(columns) != len(deploy.MapColumns()) {
		t.Errorf("a row has %v, a file %v", columns, deploy.MapColumns())
	}
}
