package wire

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type slowReader struct{ io.Reader }

func (r slowReader) Read(p []byte) (int, error) {
	time.Sleep(time.Minute)
	return r.Reader.Read(p)
}

// Our own side may take all the time it needs, before, between and after reads.
func TestWatchWaitsForOurSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, w := watchCall(context.Background(), 10*time.Second, nil, nil)
		defer w.stop()
		io.ReadAll(w.sending(slowReader{strings.NewReader("sent")}))
		if ctx.Err() != nil {
			t.Fatalf("cut while the body was made: %v", context.Cause(ctx))
		}
		body := w.receiving(strings.NewReader("received"))
		time.Sleep(time.Minute)
		io.ReadAll(body)
		time.Sleep(time.Minute)
		if ctx.Err() != nil {
			t.Fatalf("cut while the answer was used: %v", context.Cause(ctx))
		}
		io.ReadAll(w.receiving(slowReader{strings.NewReader("")}))
	})
}

func TestWatchCutsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, w := watchCall(context.Background(), 10*time.Second, nil, nil)
		defer w.stop()
		began := time.Now()
		<-ctx.Done()
		if took := time.Since(began); took < 10*time.Second || took > 12*time.Second {
			t.Errorf("cut after %v, want 10 s", took)
		}
		if context.Cause(ctx) != errSilent {
			t.Errorf("cause = %v, want %v", context.Cause(ctx), errSilent)
		}
	})
}

func TestWatchSeesMovement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, w := watchCall(context.Background(), 10*time.Second, nil, nil)
		defer w.stop()
		a, b := net.Pipe()
		go io.Copy(io.Discard, b)
		conn := &countedConn{Conn: a}
		w.conn.Store(conn)
		for range 20 {
			time.Sleep(5 * time.Second)
			conn.Write([]byte("x"))
		}
		if ctx.Err() != nil {
			t.Errorf("cut though bytes moved: %v", context.Cause(ctx))
		}
		a.Close()
	})
}
