package wire_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"crypto/tls"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// BenchmarkPut sends packs of 32 MiB to a server that only reads them, on
// HTTP/1.1 as the client does, and on HTTP/2.
func BenchmarkPut(b *testing.B) {
	for _, two := range []bool{false, true} {
		b.Run(fmt.Sprintf("http2=%v", two), func(b *testing.B) {
			mux := device(nil)
			mux.HandleFunc("PUT /agent/v1/sessions/s/packs/p", func(w http.ResponseWriter, r *http.Request) {
				io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, make([]byte, 256<<10))
				answer(w, wire.PutAnswer{Records: 1})
			})
			s := httptest.NewUnstartedServer(mux)
			cert := leaf(b, authority{}, "127.0.0.1", time.Now().Add(time.Hour))
			s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
			s.EnableHTTP2 = two
			s.StartTLS()
			defer s.Close()
			c, err := wire.New(wire.Config{
				Server: s.URL, Fingerprint: wire.Fingerprint(cert.Leaf), DeviceID: "device",
				Sign: func(challenge []byte) ([]byte, error) { return append([]byte("signed "), challenge...), nil },
			})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			c.SetHTTP2(two)
			pack := make([]byte, 32<<20)
			b.SetBytes(int64(len(pack)))
			for b.Loop() {
				if _, err := c.Put(context.Background(), "s", "p", backup.ClassData, 0, wiretest.Body(pack), nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
