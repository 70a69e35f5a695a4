package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/tokens"
	"github.com/backstay/backstay/wire"
)

// The addresses of the API for administrators' programs.
const (
	Prefix      = "/api/v1/"
	OpenAPIPath = "/api/openapi.json"
)

// tokenScheme is what the document calls the tokens.
const tokenScheme = "token"

// administration mounts the API for programs of administrators, and the document
// that describes it, which is made of the same types.
func (a *API) administration() {
	a.huma = humago.New(tokenMux{a}, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			// The version is the API's own: what runs here, strangers do not learn.
			Info: &huma.Info{Title: "Backstay", Version: "1", Description: "What administrators' programs may ask of a Backstay server. " +
				"Make a token in the console under Settings > API tokens, and send it as `Authorization: Bearer`."},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{tokenScheme: {Type: "http", Scheme: "bearer", Description: "An API token, `" + tokens.Prefix + "…`."}},
			},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
	})
	a.deviceMap()
	a.huma.OpenAPI().AddOperation(versionOperation())
	a.table = append(a.table, access.Route{Pattern: "GET " + OpenAPIPath, Guard: access.Anyone})
	a.mux.HandleFunc("GET "+OpenAPIPath, a.document)
}

func (a *API) document(w http.ResponseWriter, r *http.Request) {
	if err := answer(w, http.StatusOK, a.huma.OpenAPI()); err != nil {
		a.fail(w, r, err)
	}
}

func versionOperation() *huma.Operation {
	text := &huma.Schema{Type: huma.TypeInteger}
	return &huma.Operation{OperationID: "get-version", Method: http.MethodGet, Path: VersionPath, Tags: []string{"Server"},
		Summary: "Which build the server is", Security: []map[string][]string{{tokenScheme: {}}},
		Responses: map[string]*huma.Response{"200": {Description: "The build", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{
			Type: huma.TypeObject, Properties: map[string]*huma.Schema{"version": text, "release": text, "build": {Type: huma.TypeString}}}}}}}}
}

// tokenMux mounts operations behind the look for a token: there is no other way
// to mount one.
type tokenMux struct{ a *API }

func (m tokenMux) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.a.mux.ServeHTTP(w, r) }

func (m tokenMux) HandleFunc(pattern string, next func(http.ResponseWriter, *http.Request)) {
	m.a.table = append(m.a.table, access.Route{Pattern: pattern, Guard: access.ByToken})
	m.a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		by, err := m.a.program(w, r)
		if err != nil {
			m.a.fail(w, r, err)
			return
		}
		r = r.WithContext(access.WithCaller(r.Context(), by))
		next(w, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, exchange{m.a, r})))
	})
}

// program is who shows a token, as often as it may ask.
func (a *API) program(w http.ResponseWriter, r *http.Request) (access.Caller, error) {
	from := access.CallerOf(r.Context())
	if bearer(r) == "" {
		return from, errs.New(errs.Unauthenticated, "token.none")
	}
	by, err := tokens.Verify(r.Context(), a.DB, bearer(r), from)
	if errs.KindOf(err) == errs.Unauthenticated {
		failure, record := a.Gate.WrongToken(r.Context(), by, err)
		if record {
			failure = &refusal{failure, by, access.Login, "api-token/" + by.Token}
		}
		return by, failure
	}
	if err != nil {
		return by, err
	}
	return by, a.asked.admit(w.Header(), a.DB.Now(), by)
}

// exchange is what a failure needs to be said, which operations do not see.
type exchange struct {
	a *API
	r *http.Request
}

type exchangeKey struct{}

// What Huma refuses itself, a message that does not have the form that the
// document promises, is said as everything else is. It has one way of saying for
// all APIs of a program.
func init() {
	huma.NewError = func(int, string, ...error) huma.StatusError { return &problem{} } // for the document
	huma.NewErrorWithContext = func(ctx huma.Context, status int, _ string, wrong ...error) huma.StatusError {
		x, _ := ctx.Context().Value(exchangeKey{}).(exchange)
		return x.a.malformed(x.r, status, wrong)
	}
}

// malformed is the failure of a message whose form is wrong.
func (a *API) malformed(r *http.Request, status int, wrong []error) *problem {
	var details []string
	for _, err := range wrong {
		if err != nil {
			details = append(details, err.Error())
		}
	}
	e := errs.New(errs.Invalid, "request.form", "details", strings.Join(details, "; "))
	switch status {
	case http.StatusRequestEntityTooLarge:
		e = errs.New(errs.TooLarge, "request.size")
	case http.StatusUnsupportedMediaType, http.StatusNotAcceptable:
		e = errs.New(errs.Invalid, "request.type")
	}
	return a.problem(r, e)
}

// The failures of operations, as Huma answers them.
func (p *problem) Error() string             { return p.Detail }
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) GetHeaders() http.Header   { return p.header }
func (p *problem) ContentType(string) string { return wire.MediaTypeProblem }

// MarshalJSON writes the failure.
func (p *problem) MarshalJSON() ([]byte, error) { return json.Marshal(p.Problem) }

// Schema is the failure in the document.
func (p *problem) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[wire.Problem](), true, "Problem")
}

// operate mounts an operation: its scope is what a token needs, and stands in the
// document; what the caller may do is asked beside the data.
func operate[In, Out any](a *API, scope string, op huma.Operation, do func(context.Context, access.Caller, *In) (*Out, error)) {
	op.Security = []map[string][]string{{tokenScheme: {}}}
	op.Description = strings.TrimSpace(op.Description + "\n\nScope: `" + scope + "`.")
	op.MaxBodyBytes = wire.MaxJSON
	huma.Register(a.huma, op, func(ctx context.Context, in *In) (*Out, error) {
		by := access.CallerOf(ctx)
		out, err := do(ctx, by, in)
		if err == nil {
			return out, nil
		}
		if !errors.As(err, new(*refusal)) {
			err = &refusal{err, by, "", ""}
		}
		x := ctx.Value(exchangeKey{}).(exchange)
		if p := a.problem(x.r, err); p != nil {
			return nil, p
		}
		return nil, ctx.Err()
	})
}

// tag is the ETag of what is shown.
func tag(shown any) (string, error) {
	text, err := json.Marshal(shown)
	if err != nil {
		return "", fmt.Errorf("naming a version: %w", err)
	}
	sum := sha256.Sum256(text)
	return `"` + hex.EncodeToString(sum[:12]) + `"`, nil
}

// fresh refuses to change what is not any more what If-Match says that the caller
// saw; without the header whoever changes it last is right.
func fresh(ifMatch, now string) error {
	seen := strings.FieldsFunc(ifMatch, func(r rune) bool { return r == ',' || r == ' ' })
	if len(seen) == 0 || slices.Contains(seen, now) || slices.Contains(seen, "*") {
		return nil
	}
	return errs.New(errs.Stale, "request.stale")
}
