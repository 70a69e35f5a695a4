package server

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/backstay/backstay/server/access"
)

func TestLinesSayWhoCausedThem(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(withCaller{slog.NewTextHandler(&out, nil)}).With("part", "x")
	ctx := access.WithCaller(t.Context(), access.Caller{Kind: access.UserKind, User: "u1", Session: "s1", RequestID: "r1", Name: "alice", IP: "192.0.2.1"})
	for _, c := range []struct {
		log        func()
		want, lack string
	}{
		{func() { log.InfoContext(ctx, "a") }, "part=x request=r1 session=s1 user=u1", "alice"},
		{func() { log.InfoContext(ctx, "a", "request", "other") }, "request=other session=s1", "r1"},
		{func() { log.InfoContext(t.Context(), "a") }, "part=x", "request"},
		{func() { log.Info("a") }, "part=x", "request"},
	} {
		out.Reset()
		c.log()
		if got := out.String(); !strings.Contains(got, c.want) || strings.Contains(got, c.lack) {
			t.Errorf("line %q, want %q and no %q", got, c.want, c.lack)
		}
	}
}
