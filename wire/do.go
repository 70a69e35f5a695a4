package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
)

// auth says which token a call carries.
type auth int

const (
	noToken auth = iota
	deviceToken
)

// call is one call of the protocol.
type call struct {
	method, path string
	auth         auth
	user         string // a user token
	in           any    // a JSON body, or
	body         func() (r io.Reader, size int64)
	// again is called before the call is made again, and may change what body
	// gives. Its error ends the call.
	again func(ctx context.Context) error
	// once forbids repeating: a password that is wrong must not be counted
	// twice, and who asks for an address wants to know at once.
	once bool
	// inTurn leaves it to the caller to wait for a busy server (E1402), who tells
	// people for how long.
	inTurn bool
	// think is how long the server may be silent before it answers, added to
	// what the connection may.
	think time.Duration
	// expect asks the server for leave before the body is sent.
	expect bool
	// heavy calls keep to the limits.
	heavy heavy
}

// heavy says which way the bulk of a call goes.
type heavy int

const (
	light heavy = iota
	sends
	receives
)

// failure is how one attempt failed: whether another may help, and how long
// the server asked to wait.
type failure struct {
	err    error
	passes bool
	after  time.Duration
	status int
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// do makes a call, as often as it takes, and hands a good answer to use, which
// reads the body; the answer may come in two parts when use fails with a
// network's error and the call is repeated. An error that use wraps by lasting
// ends the call.
func (c *Client) do(ctx context.Context, req call, use func(r *http.Response, body io.Reader) error) error {
	began, renewed := c.cfg.Now(), false
	for attempt := 0; ; attempt++ {
		err := c.attempt(ctx, req, use)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var f *failure
		if !errors.As(err, &f) {
			return err
		}
		if f.status == http.StatusUnauthorized && req.auth == deviceToken && !renewed && !aboutUser(f.err) {
			// The token may have been withdrawn, or the server restored from a
			// backup: one new one, then the answer stands. E1101 is about the
			// password, which must not be counted twice.
			renewed = true
			c.forgetToken()
			continue
		}
		pause, again := c.again(req, f, attempt, c.cfg.Now().Sub(began))
		if !again {
			return f.err
		}
		c.cfg.Log.Info("trying again", "call", req.path, "attempt", attempt+1, "pause", pause, "err", f.err)
		if !Pause(ctx, pause) {
			return context.Cause(ctx)
		}
		if req.again != nil {
			if err := req.again(ctx); err != nil {
				return err
			}
		}
	}
}

// aboutUser reports whether a refusal is of the user at the device, and not of
// the device.
func aboutUser(err error) bool {
	e := errs.Find(err)
	return e != nil && (e.Code == errs.AuthFailed || strings.HasPrefix(e.Key, "login.") || strings.HasPrefix(e.Key, "factor."))
}

// again decides whether another attempt is worth it, and when: half a second,
// doubled each time up to thirty, each somewhere between half and whole, so
// that a thousand devices do not come back at the same moment.
func (c *Client) again(req call, f *failure, attempt int, passed time.Duration) (pause time.Duration, ok bool) {
	patience := c.cfg.Patience
	if !c.answered.Load() {
		patience = min(patience, 5*time.Second)
	}
	if req.once || !f.passes || req.inTurn && errs.Is(f.err, errs.ServerBusy) {
		return 0, false
	}
	pause = min(500*time.Millisecond<<min(attempt, 6), 30*time.Second)
	pause = pause/2 + rand.N(pause/2)
	pause = max(pause, f.after)
	return pause, passed+pause <= patience
}

// lastingError marks a failure of our own that no other attempt would mend.
type lastingError struct{ error }

func (e lastingError) Unwrap() error { return e.error }

func lasting(err error) error {
	if err == nil {
		return nil
	}
	return lastingError{err}
}

func (c *Client) attempt(ctx context.Context, req call, use func(*http.Response, io.Reader) error) error {
	token := ""
	if req.auth == deviceToken {
		var err error
		if token, err = c.deviceToken(ctx); err != nil {
			return err
		}
	}
	up, down := c.brakesOf(req.heavy)
	ctx, w := watchCall(ctx, c.cfg.Silence+req.think, up, down)
	defer w.stop()
	r, err := c.request(ctx, req, token, w)
	if err != nil {
		return err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return c.broken(ctx, err)
	}
	defer answer.Body.Close()
	body := w.receiving(answer.Body)
	if answer.StatusCode >= 300 && answer.StatusCode != http.StatusNotModified {
		return c.refused(answer, body)
	}
	c.answered.Store(true)
	if err := c.checkAnswer(answer); err != nil {
		return err
	}
	if use == nil {
		return nil
	}
	if err := use(answer, body); err != nil {
		var ours lastingError
		if errors.As(err, &ours) {
			return ours.error
		}
		return c.broken(ctx, err)
	}
	// Read to the end, so that the connection can be used again.
	io.Copy(io.Discard, io.LimitReader(answer.Body, 4096))
	return nil
}

func (c *Client) brakesOf(h heavy) (up, down *brake) {
	switch h {
	case sends:
		return c.up, nil
	case receives:
		return nil, c.down
	}
	return nil, nil
}

func (c *Client) request(ctx context.Context, req call, token string, w *watch) (*http.Request, error) {
	var body io.Reader
	size, media := int64(-1), MediaTypeOctets
	switch {
	case req.in != nil:
		data, err := json.Marshal(req.in)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", req.path, err)
		}
		body, size, media = bytes.NewReader(data), int64(len(data)), "application/json"
	case req.body != nil:
		body, size = req.body()
	}
	if body != nil {
		body = w.sending(body)
	}
	r, err := http.NewRequestWithContext(ctx, req.method, c.base.String()+Prefix+req.path, body)
	if err != nil {
		return nil, fmt.Errorf("making the request %s: %w", req.path, err)
	}
	header(r.Header)
	if body != nil {
		r.ContentLength = size
		r.Header.Set("Content-Type", media)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if req.user != "" {
		r.Header.Set(HeaderUserToken, req.user)
	}
	if req.expect {
		r.Header.Set("Expect", "100-continue")
	}
	return r, nil
}

// broken is a failure of the way to the server.
func (c *Client) broken(ctx context.Context, err error) error {
	if e := errs.Find(err); e != nil {
		if e.Code == errs.CannotConnect {
			return &failure{err: e, passes: true}
		}
		return e // E1002 and E1003 come up through the transport
	}
	if e := c.certError(err, c.base.Hostname()); e != nil {
		return e
	}
	if cause := context.Cause(ctx); cause != nil {
		if !errors.Is(cause, errSilent) {
			return cause
		}
		err = errSilent
	}
	return &failure{err: c.lost(err), passes: true}
}

// lost is E1001 for a connection that opened and then failed.
func (c *Client) lost(err error) error {
	step, why := StepVersion, "connection.lost"
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		step, why = StepCertificate, "certificate.none"
	}
	return stopped(step, why, fmt.Errorf("connecting to %s: %w", c.base.Host, err), "server", c.base.Host)
}

// foreign is E1001 for an answer that no Backstay server gives.
func (c *Client) foreign(cause error) error {
	return stopped(StepVersion, "version.foreign", fmt.Errorf("this is not an answer of a Backstay server: %w", cause), "server", c.base.Host)
}

// refused reads an answer that is not a good one.
func (c *Client) refused(r *http.Response, body io.Reader) error {
	f := &failure{status: r.StatusCode, after: retryAfter(r.Header, c.cfg.Now())}
	p, ok := readProblem(r, body)
	if !ok {
		// Not from our server: something in between, or a wrong address.
		f.passes = r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests
		f.err = c.foreign(errors.New(r.Status))
		return f
	}
	c.answered.Store(true)
	if r.StatusCode == http.StatusUnauthorized {
		// A clock that is wrong makes fresh tokens look expired.
		if err := c.checkAnswer(r); err != nil {
			return err
		}
	}
	f.passes = p.Retryable || r.StatusCode == http.StatusServiceUnavailable ||
		r.StatusCode == http.StatusTooManyRequests && p.Code != string(errs.TooManyAttempts)
	f.err = p.failure(r.StatusCode, f.after)
	return f
}

func readProblem(r *http.Response, body io.Reader) (p Problem, ok bool) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media != MediaTypeProblem {
		return p, false
	}
	return p, json.NewDecoder(io.LimitReader(body, MaxJSON)).Decode(&p) == nil
}

// Refusal is in the chain of every error by which the server itself said no.
type Refusal struct {
	Status    int
	Detail    string
	RequestID string        // to find it in the server's log
	After     time.Duration // for which it asked to be left alone, 0 when it did not say
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("the server answered %d: %s (request %s)", r.Status, r.Detail, r.RequestID)
}

// failure is the expected failure that the problem stands for.
func (p Problem) failure(status int, after time.Duration) error {
	cause := &Refusal{Status: status, Detail: p.Detail, RequestID: p.RequestID, After: after}
	if e, ok := errs.ByCode(p.Code, p.Data); ok {
		return e.Because(cause)
	}
	if p.Key == "" {
		return errs.New(kindOf(status), "server.refused", "detail", p.Detail).Because(cause)
	}
	return (&errs.Error{Kind: kindOf(status), Key: p.Key, Args: p.Data}).Because(cause)
}

// kindOf is the kind behind a status, for failures that carry no code.
func kindOf(status int) errs.Kind {
	for kind := errs.Invalid; kind < errs.Local; kind++ {
		if errs.Status(&errs.Error{Kind: kind}) == status {
			return kind
		}
	}
	if status >= 500 {
		return errs.Internal
	}
	return errs.Invalid
}

// retryAfter reads the Retry-After field, in seconds or as a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	s := h.Get("Retry-After")
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return time.Duration(min(n, 86_400)) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}

// json makes a call whose answer is JSON.
func (c *Client) json(ctx context.Context, req call, out any) error {
	return c.do(ctx, req, func(r *http.Response, body io.Reader) error {
		if out == nil || r.StatusCode == http.StatusNoContent {
			return nil
		}
		return c.decode(body, out)
	})
}

// decode reads a JSON answer. That it is none is lasting; that it did not arrive
// is not.
func (c *Client) decode(body io.Reader, out any) error {
	data, err := io.ReadAll(io.LimitReader(body, MaxJSON+1))
	if err != nil {
		return err
	}
	if len(data) > MaxJSON {
		return lasting(c.foreign(errors.New("it is too large")))
	}
	if err := json.Unmarshal(data, out); err != nil {
		return lasting(c.foreign(err))
	}
	return nil
}
