package authattack_test

import (
	"context"
	"crypto/sha256"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
)

// belongings are the ids by which what one device has can be named.
type belongings struct {
	set, session, put, request string
	snapshot                   string
	objects                    []backup.ID
	device                     string
}

// nobodys are ids of the same kinds that nobody has.
func nobodys() belongings {
	hash := func() (h [32]byte) { return sha256.Sum256([]byte(uuid.NewString())) }
	snapshot := hash()
	return belongings{set: uuid.NewString(), session: uuid.NewString(), put: putID(), request: "987654321",
		snapshot: backup.Hash(snapshot).String(), objects: []backup.ID{backup.ID(hash()), backup.ID(hash())}, device: uuid.NewString()}
}

// belongingsOf has a device do all that leaves something behind.
func (w *world) belongingsOf(d *servertest.Device) belongings {
	w.Helper()
	made := w.backUp(d)
	s, err := d.Client.OpenSession(w.Context(), d.SetID)
	if err != nil {
		w.Fatal(err)
	}
	b := belongings{set: d.SetID, session: s.SessionID, put: putID(), snapshot: made.hash, objects: made.objects, device: d.DeviceID}
	b.request = strconv.FormatInt(w.askForBackup(d), 10)
	return b
}

// askForBackup has an administrator ask a device for a backup, and returns the
// number of that.
func (w *world) askForBackup(d *servertest.Device) (number int64) {
	w.Helper()
	w.write(func(ctx context.Context, tx *db.Tx) (err error) {
		number, err = devices.Ask(ctx, tx, system, devices.ID(d.DeviceID), wire.RequestBackup, nil)
		return err
	})
	return number
}

// message is the call of a route that names these belongings: its path and its
// body. It is false for a route that names none.
func (b belongings) message(w *world, by *servertest.Device, pattern string) (path string, body []byte, names bool) {
	path = strings.NewReplacer("{session}", b.session, "{put}", b.put, "{number}", b.request, "{hash}", b.snapshot).Replace(
		strings.TrimPrefix(pattern, wire.Prefix))
	names = true
	switch strings.TrimPrefix(pattern, wire.Prefix) {
	case "requests/{number}":
		body = message("state", "done")
	case "sessions":
		body = message("set_id", b.set)
	case "sessions/{session}/have":
		body = read4(b.objects)[4:]
	case "sessions/{session}/packs/{put}":
		path += "?class=data"
		body = []byte("no records")
	case "sessions/{session}/commit":
		body = make([]byte, 12)
	case "snapshots/{hash}/open":
		_, key, err := crypt.GenerateKey()
		if err != nil {
			w.Fatal(err)
		}
		body = message("recipient_key", key)
	case "read":
		body = read4(b.objects)
	case "activations":
		body = message("username", by.Username, "password", servertest.UserPassword, "request_id", uuid.NewString(), "client_version", version.Number(),
			"hardware", wire.Hardware{Hostname: "new", OS: "linux", Arch: "amd64"}, "signing_key", by.Signing.Public(),
			"previous", wire.Previous{DeviceID: b.device, Signature: make([]byte, 64)})
	case "activations/preview":
		body = message("activation", w.begun(by), "choice", wire.Replace, "device_id", b.device)
	case "activations/finish":
		_, key, err := crypt.GenerateKey()
		if err != nil {
			w.Fatal(err)
		}
		begun := w.begun(by)
		body = message("activation", begun, "choice", wire.Replace, "device_id", b.device, "enrolment_key", key, "signature", wire.SignFinish(by.Signing, begun, key))
	case "challenge":
		body = message("device_id", b.device)
	case "token":
		var c wire.Challenge
		w.asked(w.device(http.MethodPost, "challenge", "", "", message("device_id", b.device)), &c)
		body = message("device_id", b.device, "challenge", c.Challenge, "signature", w.signed(by, c.Challenge))
	default:
		names = false
	}
	return path, body, names
}

// begun is an activation of one more computer of a device's user.
func (w *world) begun(by *servertest.Device) string {
	w.Helper()
	var begun wire.Activation
	w.asked(w.device(http.MethodPost, "activations", "", "", message("username", by.Username, "password", servertest.UserPassword, "request_id", uuid.NewString(),
		"client_version", version.Number(), "hardware", wire.Hardware{Hostname: "new", OS: "linux", Arch: "amd64"}, "signing_key", by.Signing.Public())), &begun)
	return begun.Activation
}

// chances are what is by chance in answers: tokens, times, which end with no
// zeros, and so the length of what is compared without them.
var chances = regexp.MustCompile(`"(activation|expires_at|last_seen)":"[^"]*"|Content-Length:\[\d+\]`)

// alone are the routes for devices that name nothing but who asks, or what
// everybody may ask for.
var alone = []string{"hello", "sign-in", "discover", "register", "register/resend", "register/confirm", "password/forgot", "username/forgot", "password/replace",
	"activate", "profile", "status", "next", "turn", "snapshots", "restores", "user-token", "password/change", "/api/v1/version"}

// said is an answer without the ids that were asked for, nor what is by chance.
func (b belongings) said(a answer, path string) string {
	text := plain(a, wire.Prefix+path)
	for i, id := range slices.Concat([]string{b.set, b.session, b.put, b.snapshot, b.snapshot[:16], b.device}, written(b.objects)) {
		text = strings.ReplaceAll(text, id, "ID"+strconv.Itoa(i))
	}
	text = chances.ReplaceAllString(text, "CHANCE")
	if strings.HasSuffix(path, "challenge") {
		text = strconv.Itoa(a.StatusCode) + strings.Repeat(".", len(a.body))
	}
	return text
}

// written are ids as answers have them: as text and as they are.
func written(ids []backup.ID) (list []string) {
	for _, id := range ids {
		list = append(list, id.String(), string(id[:]))
	}
	return list
}

// What belongs to one device or its user is, for every other device, as if it
// were not there.
func othersDevices(t testing.TB) {
	w := newWorld(t)
	victim := w.NewDevice(w.User, "laptop")
	theirs := w.belongingsOf(victim)
	colleague := w.NewUser("colleague")
	foreigner := w.account(accounts.New{Org: w.org("Other").ID, Kind: access.UserKind, Username: "foreigner"})
	before := w.about(victim)
	for _, p := range []struct {
		name   string
		device *servertest.Device
		same   bool // user
	}{
		{"another computer of the same user", w.NewDevice(w.User, "desktop"), true},
		{"a colleague's computer", w.NewDevice(colleague, "laptop"), false},
		{"a computer of another organisation", w.NewDevice(foreigner, "laptop"), false},
	} {
		token, user := w.deviceToken(p.device), w.userToken(p.device)
		own := w.belongingsOf(p.device)
		for _, r := range w.Routes() {
			method, pattern, _ := strings.Cut(r.Pattern, " ")
			if !strings.HasPrefix(pattern, wire.Prefix) && r.Guard != access.Known {
				continue
			}
			if p.same && (r.Guard == access.PresentUser || strings.Contains(pattern, "/activations")) {
				continue // users read at one computer what they backed up at another, and replace one by the other
			}
			// Their objects are asked for in a session of one's own, too.
			ways := []belongings{theirs}
			if strings.HasSuffix(pattern, "/have") && !p.same {
				ways = append(ways, own.with(theirs.objects))
			}
			for _, from := range ways {
				path, body, names := from.message(w, p.device, pattern)
				if !names {
					if !slices.Contains(alone, strings.TrimPrefix(pattern, wire.Prefix)) {
						t.Fatalf("nobody has said what %s names", r.Pattern)
					}
					continue
				}
				none := from.without(theirs)
				emptyPath, emptyBody, _ := none.message(w, p.device, pattern)
				foreign, nothing := w.device(method, path, token, user, body), w.device(method, emptyPath, token, user, emptyBody)
				if a, b := from.said(foreign, path), none.said(nothing, emptyPath); a != b {
					t.Errorf("%s: %s tells what there is:\n%q\nfor what nobody has:\n%q", p.name, r.Pattern, a, b)
				}
			}
		}
	}
	for _, line := range lost(before, w.about(victim)) {
		t.Errorf("changed by another device: %s", line)
	}
}

// with are one's own belongings, but for the objects.
func (b belongings) with(objects []backup.ID) belongings {
	b.objects = objects
	return b
}

// without is b with ids that nobody has in place of all that are theirs.
func (b belongings) without(theirs belongings) belongings {
	none := nobodys()
	for _, f := range []struct{ of, theirs, none *string }{
		{&b.set, &theirs.set, &none.set}, {&b.session, &theirs.session, &none.session}, {&b.put, &theirs.put, &none.put},
		{&b.request, &theirs.request, &none.request}, {&b.snapshot, &theirs.snapshot, &none.snapshot}, {&b.device, &theirs.device, &none.device},
	} {
		if *f.of == *f.theirs {
			*f.of = *f.none
		}
	}
	if slices.Equal(b.objects, theirs.objects) {
		b.objects = none.objects
	}
	return b
}

// about are the rows of a device and of what it sent.
func (w *world) about(d *servertest.Device) (lines []string) {
	w.Helper()
	for _, line := range append(w.dump(), w.rows("sets", "backup_sessions", "snapshots", "device_requests", "puts")...) {
		if strings.Contains(line, d.DeviceID) || strings.Contains(line, d.SetID) {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}
