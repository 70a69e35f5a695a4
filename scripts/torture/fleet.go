package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
)

// fleet is all the devices.
type fleet struct {
	address string
	roots   *tls.Config
	store   backup.UUID
	devices []*device

	wait     sync.WaitGroup
	waiting  atomic.Int64
	failures atomic.Int64

	mu      sync.Mutex
	expects map[string]chan time.Time // by device
}

// device does what the agent does while there is nothing to do.
type device struct {
	id      backup.UUID
	name    string
	signing ed25519.PrivateKey
	from    net.Addr

	conn  net.Conn
	in    *bufio.Reader
	token wire.Token
	after int64
}

func newFleet(s *server, w *world) *fleet {
	f := &fleet{address: s.address, roots: &tls.Config{RootCAs: s.roots, ServerName: "127.0.0.1"}, store: w.Vault.StoreID(), expects: map[string]chan time.Time{}}
	for i, d := range w.devices {
		// Loopback has as many addresses as are needed for the ports.
		d.from = &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i/1000))}
		f.devices = append(f.devices, d)
	}
	return f
}

// start lets all devices begin within so long.
func (f *fleet) start(ctx context.Context, within time.Duration) {
	for _, d := range f.devices {
		f.wait.Go(func() {
			for pause := rand.N(within); sleep(ctx, pause); {
				pause = f.live(ctx, d)
			}
		})
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// live is a device until a call fails, and returns how long the agent would wait
// then.
func (f *fleet) live(ctx context.Context, d *device) time.Duration {
	stop := context.AfterFunc(ctx, func() {
		if c := d.conn; c != nil {
			c.Close()
		}
	})
	defer stop()
	for ctx.Err() == nil {
		if err := f.poll(ctx, d); err != nil && ctx.Err() == nil {
			f.failures.Add(1)
			break
		}
	}
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
	return 4*time.Second + rand.N(2*time.Second)
}

func (f *fleet) poll(ctx context.Context, d *device) error {
	if err := f.dial(ctx, d); err != nil {
		return err
	}
	if time.Until(d.token.ExpiresAt) < time.Minute {
		if err := f.prove(ctx, d); err != nil {
			return err
		}
	}
	var next wire.Next
	f.waiting.Add(1)
	err := f.call(ctx, d, "GET", fmt.Sprintf("next?wait=55&after=%d", d.after), nil, &next)
	f.waiting.Add(-1)
	if err != nil {
		return err
	}
	for _, r := range next.Requests {
		d.after = max(d.after, r.Number)
		f.mu.Lock()
		if c := f.expects[d.name]; c != nil {
			delete(f.expects, d.name)
			c <- time.Now()
		}
		f.mu.Unlock()
	}
	return nil
}

func (f *fleet) prove(ctx context.Context, d *device) error {
	var c wire.Challenge
	if err := f.call(ctx, d, "POST", "challenge", wire.ChallengeRequest{DeviceID: d.name}, &c); err != nil {
		return err
	}
	signed := crypt.Sign(d.signing, "token", append(append(d.id[:], f.store[:]...), c.Challenge...))
	return f.call(ctx, d, "POST", "token", wire.TokenRequest{DeviceID: d.name, Challenge: c.Challenge, Signature: signed}, &d.token)
}

// dial connects a device that is not connected.
func (f *fleet) dial(ctx context.Context, d *device) error {
	if d.conn != nil {
		return nil
	}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{LocalAddr: d.from}, Config: f.roots}
	conn, err := dialer.DialContext(ctx, "tcp", f.address)
	if err == nil {
		d.conn, d.in = conn, bufio.NewReaderSize(conn, 1024)
	}
	return err
}

// call makes one call over the device's connection. It is plainer than net/http's
// client, which takes more memory than the server that is measured.
func (f *fleet) call(ctx context.Context, d *device, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://"+f.address+wire.Prefix+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set(wire.HeaderVersion, version.Number())
	r.Header.Set("Content-Type", "application/json")
	if d.token.Token != "" && in == nil {
		r.Header.Set("Authorization", "Bearer "+d.token.Token)
	}
	if err := r.Write(d.conn); err != nil {
		return err
	}
	answer, err := http.ReadResponse(d.in, r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		d.token = wire.Token{}
		return fmt.Errorf("%s %s: %s %s", method, path, answer.Status, text)
	}
	return json.Unmarshal(text, out)
}

// allWait returns when every device waits.
func (f *fleet) allWait(ctx context.Context) error {
	last := time.Now().Add(5 * time.Minute)
	for f.waiting.Load() < int64(len(f.devices)) {
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
		if time.Now().After(last) {
			return fmt.Errorf("only %d of %d devices wait, %d calls failed", f.waiting.Load(), len(f.devices), f.failures.Load())
		}
	}
	return nil
}

// ask puts n requests to devices, evenly over d, and returns how long each took.
func (f *fleet) ask(ctx context.Context, w *world, n int, d time.Duration) ([]time.Duration, error) {
	var latencies []time.Duration
	var mu sync.Mutex
	var all sync.WaitGroup
	defer all.Wait()
	end := time.Now().Add(d)
	n = min(n, len(f.devices))
	for _, i := range rand.Perm(len(f.devices))[:n] {
		device := f.devices[i]
		arrived := make(chan time.Time, 1)
		f.mu.Lock()
		f.expects[device.name] = arrived
		f.mu.Unlock()
		began := time.Now()
		if err := w.ask(ctx, device); err != nil {
			return nil, err
		}
		all.Go(func() {
			select {
			case at := <-arrived:
				mu.Lock()
				latencies = append(latencies, at.Sub(began))
				mu.Unlock()
			case <-time.After(time.Minute):
			case <-ctx.Done():
			}
		})
		if !sleep(ctx, d/time.Duration(n)) {
			return nil, ctx.Err()
		}
	}
	sleep(ctx, time.Until(end))
	all.Wait()
	if len(latencies) < n {
		return nil, errors.New("a request never came")
	}
	return latencies, nil
}
