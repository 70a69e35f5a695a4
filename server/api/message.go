package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/wire"
)

func cut(route string) (method, path string, ok bool) { return strings.Cut(route, " ") }

// read reads a JSON body.
func read(w http.ResponseWriter, r *http.Request, into any) error {
	if !media(r, "application/json") {
		return errs.New(errs.Invalid, "request.type")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxJSON))
	if err != nil {
		return unread(err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return errs.New(errs.Invalid, "request.body").Because(err)
	}
	return nil
}

// octets is a body of bytes, at most limit.
func octets(w http.ResponseWriter, r *http.Request, limit int64) (io.Reader, error) {
	if !media(r, wire.MediaTypeOctets) {
		return nil, errs.New(errs.Invalid, "request.type")
	}
	return &limited{http.MaxBytesReader(w, r.Body, limit)}, nil
}

func media(r *http.Request, want string) bool {
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && got == want
}

// limited gives the failure of a body that is too long its kind.
type limited struct{ io.Reader }

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if errors.As(err, new(*http.MaxBytesError)) {
		err = unread(err)
	}
	return n, err
}

// unread is the failure of a body that did not arrive.
func unread(err error) error {
	switch {
	case errs.Find(err) != nil:
		return err
	case errors.As(err, new(*http.MaxBytesError)):
		return errs.New(errs.TooLarge, "request.size").Because(err)
	}
	return errs.New(errs.Invalid, "request.body").Because(err)
}

// answer writes a JSON answer.
func answer(w http.ResponseWriter, status int, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encoding an answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
	return nil
}

// refusal is a failure of a caller who is known: it is recorded under an action
// and an object, where the failure does not name its own.
type refusal struct {
	error
	by     access.Caller
	action access.Action
	object string
}

func (r *refusal) Unwrap() error { return r.error }

// fail answers with a failure: in the caller's language, with its code. What was
// not expected is logged, and its text shown to nobody. A refusal is recorded.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := a.problem(r, err)
	if p == nil {
		return // nobody is there to be answered
	}
	maps.Copy(w.Header(), p.header)
	body, err := json.Marshal(p)
	if err != nil {
		a.Log.ErrorContext(r.Context(), "encoding a failure", "request", p.RequestID, "error", err)
		p.Status, body = http.StatusInternalServerError, []byte("{}")
	}
	w.Header().Set("Content-Type", wire.MediaTypeProblem)
	w.WriteHeader(p.Status)
	w.Write(body)
}

// problem is a failure as it is answered, nil when nobody is there any more.
type problem struct {
	wire.Problem
	header http.Header
}

// problem says a failure, and logs and records it.
func (a *API) problem(r *http.Request, err error) *problem {
	id := access.CallerOf(r.Context()).RequestID
	a.record(r, err)
	expected := errs.Find(err)
	if expected == nil || errors.Is(err, durable.ErrSync) {
		if r.Context().Err() != nil {
			return nil
		}
		a.Log.ErrorContext(r.Context(), "request failed", "request", id, "call", r.Pattern, "error", err)
		if errors.Is(err, durable.ErrSync) {
			a.Fatal(err)
		}
		expected = errs.New(errs.Internal, "error.unexpected")
	}
	if expected.Kind == errs.Unavailable {
		a.Log.WarnContext(r.Context(), "request put off", "request", id, "call", r.Pattern, "error", err)
	}
	printer := locale.For(locale.Match(r.Header.Get("Accept-Language")))
	status := errs.Status(expected)
	p := &problem{header: http.Header{}, Problem: wire.Problem{
		Title: http.StatusText(status), Status: status, Detail: printer.Error(expected),
		Code: string(expected.Code), Key: expected.Key, RequestID: id, Data: data(expected),
	}}
	switch expected.Kind {
	case errs.Internal, errs.Unavailable, errs.TooMany:
		p.Retryable = true
	}
	if wait := errs.RetryAfter(expected); wait > 0 {
		p.header.Set("Retry-After", strconv.Itoa(wait))
	}
	if expected.Kind == errs.Unauthenticated {
		p.header.Set("WWW-Authenticate", "Bearer")
	}
	return p
}

// data is what a client needs to say a failure in its own language: for a
// password, a message and its values for each rule that it breaks.
func data(e *errs.Error) map[string]any {
	broken, ok := e.Args["rules"].(passwords.Broken)
	if !ok {
		return e.Args
	}
	rules := make([]wire.PasswordRule, 0, len(broken))
	for _, r := range broken {
		rules = append(rules, line(r.Wrong, append(slices.Clip(r.Args), "found", r.Found)))
	}
	return map[string]any{"rules": rules}
}

// record notes a refusal. Tokens that are of nobody are not recorded: there is
// nothing to say of them but their number, which the metrics tell.
func (a *API) record(r *http.Request, err error) {
	var known *refusal
	if !errors.As(err, &known) || errors.As(err, new(recorded)) {
		return
	}
	if err := audit.Denied(r.Context(), a.DB, known.by, known.action, known.object, err); err != nil {
		a.Log.ErrorContext(r.Context(), "could not record a refusal", "request", access.CallerOf(r.Context()).RequestID, "error", err)
	}
}
