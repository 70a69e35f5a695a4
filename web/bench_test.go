package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkPage is what a page costs: drawn, and packed for a browser that
// takes it so.
func BenchmarkPage(b *testing.B) {
	for _, encoding := range []string{"identity", "gzip"} {
		b.Run(encoding, func(b *testing.B) {
			h := newSample(b, nil)
			r := httptest.NewRequest(http.MethodGet, "https://backup.example/", nil)
			r.Header.Set("Accept-Encoding", encoding)
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if got := w.Header().Get("Content-Encoding"); w.Code != http.StatusOK || (got == "gzip") != (encoding == "gzip") {
					b.Fatalf("GET / = %d, packed by %q", w.Code, got)
				}
			}
		})
	}
}
