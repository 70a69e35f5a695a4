package server_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// record is an object of n random bytes as a pack has it.
func record(n int) []byte {
	sealed := make([]byte, n)
	rand.Read(sealed)
	id := sha256.Sum256(sealed)
	b := append([]byte{byte(backup.Data)}, id[:]...)
	b = append(b, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	return append(b, sealed...)
}

func putID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// metric is the value of a figure without labels.
func metric(t *testing.T, s *servertest.Server, name string) int64 {
	t.Helper()
	_, body := fetch(t, s, "GET", "/metrics", nil)
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int64(f)
		}
	}
	t.Fatalf("/metrics lacks %s", name)
	return 0
}

// brokenReader gives its bytes and then fails, as a client that is killed.
type brokenReader struct{ io.Reader }

func (b brokenReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = errors.New("killed")
	}
	return n, err
}

func TestReceivedBytes(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	d := s.NewDevice(s.User, "laptop")
	session, err := d.Client.OpenSession(t.Context(), d.SetID)
	if err != nil {
		t.Fatal(err)
	}
	const object = 300_000
	whole := bytes.Join([][]byte{record(object), record(object)}, nil)
	if _, err := d.Client.Put(t.Context(), session.SessionID, putID(), backup.ClassData, 0, wiretest.Body(whole), nil); err != nil {
		t.Fatal(err)
	}
	if got := metric(t, s, "backstay_received_bytes_total"); got != int64(len(whole)) {
		t.Errorf("received %d bytes, want %d", got, len(whole))
	}
	stored := metric(t, s, "backstay_stored_bytes")
	if stored < 2*object || stored > 2*object+1000 {
		t.Errorf("stored %d bytes of two objects of %d", stored, object)
	}
	if got := metric(t, s, "backstay_open_sessions"); got != 1 {
		t.Errorf("%d sessions are open, want 1", got)
	}

	// The bytes of a put that breaks off have come all the same.
	if _, err := d.Client.Put(t.Context(), session.SessionID, putID(), backup.ClassData, 0, wiretest.Stream(brokenReader{bytes.NewReader(whole[:len(whole)-1])}), nil); err == nil {
		t.Fatal("a put that broke off went through")
	}
	deadline := time.Now().Add(5 * time.Second)
	for metric(t, s, "backstay_received_bytes_total") < int64(len(whole)+object) && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	if got := metric(t, s, "backstay_received_bytes_total"); got < int64(len(whole)+object) {
		t.Errorf("received %d bytes, want nearly %d", got, 2*len(whole))
	}
	if got := metric(t, s, "backstay_stored_bytes"); got != stored {
		t.Errorf("a put that broke off was stored: %d bytes, was %d", got, stored)
	}
}

func TestWaitingDevicesAreAnsweredOnStop(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	d := s.NewDevice(s.User, "laptop")
	answered := make(chan error, 1)
	go func() {
		_, err := d.Client.Next(t.Context(), time.Minute, wire.Known{})
		answered <- err
	}()
	for metric(t, s, "backstay_devices_online") == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	began := time.Now()
	s.Stop()
	if err := <-answered; err != nil {
		t.Errorf("the waiting device got %v, want an empty answer", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

// A put that runs while the server stops is finished and acknowledged.
func TestRunningPutsFinishOnStop(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	d := s.NewDevice(s.User, "laptop")
	session, err := d.Client.OpenSession(t.Context(), d.SetID)
	if err != nil {
		t.Fatal(err)
	}
	body, feed := io.Pipe()
	type result struct {
		answer wire.PutAnswer
		err    error
	}
	done := make(chan result, 1)
	go func() {
		answer, err := d.Client.Put(t.Context(), session.SessionID, putID(), backup.ClassData, 0, wiretest.Stream(body), nil)
		done <- result{answer, err}
	}()
	object := record(1 << 20)
	feed.Write(object[:1<<19])
	for metric(t, s, "backstay_received_bytes_total") == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	stopped := make(chan struct{})
	go func() {
		s.Stop()
		close(stopped)
	}()
	time.Sleep(200 * time.Millisecond)
	feed.Write(object[1<<19:])
	feed.Close()
	if r := <-done; r.err != nil || r.answer.Records != 1 {
		t.Errorf("the running put got %+v, %v", r.answer, r.err)
	}
	<-stopped
}

func TestRevokedDeviceIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	d := s.NewDevice(s.User, "laptop")
	second := s.Beside()
	there := second.As(d)
	for _, c := range []*wire.Client{d.Client, there} {
		if _, _, err := c.Profile(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	waited := make(chan error, 1)
	go func() {
		_, err := there.Next(t.Context(), time.Minute, wire.Known{})
		waited <- err
	}()
	for metric(t, second, "backstay_devices_online") == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	began := time.Now()
	err := s.DB.Write(t.Context(), func(tx *db.Tx) error {
		return devices.SetState(t.Context(), tx, s.Admin.Caller(access.Caller{}), devices.ID(d.DeviceID), devices.Deactivated, "stolen")
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*wire.Client{"the server": d.Client, "the second server": there} {
		if _, _, err := c.Profile(t.Context(), 0); !errs.Is(err, errs.DeviceDeactivated) {
			t.Errorf("%s answers a revoked device with %v, want E1208", name, err)
		}
	}
	if err := <-waited; !errs.Is(err, errs.DeviceDeactivated) {
		t.Errorf("a revoked device that waited got %v, want E1208", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("revoking took %v", took)
	}
}
