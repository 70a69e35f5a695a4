package server

import (
	"io"
	"net/http"
	"time"
)

// How slow the other side may be. A body may take as long as it needs, since
// packs and downloads are large and lines are thin, but not stand still; one
// that is small has to be here in time, however steadily it trickles. Waiting
// for an answer, as a long poll does, is bounded by the handler alone.
const (
	stall     = time.Minute // without a byte
	smallBody = 2 * time.Minute
	leftover  = 5 * time.Second // for what a handler did not read
	renewEach = 5 * time.Second // deadlines are moved no more often than this
)

// response writes an answer, remembers what it was, and keeps a client that
// does not read from holding the handler for ever.
type response struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int // 0 until the header is written
	sent    int64
	moved   time.Time // when the write deadline was moved last
}

func newResponse(w http.ResponseWriter) *response {
	return &response{ResponseWriter: w, control: http.NewResponseController(w)}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends p in pieces, since a deadline is for the whole of a write.
func (w *response) Write(p []byte) (n int, err error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	for {
		piece := p[:min(len(p), 256<<10)]
		if now := time.Now(); now.Sub(w.moved) >= renewEach {
			w.control.SetWriteDeadline(now.Add(stall))
			w.moved = now
		}
		m, err := w.ResponseWriter.Write(piece)
		n, w.sent = n+m, w.sent+int64(m)
		if p = p[len(piece):]; err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// body reads a request's body under a deadline that moves as bytes arrive. The
// deadline is set with the first read, not before: a handler may have reasons
// to let the client wait.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	end     time.Time // for small bodies
	moved   time.Time
	ended   bool // read to its end
}

// pace puts a deadline on r's body.
func pace(control *http.ResponseController, r *http.Request) *body {
	b := &body{ReadCloser: r.Body, control: control}
	if r.Body == nil || r.Body == http.NoBody {
		b.ended = true
		return b
	}
	if r.Header.Get("Content-Type") != "application/octet-stream" {
		b.end = time.Now().Add(smallBody)
	}
	r.Body = b
	return b
}

func (b *body) Read(p []byte) (int, error) {
	if now := time.Now(); !b.ended && now.Sub(b.moved) >= renewEach {
		deadline := now.Add(stall)
		if !b.end.IsZero() && b.end.Before(deadline) {
			deadline = b.end
		}
		b.control.SetReadDeadline(deadline)
		b.moved = now
	}
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.ended = true // net/http ends the deadline with it
	}
	return n, err
}

// finish bounds the wait for what the handler left unread.
func (b *body) finish() {
	if !b.ended {
		b.control.SetReadDeadline(time.Now().Add(leftover))
	}
}
