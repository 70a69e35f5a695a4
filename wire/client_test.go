package wire_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

var discard = log.New(io.Discard, "", 0)

// serve starts a TLS server; without a certificate it makes itself one.
func serve(t *testing.T, h http.Handler, cert ...tls.Certificate) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	if len(cert) == 0 {
		cert = append(cert, leaf(t, authority{}, "127.0.0.1", time.Now().Add(time.Hour)))
	}
	s.TLS = &tls.Config{Certificates: cert}
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// client makes a device's client that pins s, with a token that is taken for
// good.
func client(t *testing.T, s *httptest.Server, change ...func(*wire.Config)) *wire.Client {
	t.Helper()
	cfg := wire.Config{
		Server: s.URL, Fingerprint: wire.Fingerprint(s.TLS.Certificates[0].Leaf), DeviceID: "device",
		Sign: func(challenge []byte) ([]byte, error) { return append([]byte("signed "), challenge...), nil },
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := wire.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set(wire.HeaderVersion, "0.1")
	json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, p wire.Problem) {
	w.Header().Set("Content-Type", wire.MediaTypeProblem)
	w.Header().Set(wire.HeaderVersion, "0.1")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(p)
}

// device answers the calls every device makes; it counts the tokens given.
func device(tokens *atomic.Int64) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /agent/v1/challenge", func(w http.ResponseWriter, r *http.Request) {
		answer(w, wire.Challenge{Challenge: []byte("c")})
	})
	mux.HandleFunc("POST /agent/v1/token", func(w http.ResponseWriter, r *http.Request) {
		var in wire.TokenRequest
		json.NewDecoder(r.Body).Decode(&in)
		if string(in.Signature) != "signed c" {
			refuse(w, 401, wire.Problem{Key: "token.refused"})
			return
		}
		n := int64(1)
		if tokens != nil {
			n = tokens.Add(1)
		}
		answer(w, wire.Token{Token: fmt.Sprint("bsa_", n), ExpiresAt: time.Now().Add(15 * time.Minute)})
	})
	return mux
}

func hello(w http.ResponseWriter, r *http.Request) {
	answer(w, wire.Hello{Version: "0.1", MinClient: "0.1"})
}

func TestHelloFailures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		h    http.HandlerFunc
		want errs.Code
	}{
		{"another web site", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }, errs.CannotConnect},
		{"another API", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "{}") }, errs.CannotConnect},
		{"not found", http.NotFound, errs.CannotConnect},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }, errs.CannotConnect},
		{"clock", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			hello(w, r)
		}, errs.ClockSkew},
		{"newer server", func(w http.ResponseWriter, r *http.Request) {
			answer(w, wire.Hello{Version: "9.0", MinClient: "8.0"})
		}, errs.ClientTooOld},
		{"version gate", func(w http.ResponseWriter, r *http.Request) {
			refuse(w, 426, wire.Problem{Code: "E1005", Data: map[string]any{"v": "8.0"}})
		}, errs.ClientTooOld},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := client(t, serve(t, test.h)).Hello(context.Background()); !errs.Is(err, test.want) {
				t.Errorf("Hello = %v, want %s", err, test.want)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := serve(t, http.HandlerFunc(hello))
	c := client(t, s)
	s.Close()
	if _, err := c.Hello(context.Background()); !errs.Is(err, errs.CannotConnect) {
		t.Errorf("Hello = %v, want E1001", err)
	}
}

func TestParseServer(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"backup.example":              "https://backup.example",
		"https://backup.example/":     "https://backup.example",
		"https://b.example:8443/x/":   "https://b.example:8443/x",
		"https://Bücher.example:8443": "https://xn--bcher-kva.example:8443",
		"http://backup.example":       "",
		"":                            "",
		"https://":                    "",
		"https://u:p@b.example":       "",
		"https://b.example/?q=1":      "",
		"ftp://b.example":             "",
		"https://b.example:port":      "",
	} {
		got, err := wire.ParseServer(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ParseServer(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestTokenIsKeptAndRenewed(t *testing.T) {
	t.Parallel()
	var tokens atomic.Int64
	mux := device(&tokens)
	var valid atomic.Value
	valid.Store("Bearer bsa_1")
	mux.HandleFunc("GET /agent/v1/profile", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != valid.Load() {
			refuse(w, 401, wire.Problem{Key: "token.refused"})
			return
		}
		answer(w, wire.Profile{Version: 3})
	})
	now := time.Now()
	c := client(t, serve(t, mux), func(cfg *wire.Config) { cfg.Now = func() time.Time { return now } })
	profile := func(want int64) {
		t.Helper()
		if _, _, err := c.Profile(context.Background(), 0); err != nil {
			t.Fatalf("Profile = %v", err)
		}
		if got := tokens.Load(); got != want {
			t.Errorf("%d tokens fetched, want %d", got, want)
		}
	}
	profile(1)
	profile(1)
	valid.Store("Bearer bsa_2") // the server has forgotten the first
	profile(2)
	valid.Store("Bearer none")
	if _, _, err := c.Profile(context.Background(), 0); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("Profile = %v, want a refusal", err)
	}
	if got := tokens.Load(); got != 3 {
		t.Errorf("%d tokens fetched, want 3: one new token for one refusal", got)
	}
	valid.Store("Bearer bsa_4")
	profile(4)
	now = now.Add(14 * time.Minute) // less than renewAhead is left; the clock may not drift over 5 minutes
	_, _, err := c.Profile(context.Background(), 0)
	if !errs.Is(err, errs.ClockSkew) {
		t.Errorf("Profile = %v, want E1004, from the attempt to renew", err)
	}
}

func TestDeactivatedDevice(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.Handle("POST /agent/v1/challenge", device(nil))
	mux.HandleFunc("POST /agent/v1/token", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, 403, wire.Problem{Code: "E1208"})
	})
	c := client(t, serve(t, mux))
	if _, err := c.OpenSession(context.Background(), "set"); !errs.Is(err, errs.DeviceDeactivated) {
		t.Errorf("OpenSession = %v, want E1208", err)
	}
}

func TestRepeatsWhatMayPass(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fail  http.HandlerFunc
		calls int64 // 2 when it is tried again
	}{
		{"busy", func(w http.ResponseWriter, r *http.Request) {
			refuse(w, 503, wire.Problem{Code: "E1402", Data: map[string]any{"n": 10}})
		}, 2},
		{"busy for long", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "600")
			refuse(w, 503, wire.Problem{Code: "E1402", Data: map[string]any{"n": 10}})
		}, 1},
		{"cut", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, 2},
		{"cut in the answer", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
			panic(http.ErrAbortHandler)
		}, 2},
		{"proxy trouble", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(502) }, 2},
		{"refused", func(w http.ResponseWriter, r *http.Request) { refuse(w, 507, wire.Problem{Code: "E1601"}) }, 1},
		{"our defect", func(w http.ResponseWriter, r *http.Request) { refuse(w, 500, wire.Problem{}) }, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			mux := device(nil)
			mux.HandleFunc("GET /agent/v1/snapshots", func(w http.ResponseWriter, r *http.Request) {
				if calls.Add(1) == 1 {
					test.fail(w, r)
					return
				}
				answer(w, wire.Snapshots{})
			})
			s := serve(t, mux)
			s.Config.ErrorLog = discard
			_, err := client(t, s).Snapshots(context.Background())
			if got := calls.Load(); got != test.calls || (err == nil) != (test.calls == 2) {
				t.Errorf("%d calls, %v; want %d", got, err, test.calls)
			}
		})
	}
}

func TestPasswordIsSentOnce(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	mux := device(nil)
	mux.HandleFunc("POST /agent/v1/user-token", func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		refuse(w, 429, wire.Problem{Code: "E1104", Data: map[string]any{"n": 7, "at": "2026-11-23T12:00:00Z", "year": "2026"}})
	})
	_, err := client(t, serve(t, mux)).Login(context.Background(), "wrong", nil)
	if e := errs.Find(err); e == nil || e.Code != errs.TooManyAttempts || e.Args["n"] != int64(7) {
		t.Errorf("Login = %v, want E1104 with n 7", err)
	} else if at, ok := e.Args["at"].(time.Time); !ok || at.Day() != 23 || e.Args["year"] != "2026" {
		// An instant is shown as its reader writes days.
		t.Errorf("the values of the message are %v", e.Args)
	}
	if calls.Load() != 1 {
		t.Errorf("%d calls, want 1", calls.Load())
	}
}

// A put that was cut off is sent again with what its body has by then.
func TestPutIsSentAgain(t *testing.T) {
	t.Parallel()
	pack := make([]byte, 3<<20)
	rand.Read(pack)
	left := pack
	var got []byte
	var calls atomic.Int64
	mux := device(nil)
	mux.HandleFunc("PUT /agent/v1/sessions/s/packs/p", func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			io.CopyN(io.Discard, r.Body, 1<<20)
			panic(http.ErrAbortHandler)
		}
		got, _ = io.ReadAll(r.Body)
		if q := r.URL.Query().Get("class"); q != "metadata" {
			t.Errorf("class = %q, want metadata", q)
		}
		answer(w, wire.PutAnswer{Records: 5})
	})
	s := serve(t, mux)
	s.Config.ErrorLog = discard
	again := func(context.Context) error {
		if calls.Load() != 1 {
			t.Errorf("asked what is left after %d puts, want 1", calls.Load())
		}
		left = left[1<<20:]
		return nil
	}
	put, err := client(t, s).Put(context.Background(), "s", "p", backup.ClassMetadata, 0, func() (io.Reader, int64) { return bytes.NewReader(left), int64(len(left)) }, again)
	if err != nil || put.Records != 5 {
		t.Fatalf("Put = %v, %v", put, err)
	}
	if !bytes.Equal(got, pack[1<<20:]) {
		t.Errorf("the server got %d bytes, want the %d that were left", len(got), len(left))
	}
	calls.Store(0)
	lost := errors.New("all of it is there")
	_, err = client(t, s).Put(context.Background(), "s", "p", backup.ClassData, 0, wiretest.Body(pack), func(context.Context) error { return lost })
	if !errors.Is(err, lost) || calls.Load() != 1 {
		t.Errorf("Put = %v after %d calls, want what again said after the first", err, calls.Load())
	}
}

func TestRefusedPutIsNotSent(t *testing.T) {
	t.Parallel()
	mux := device(nil)
	mux.HandleFunc("PUT /agent/v1/sessions/s/packs/p", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, 507, wire.Problem{Code: "E1601"})
	})
	body := &countingReader{n: 64 << 20}
	_, err := client(t, serve(t, mux)).Put(context.Background(), "s", "p", backup.ClassData, 0, wiretest.Stream(body), nil)
	if !errs.Is(err, errs.StorageFull) {
		t.Errorf("Put = %v, want E1601", err)
	}
	if body.read > 0 {
		t.Errorf("%d bytes read, want none before the server agrees", body.read)
	}
}

type countingReader struct{ n, read int }

func (r *countingReader) Read(p []byte) (int, error) {
	p = p[:min(len(p), r.n)]
	r.n, r.read = r.n-len(p), r.read+len(p)
	if len(p) == 0 {
		return 0, io.EOF
	}
	return len(p), nil
}

func TestHaveAndMissing(t *testing.T) {
	t.Parallel()
	mux := device(nil)
	mux.HandleFunc("POST /agent/v1/sessions/s/have", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		out := make([]byte, len(body)/32)
		for i := range out {
			out[i] = body[32*i] & 1
		}
		w.Write(out)
	})
	mux.HandleFunc("POST /agent/v1/sessions/s/commit", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != "\x00\x00\x00\x08manifest\x00\x00\x00\x00\x00\x00\x00\x04refs" {
			t.Errorf("commit body %q", body)
		}
		refuse(w, 409, wire.Problem{Code: "E1507", Data: map[string]any{"n": 1, "missing": []string{backup.ID{1}.String()}}})
	})
	c := client(t, serve(t, mux))
	got, err := c.Have(context.Background(), "s", []backup.ID{{1}, {2}, {3}})
	if err != nil || fmt.Sprint(got) != "[true false true]" {
		t.Errorf("Have = %v, %v", got, err)
	}
	_, err = c.Commit(context.Background(), "s", []byte("manifest"), []byte("refs"), wire.Lacking{})
	if missing := wire.Missing(err); len(missing) != 1 || missing[0] != (backup.ID{1}) {
		t.Errorf("Missing(%v) = %v", err, missing)
	}
}

func record(kind backup.Kind, id backup.ID, sealed string) []byte {
	b := append([]byte{byte(kind)}, id[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(sealed)))
	return append(b, sealed...)
}

// sealed fills up to the length that an object has at least.
func sealed(s string) string { return s + strings.Repeat(".", 32-len(s)) }

func TestReadGoesOnWhereItBroke(t *testing.T) {
	t.Parallel()
	var asked [][]byte
	mux := device(nil)
	mux.HandleFunc("POST /agent/v1/read", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(wire.HeaderUserToken) != "bsu_x" {
			t.Errorf("user token %q", r.Header.Get(wire.HeaderUserToken))
		}
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, body)
		if len(asked) == 1 {
			w.Write(record(backup.Data, backup.ID{2}, sealed("two")))
			w.Write(record(backup.Data, backup.ID{1}, sealed("cut off"))[:60])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		w.Write(record(backup.Data, backup.ID{1}, sealed("one")))
		w.Write(record(backup.Missing, backup.ID{3}, ""))
	})
	s := serve(t, mux)
	s.Config.ErrorLog = discard
	var got []string
	err := client(t, s).Read(context.Background(), "bsu_x", []backup.ID{{1}, {2}, {3}}, func(kind backup.Kind, id backup.ID, sealed []byte) error {
		got = append(got, strings.TrimRight(fmt.Sprint(id[0], kind, string(sealed)), "."))
		return nil
	})
	if want := "[2 1two 1 1one 3 0]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("Read gave %v, %v, want %s", got, err, want)
	}
	if len(asked) != 2 || len(asked[1]) != 4+2*32 {
		t.Errorf("asked %d times, the second time with %d bytes; want 2 ids", len(asked), len(asked[len(asked)-1]))
	}
	stop := errors.New("stop")
	err = client(t, s).Read(context.Background(), "bsu_x", []backup.ID{{1}}, func(backup.Kind, backup.ID, []byte) error { return stop })
	if !errors.Is(err, stop) {
		t.Errorf("Read = %v, want the error of each", err)
	}
}

// A slow connection is not cut, a dead one is.
func TestDeadConnection(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		h     http.HandlerFunc
		alive bool
	}{
		{"never answers", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false},
		{"stops in the middle", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"version":`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, false},
		{"drips", func(w http.ResponseWriter, r *http.Request) {
			for _, b := range []byte(`{"version": "0.1", "min_client": "0.1"}`) {
				w.Write([]byte{b})
				w.(http.Flusher).Flush()
				time.Sleep(30 * time.Millisecond)
			}
		}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := client(t, serve(t, test.h), func(cfg *wire.Config) { cfg.Silence = 600 * time.Millisecond })
			began := time.Now()
			_, err := c.Hello(context.Background())
			if (err == nil) != test.alive {
				t.Errorf("Hello = %v, want success %v", err, test.alive)
			}
			if err != nil && !errs.Is(err, errs.CannotConnect) {
				t.Errorf("Hello = %v, want E1001", err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("noticed after %v, want about 0.6 s", took)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	c := client(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Hello(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Hello = %v, want the context's error", err)
	}
}
