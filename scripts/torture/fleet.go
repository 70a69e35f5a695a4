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
	"slices"
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
	beats    atomic.Bool // devices send heartbeats

	mu      sync.Mutex
	expects map[string]chan time.Time // by device: what was asked has come
}

// device does what the agent does while there is nothing to do.
type device struct {
	id      backup.UUID
	name    string
	signing ed25519.PrivateKey
	from    net.Addr
	next    time.Time // when its next backup is due

	conn    net.Conn
	in      *bufio.Reader
	stay    func() bool // lets conn outlive the context that it was made under
	token   wire.Token
	renew   time.Time // when it fetches another token
	after   int64
	beat    time.Time // when it sends its next heartbeat
	stopped bool      // an administrator disabled it, and it knows
	away    bool      // no call came through since one failed: the next does not wait
	waited  bool      // it has waited since it came
	waits   bool      // it is counted among those who wait
}

// The agent's rhythm.
const (
	tokenLife    = 13 * time.Minute // less what it is renewed ahead
	firstPause   = 5 * time.Second
	lastPause    = 5 * time.Minute
	stoppedPause = 2 * time.Second
	slowest      = time.Minute // from a poll to the next
)

func newFleet(s *server, w *world) *fleet {
	f := &fleet{address: s.address, roots: &tls.Config{RootCAs: s.roots, ServerName: "127.0.0.1"}, store: w.Vault.StoreID(), expects: map[string]chan time.Time{}}
	for i, d := range w.devices {
		// Loopback has as many addresses as are needed for the ports.
		d.next = time.Now().Add(rand.N(4 * time.Hour))
		d.from = &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i/1000))}
		f.devices = append(f.devices, d)
	}
	return f
}

// start lets all devices begin within so long. After a call that failed each
// waits as the agent does.
func (f *fleet) start(ctx context.Context, within time.Duration) {
	for _, d := range f.devices {
		f.wait.Go(func() {
			wait := firstPause
			for pause := rand.N(within); wire.Pause(ctx, pause); pause = wire.About(wait) {
				if f.live(ctx, d) {
					wait = firstPause
				} else {
					wait = min(2*wait, lastPause)
				}
			}
		})
	}
}

// live is a device until a call fails, and reports whether one had not.
func (f *fleet) live(ctx context.Context, d *device) (lived bool) {
	for ctx.Err() == nil {
		if err := f.poll(ctx, d); err != nil && ctx.Err() == nil {
			f.failures.Add(1)
			break
		}
		lived = true
	}
	d.away, d.waited = true, false
	if d.waits {
		d.waits = false
		f.waiting.Add(-1)
	}
	if d.conn != nil {
		d.stay()
		d.conn.Close()
		d.conn = nil
	}
	return lived
}

// poll is one long poll: for requests, or of a device that is stopped for being
// let in again.
func (f *fleet) poll(ctx context.Context, d *device) error {
	if err := f.dial(ctx, d); err != nil {
		return err
	}
	if d.stopped {
		return f.readmitted(ctx, d)
	}
	if d.token.Token == "" || time.Now().After(d.renew) {
		life := tokenLife
		if d.renew.IsZero() {
			life = rand.N(life) // computers are not all switched on at once
		}
		if err := f.prove(ctx, d, 0); err != nil {
			return err
		}
		d.renew = time.Now().Add(life)
	}
	if f.beats.Load() && d.waited && time.Now().After(d.beat) {
		after := wire.BeatWait()
		if d.beat.IsZero() {
			after = rand.N(after) // as with the tokens
		}
		if err := f.call(ctx, d, "PUT", "status", d.status(), &wire.StatusAnswer{}); err != nil {
			return err
		}
		d.beat = time.Now().Add(after)
	}
	var next wire.Next
	wait := 0
	if !d.away {
		wait = d.wait()
		f.waits(d)
	}
	if err := f.call(ctx, d, "GET", fmt.Sprintf("next?wait=%d&after=%d", wait, d.after), nil, &next); err != nil {
		return err
	}
	d.away = false
	for _, r := range next.Requests {
		d.after = max(d.after, r.Number)
		f.arrived(d)
	}
	return nil
}

// status is the heartbeat of a device whose backup was made and whose next one is
// hours away.
func (d *device) status() wire.Status {
	return wire.Status{
		State: wire.StateIdle, ClientVersion: version.Number(), NextRun: &d.next,
		Folders:  []string{"/home/ann/Desktop", "/home/ann/Documents", "/home/ann/Music", "/home/ann/Pictures", "/home/ann/Videos"},
		Hardware: wire.Hardware{MachineID: d.name, Hostname: d.name, OS: "linux", OSVersion: "Debian GNU/Linux 12", Arch: "amd64", OSUser: "ann"},
	}
}

// wait is for how many seconds it asks to be kept waiting.
func (d *device) wait() int {
	first := !d.waited
	d.waited = true
	return int(wire.PollWait(first) / time.Second)
}

// readmitted waits for the end of a stop.
func (f *fleet) readmitted(ctx context.Context, d *device) error {
	f.waits(d)
	err := f.prove(ctx, d, d.wait())
	var refused *refusal
	switch {
	case err == nil:
		d.stopped, d.away, d.waited, d.renew = false, true, false, time.Now().Add(tokenLife)
		f.arrived(d)
	case errors.As(err, &refused) && refused.status == http.StatusForbidden:
		wire.Pause(ctx, wire.About(stoppedPause))
		return nil
	}
	return err
}

func (f *fleet) waits(d *device) {
	if !d.waits {
		d.waits = true
		f.waiting.Add(1)
	}
}

func (f *fleet) arrived(d *device) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.expects[d.name]; c != nil {
		delete(f.expects, d.name)
		c <- time.Now()
	}
}

func (f *fleet) prove(ctx context.Context, d *device, wait int) error {
	var c wire.Challenge
	if err := f.call(ctx, d, "POST", "challenge", wire.ChallengeRequest{DeviceID: d.name}, &c); err != nil {
		return err
	}
	signed := crypt.Sign(d.signing, "token", slices.Concat(d.id[:], f.store[:], c.Challenge))
	in := wire.TokenRequest{DeviceID: d.name, Challenge: c.Challenge, Signature: signed}
	return f.call(ctx, d, "POST", fmt.Sprintf("token?wait=%d", wait), in, &d.token)
}

// refusal is an answer that is not a good one.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// dial connects a device that is not connected, until ctx ends.
func (f *fleet) dial(ctx context.Context, d *device) error {
	if d.conn != nil {
		return nil
	}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{LocalAddr: d.from}, Config: f.roots}
	conn, err := dialer.DialContext(ctx, "tcp", f.address)
	if err != nil {
		return err
	}
	d.conn, d.in = conn, bufio.NewReaderSize(conn, 1024)
	d.stay = context.AfterFunc(ctx, func() { conn.Close() })
	return nil
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
	if d.token.Token != "" {
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
		return &refusal{answer.StatusCode, fmt.Sprintf("%s %s: %s %s", method, path, answer.Status, text)}
	}
	return json.Unmarshal(text, out)
}

// allWait returns when every device waits, noneWaits when every one has noticed
// that the server is gone.
func (f *fleet) allWait(ctx context.Context) error   { return f.until(ctx, len(f.devices)) }
func (f *fleet) noneWaits(ctx context.Context) error { return f.until(ctx, 0) }

// allPolled returns when every device that waits has begun its next wait, false when
// ctx has ended.
func (f *fleet) allPolled(ctx context.Context) bool {
	return wire.Pause(ctx, slowest)
}

func (f *fleet) until(ctx context.Context, waiting int) error {
	for last := time.Now().Add(10 * time.Minute); f.waiting.Load() != int64(waiting); {
		if !wire.Pause(ctx, 50*time.Millisecond) {
			return ctx.Err()
		}
		if time.Now().After(last) {
			return fmt.Errorf("%d of %d devices wait, where %d are to; %d calls failed", f.waiting.Load(), len(f.devices), waiting, f.failures.Load())
		}
	}
	return nil
}

// ask puts n requests to devices, evenly over d, and returns how long each took.
// A device that is stopped is let in again instead.
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
		if !wire.Pause(ctx, d/time.Duration(n)) {
			return nil, ctx.Err()
		}
	}
	wire.Pause(ctx, time.Until(end))
	all.Wait()
	if len(latencies) < n {
		return nil, errors.New("a request never came")
	}
	return latencies, nil
}
