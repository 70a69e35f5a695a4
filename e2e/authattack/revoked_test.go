package authattack_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
)

// patience is how long a device may still be answered that is revoked.
const patience = 5 * time.Second

// A device whose credential is revoked is refused at once, with all it holds:
// it reads no history, sends nothing, and does not come back by itself.
func revokedDevice(t testing.TB) {
	w := newWorld(t)
	d := w.NewDevice(w.User, "laptop")
	own := w.belongingsOf(d)
	token, user := w.deviceToken(d), w.userToken(d)
	waiting := make(chan answer, 1)
	go func() { waiting <- w.device(http.MethodGet, "next?wait=8&after=987654321", token, "", nil) }()

	w.write(func(ctx context.Context, tx *db.Tx) error {
		return devices.SetState(ctx, tx, system, devices.ID(d.DeviceID), devices.Deactivated, "the laptop was stolen")
	})
	revoked := time.Now()
	before := w.about(d)

	// What it holds is worth nothing, at this server and at every other one.
	for _, at := range []*world{w, w.second()} {
		for _, r := range at.Routes() {
			method, pattern, _ := strings.Cut(r.Pattern, " ")
			if !strings.HasPrefix(pattern, wire.Prefix) {
				continue
			}
			path, body, names := own.message(w, d, pattern)
			if r.Guard == access.Anyone || strings.HasPrefix(path, "next") || !names && !slices.Contains(alone, path) {
				continue // who signs in anew, and who waits, is looked at below
			}
			if a := at.device(method, path, token, user, body); !refused(a) {
				t.Errorf("%s after the revocation = %s %.200s", r.Pattern, a.Status, a.body)
			}
		}
		if a := at.device(http.MethodGet, "next", token, "", nil); !refused(a) {
			t.Errorf("a long poll after the revocation = %s", a.Status)
		}
	}
	if a := <-waiting; !refused(a) || !strings.Contains(a.body, "E1208") {
		t.Errorf("the poll that was waiting = %s %s", a.Status, a.body)
	}
	if took := time.Since(revoked); took > patience {
		t.Errorf("the device was refused after %v, want %v", took, patience)
	}

	// Its key proves who it is, and no more.
	var c wire.Challenge
	w.asked(w.device(http.MethodPost, "challenge", "", "", message("device_id", d.DeviceID)), &c)
	a := w.device(http.MethodPost, "token", "", "", message("device_id", d.DeviceID, "challenge", c.Challenge, "signature", w.signed(d, c.Challenge)))
	if a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "E1208") {
		t.Errorf("a new token for the key = %s %s", a.Status, a.body)
	}
	for what, fields := range map[string][]any{
		"without a password":   {"username", d.Username},
		"with a wrong one":     {"username", d.Username, "password", "Wrong-Password-1"},
		"as a token's":         {"token", "bsd1.none.none.none"},
		"by an activation key": {"activation_key", "bsy_" + strings.Repeat("A", 43)},
	} {
		request, err := uuid.NewV7()
		if err != nil {
			t.Fatal(err)
		}
		fields = append(fields, "request_id", request.String(), "client_version", version.Number(), "signing_key", d.Signing.Public(),
			"hardware", wire.Hardware{Hostname: "laptop", OS: "linux", Arch: "amd64"},
			"previous", wire.Previous{DeviceID: d.DeviceID, Signature: wire.SignPrevious(d.Signing, w.uuid(d.DeviceID), w.uuid(request.String()), d.Signing.Public().(ed25519.PublicKey))})
		if a := w.device(http.MethodPost, "activations", "", "", message(fields...)); a.StatusCode < 400 {
			t.Errorf("the key brings the device back %s: %s", what, a.Status)
		}
	}
	for _, line := range lost(before, w.about(d)) {
		t.Errorf("changed by a revoked device: %s", line)
	}
}

// second is another server on the same database, asked in the same way.
func (w *world) second() *world {
	w.Helper()
	other := &world{TB: w.TB, Server: w.Beside(), ahead: w.ahead, logs: w.logs}
	other.wire = other.Client().Transport
	return other
}

// A device that is locked, as one that was stolen is at first, backs up and
// shows nothing.
func lockedDevice(t testing.TB) {
	w := newWorld(t)
	d := w.NewDevice(w.User, "laptop")
	made := w.backUp(d)
	token, user := w.deviceToken(d), w.userToken(d)
	w.write(func(ctx context.Context, tx *db.Tx) error {
		return devices.Lock(ctx, tx, system, devices.ID(d.DeviceID), "left in a train")
	})
	for call, body := range map[string][]byte{
		"GET snapshots":                         nil,
		"POST user-token":                       message("password", servertest.UserPassword),
		"POST password/change":                  message("password", servertest.UserPassword, "new_password", "Another-Password-1"),
		"POST read":                             read4(made.objects),
		"POST snapshots/" + made.hash + "/open": message("recipient_key", make([]byte, 1216)),
	} {
		method, path, _ := strings.Cut(call, " ")
		if a := w.device(method, path, token, user, body); a.StatusCode != http.StatusForbidden && a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s of a locked device = %s %.100s", call, a.Status, a.body)
		}
	}
	if a := w.device(http.MethodPost, "sessions", token, "", message("set_id", d.SetID)); a.StatusCode >= 300 {
		t.Errorf("a locked device cannot back up: %s %s", a.Status, a.body)
	}
}

// What a device has committed it cannot take back: not by any call, with any
// method, in any order. All that was there is there afterwards, byte for byte.
func appendOnly(t testing.TB) {
	w := newWorld(t)
	d := w.NewDevice(w.User, "laptop")
	own := w.belongingsOf(d)
	token, user := w.deviceToken(d), w.userToken(d)
	rows, files := w.committed(), w.files()

	methods := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
		"PURGE", "MOVE", "COPY", "PROPFIND", "MKCOL", "LOCK"}
	var paths []string
	for _, r := range w.Routes() {
		_, pattern, _ := strings.Cut(r.Pattern, " ")
		if strings.HasPrefix(pattern, wire.Prefix) && !strings.HasSuffix(pattern, "/next") {
			path, _, _ := own.message(w, d, pattern)
			paths = append(paths, strings.TrimSuffix(path, "?class=data"))
		}
	}
	paths = append(paths, "snapshots/"+own.snapshot, "sets/"+own.set, "objects/"+own.objects[0].String(), "devices/"+own.device, "sessions/"+own.session)
	bodies := [][]byte{nil, []byte("{}"), message("set_id", own.set, "snapshot", own.snapshot, "delete", true, "state", "done"), read4(own.objects), make([]byte, 12)}
	for _, path := range paths {
		for _, method := range methods {
			w.device(method, path, token, user, bodies[2])
		}
	}
	// Then in any order: what one call leaves behind, the next may use.
	random := rand.New(rand.NewPCG(uint64(len(paths)), 2026))
	ids := []string{own.set, own.session, own.snapshot, own.device, own.put, uuid.NewString(), putID()}
	for range calls {
		path := paths[random.IntN(len(paths))]
		for _, id := range ids {
			if random.IntN(8) == 0 {
				path = strings.ReplaceAll(path, id, ids[random.IntN(len(ids))])
			}
		}
		body := bytes.Clone(bodies[random.IntN(len(bodies))])
		if len(body) > 0 && random.IntN(4) == 0 {
			body[random.IntN(len(body))] = byte(random.Uint32())
		}
		query := []string{"", "?class=data", "?class=metadata", "?force=1", "?wait=0", "?_method=DELETE"}[random.IntN(6)]
		if strings.HasPrefix(path, "activations") || strings.Contains(path, "password") || strings.Contains(path, "register") || strings.Contains(path, "user-token") {
			query = "" // they are throttled by what they are about
		}
		w.device(methods[random.IntN(len(methods))], path+query, token, user, body)
		if random.IntN(200) == 0 {
			token = w.deviceToken(d) // a call may have ended it
		}
	}
	for _, line := range lost(rows, w.committed()) {
		t.Errorf("a device took back: %s", line)
	}
	now := w.files()
	for path, content := range files {
		if now[path] != content {
			t.Errorf("a device changed what is stored: %s", path)
		}
	}
	snapshots, err := d.Client.Snapshots(w.Context())
	if err != nil || len(snapshots) != 1 {
		t.Errorf("after all of it the device has the snapshots %+v, %v", snapshots, err)
	}
}

// calls is how many are made at random.
const calls = 3000

// committed is all that the server knows of what was committed.
func (w *world) committed() []string {
	w.Helper()
	lines := w.rows("snapshots", "snapshot_refs", "chunks", "(SELECT number, name, org, user_id, device, class, state, size, records FROM packs) AS packs")
	slices.Sort(lines)
	return lines
}

// files are the contents of the vault by their paths.
func (w *world) files() map[string]string {
	w.Helper()
	files := map[string]string{}
	root := filepath.Join(w.Config.Data, "vault")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		files[path] = string(content)
		return err
	})
	if err != nil || len(files) == 0 {
		w.Fatalf("%d files in the vault at %s: %v", len(files), root, err)
	}
	return files
}
