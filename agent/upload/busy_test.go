//go:build unix

package upload_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/agent/upload"
	"github.com/backstay/backstay/wire"
)

// A busy server is waited for, as long as it says and a little longer, at every
// step of a backup. Nothing is read or sent twice for it, and nothing fails.
func TestBusyServer(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"/sessions", "/have", "/packs/", "/commit"} {
		f := newServer(t)
		d := newDevice(t, f)
		if call == "/have" { // which is asked when the server knows anything
			d.write("before", []byte("before"))
			d.back()
		}
		d.fill()
		settle()
		var mu sync.Mutex
		refusals := 3
		var paused []time.Duration
		var waits []int64
		f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			if !strings.Contains(r.URL.Path, call) || refusals == 0 {
				return false
			}
			refusals--
			w.Header().Set("Retry-After", "130")
			problem(w, http.StatusServiceUnavailable, wire.Problem{Code: "E1402", Key: "error.E1402", Retryable: true, Data: map[string]any{"n": 3, "seconds": 130}})
			return true
		}
		told := make(chan struct{}, 1)
		r := d.back(func(c *upload.Config) {
			c.Progress = func(p wire.Progress) {
				mu.Lock()
				defer mu.Unlock()
				waits = append(waits, p.Waits)
				if p.Waits > 0 {
					select {
					case told <- struct{}{}:
					default:
					}
				}
			}
			// It takes until the wait was told.
			c.Pause = func(ctx context.Context, wait time.Duration) bool {
				mu.Lock()
				paused = append(paused, wait)
				mu.Unlock()
				<-told
				return true
			}
		})
		mu.Lock()
		if len(paused) != 3 {
			t.Errorf("%s: it waited %d times, want 3", call, len(paused))
		}
		for _, wait := range paused {
			if wait < 130*time.Second || wait > 143*time.Second {
				t.Errorf("%s: it waited %v, want 130 s and up to a tenth more", call, wait)
			}
		}
		if last := waits[len(waits)-1]; last != 0 {
			t.Errorf("%s: after it had gone on it told of %d minutes to wait", call, last)
		}
		if r.Read != r.Totals.Bytes && call != "/have" {
			t.Errorf("%s: %d bytes were read of %d", call, r.Read, r.Totals.Bytes)
		}
		mu.Unlock()
		d.restored()
		d.honest()
	}
}

// Whoever stops a backup that waits for a busy server need not wait for it.
func TestBusyServerStopped(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.fill()
	f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/packs/") {
			return false
		}
		w.Header().Set("Retry-After", "3600")
		problem(w, http.StatusServiceUnavailable, wire.Problem{Code: "E1402", Retryable: true})
		return true
	}
	ctx, stop := context.WithCancel(t.Context())
	_, err := d.try(ctx, func(c *upload.Config) {
		c.Progress = func(p wire.Progress) {
			if p.Waits == 60 {
				stop()
			}
		}
	})
	if err != context.Canceled {
		t.Errorf("a backup that was stopped while it waited: %v", err)
	}
}
