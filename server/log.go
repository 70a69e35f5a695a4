package server

import (
	"context"
	"log/slog"

	"github.com/backstay/backstay/server/access"
)

// withCaller adds to each line who caused it: the request, the login session,
// the account and the device, as far as the line's context knows them. Names
// and addresses of people stay out; the audit has them.
type withCaller struct{ slog.Handler }

// Handle adds what the line does not say itself.
func (h withCaller) Handle(ctx context.Context, r slog.Record) error {
	by := access.CallerOf(ctx)
	said := map[string]bool{}
	r.Attrs(func(a slog.Attr) bool {
		said[a.Key] = true
		return true
	})
	for _, id := range []struct{ key, value string }{
		{"request", by.RequestID}, {"session", by.Session}, {"user", string(by.User)}, {"device", string(by.Device)},
	} {
		if id.value != "" && !said[id.key] {
			r.AddAttrs(slog.String(id.key, id.value))
		}
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the callers.
func (h withCaller) WithAttrs(attrs []slog.Attr) slog.Handler {
	return withCaller{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the callers.
func (h withCaller) WithGroup(name string) slog.Handler { return withCaller{h.Handler.WithGroup(name)} }
