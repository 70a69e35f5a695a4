// Package errs holds the failures Backstay expects: each has a kind, which
// decides the HTTP status, and a message key, which locale turns into the
// reader's language at the edge. Failures that the product's error table names
// also carry their stable code, E1001 and so on. Every other error is ours to
// mend: it is logged, and its text is never shown to anyone.
package errs

import (
	"errors"
	"fmt"
	"net/http"
)

// Kind says what sort of failure an Error is.
type Kind int

// The kinds, and the HTTP status that each becomes.
const (
	Internal        Kind = iota // 500, not expected
	Invalid                     // 400, the request is malformed or breaks a rule
	Unauthenticated             // 401, nobody is logged in, or the secret is wrong
	NoSeat                      // 402, the licence has no free seat
	Forbidden                   // 403, known, but not allowed
	NotFound                    // 404, absent, or not the caller's to see
	Conflict                    // 409, the state has moved on
	Gone                        // 410, used or expired
	TooLarge                    // 413, over a limit on size
	Locked                      // 423, held or quarantined
	UpgradeRequired             // 426, the client is too old
	TooMany                     // 429, throttled
	Unavailable                 // 503, busy, try again
	NoSpace                     // 507, the store or a quota is full
	Local                       // not HTTP: a failure on this computer
	Stale                       // 412, changed since whoever changes it looked
)

var status = map[Kind]int{
	Internal: http.StatusInternalServerError, Invalid: http.StatusBadRequest,
	Unauthenticated: http.StatusUnauthorized, NoSeat: http.StatusPaymentRequired,
	Forbidden: http.StatusForbidden, NotFound: http.StatusNotFound,
	Conflict: http.StatusConflict, Gone: http.StatusGone,
	TooLarge: http.StatusRequestEntityTooLarge, Locked: http.StatusLocked,
	UpgradeRequired: http.StatusUpgradeRequired, TooMany: http.StatusTooManyRequests,
	Unavailable: http.StatusServiceUnavailable, NoSpace: http.StatusInsufficientStorage,
	Local: http.StatusInternalServerError, Stale: http.StatusPreconditionFailed,
}

// Error is an expected failure.
type Error struct {
	Kind Kind
	Code Code           // the product table's code, or ""
	Key  string         // message key in locale
	Args map[string]any // values for the message's placeholders
	Err  error          // the cause, or nil; for logs, never shown by the server
}

// New makes an expected failure without a product code. Args are pairs of a
// placeholder's name and its value.
func New(kind Kind, key string, args ...any) *Error {
	return &Error{Kind: kind, Key: key, Args: pairs(args)}
}

// Of makes the failure that the product's table names by code.
func Of(code Code, args ...any) *Error {
	e := &Error{Kind: kinds[code], Code: code, Args: pairs(args)}
	e.Key = text(e)
	return e
}

// Because returns e with its cause set.
func (e *Error) Because(cause error) *Error {
	e.Err = cause
	return e
}

func pairs(args []any) map[string]any {
	if len(args) == 0 {
		return nil
	}
	m := make(map[string]any, len(args)/2)
	for i := 0; i+1 < len(args); i += 2 {
		m[args[i].(string)] = args[i+1]
	}
	return m
}

// Error is for logs and tests; people read the translated message.
func (e *Error) Error() string {
	s := e.Key
	if len(e.Args) > 0 {
		s += fmt.Sprint(" ", e.Args)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Message is what locale needs to say e in the reader's language.
func (e *Error) Message() (key string, args map[string]any) { return e.Key, e.Args }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Find returns the expected failure in err's chain, or nil when err is
// something we did not expect.
func Find(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Is reports whether err's chain holds a failure with this code.
func Is(err error, code Code) bool {
	e := Find(err)
	return e != nil && e.Code == code
}

// KindOf returns the kind of err, Internal for anything not expected.
func KindOf(err error) Kind {
	if e := Find(err); e != nil {
		return e.Kind
	}
	return Internal
}

// Status returns the HTTP status for err.
func Status(err error) int { return status[KindOf(err)] }

// RetryAfter is how many seconds whoever met err should wait before they ask
// again, 0 when that is not said.
func RetryAfter(err error) int {
	e := Find(err)
	if e == nil {
		return 0
	}
	n, _ := e.Int("n")
	switch {
	case e.Code == TooManyAttempts:
		return max(n, 1)
	case e.Code == ServerBusy:
		if seconds, ok := e.Int("seconds"); ok {
			return seconds
		}
		return 60 * max(n, 1)
	case e.Key == "snapshot.flood":
		return 3600
	case e.Key == "device.waiting":
		return 60
	case e.Kind == TooMany, e.Kind == Unavailable:
		return 10
	}
	return 0
}
