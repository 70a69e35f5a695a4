package authattack_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// computer is one that would become a device, at an address of its own.
type computer struct {
	w *world
	*wiretest.Computer
	hardware wire.Hardware
	request  string
	ip       string
}

func (w *world) computer(host string) *computer {
	w.Helper()
	return &computer{w: w, Computer: wiretest.NewComputer(w), request: uuid.NewString(), ip: "192.0.2.77",
		hardware: wire.Hardware{MachineID: uuid.NewString(), Serial: host + "-serial", Hostname: host, OS: "linux", Arch: "amd64", OSUser: "una"}}
}

func (c *computer) send(call string, body []byte) answer {
	c.w.Helper()
	b := c.w.browser()
	b.ip = c.ip
	r := b.request(http.MethodPost, wire.Prefix+call, strings.NewReader(string(body)))
	r.Header.Del("Origin")
	r.Header.Del("Sec-Fetch-Site")
	r.Header.Set("Content-Type", "application/json")
	return b.do(r)
}

// begin shows a proof, given as names and values in turn.
func (c *computer) begin(proof ...any) answer {
	c.w.Helper()
	return c.send("activations", message(append(proof, "request_id", c.request, "client_version", version.Number(),
		"hardware", c.hardware, "signing_key", c.SigningKey())...))
}

// begun is begin that must work.
func (c *computer) begun(proof ...any) (a wire.Activation) {
	c.w.Helper()
	c.w.asked(c.begin(proof...), &a)
	return a
}

// finish makes it a device, as an activation suggests or otherwise.
func (c *computer) finish(activation, choice, device string) answer {
	c.w.Helper()
	return c.send("activations/finish", message("activation", activation, "choice", choice, "device_id", device, "rename_if_taken", true,
		"enrolment_key", c.Enrolment, "signature", wire.SignFinish(c.Signing, activation, c.Enrolment)))
}

// fleet is a deployment token of the victim's organisation.
func (w *world) fleet(r deploy.Rules, life time.Duration) (id, text string) {
	w.Helper()
	r.Name = "Fleet"
	w.write(func(ctx context.Context, tx *db.Tx) error {
		t, secret, err := deploy.Create(ctx, tx, system, w.Org.ID, r, life)
		id, text = t.ID, secret
		return err
	})
	return id, text
}

// makesUsers is a token that makes accounts by the addresses of a domain.
var makesUsers = deploy.Rules{CreateUsers: true, Domains: []string{"example.net"}}

func address(name string) string { return "email:" + name + "@example.net" }

// A deployment token lets in computers of the fleet it is for, as often as it
// says, while it lasts. What does not fit is refused with the same words.
func deployTokens(t testing.TB) {
	w := newWorld(t)
	_, good := w.fleet(makesUsers, time.Hour)
	revokedID, revoked := w.fleet(makesUsers, time.Hour)
	w.write(func(ctx context.Context, tx *db.Tx) error { return deploy.Revoke(ctx, tx, system, revokedID) })
	ruled := func(change func(*deploy.Rules)) string {
		r := makesUsers
		change(&r)
		_, text := w.fleet(r, time.Hour)
		return text
	}
	parts := strings.Split(good, ".")
	tokens := map[string]string{
		"a revoked one":                revoked,
		"of another network":           ruled(func(r *deploy.Rules) { r.Networks = []string{"198.51.100.0/24"} }),
		"of another system":            ruled(func(r *deploy.Rules) { r.Systems = []string{"windows"} }),
		"of other hosts":               ruled(func(r *deploy.Rules) { r.Hosts = []string{"desk-*"} }),
		"without its last character":   parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-1] + "." + parts[3],
		"with another secret":          parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])) + "." + parts[3],
		"of another id":                parts[0] + "." + uuid.NewString() + "." + parts[2] + "." + parts[3],
		"in upper case":                strings.ToUpper(good),
		"nothing of it but the prefix": "bsd1...",
		"a device's token":             w.deviceToken(w.NewDevice(w.User, "laptop")),
		"an activation key":            "bsy_" + strings.Repeat("A", 43),
	}
	said := map[string]string{}
	for _, what := range slices.Sorted(maps.Keys(tokens)) {
		a := w.computer("host").begin("token", tokens[what], "identity", address("eve"))
		if a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "E1204") {
			t.Errorf("%s lets a computer in: %s %s", what, a.Status, a.body)
			continue
		}
		said[words(a)] = what
	}
	if len(said) > 1 {
		t.Errorf("a token that is refused says why: %q", said)
	}
	if a := w.computer("host").begin("token", good, "identity", address("ada")); a.StatusCode >= 300 {
		t.Errorf("the token as it is = %s %s", a.Status, a.body)
	}
	w.wait(time.Hour)
	if a := w.computer("host").begin("token", good, "identity", address("bob")); !strings.Contains(a.body, "E1204") {
		t.Errorf("a token that is over lets a computer in: %s", a.Status)
	}
}

// words is what a refusal says, without what is by chance.
func words(a answer) string {
	var p struct{ Code, Title, Detail string }
	json.Unmarshal([]byte(a.body), &p)
	return p.Code + " " + p.Title + " " + p.Detail
}

// Of a hundred that use the last use of a token at once, one becomes a device;
// and none does a second time.
func lastUse(t testing.TB) {
	w := newWorld(t)
	r := makesUsers
	r.MaxUses = 1
	_, text := w.fleet(r, time.Hour)
	var in atomic.Int64
	var lucky atomic.Pointer[computer]
	together(hundred, func(int) func() {
		c := w.computer("host-" + uuid.NewString()[:8])
		return func() {
			a := c.begin("token", text, "identity", address(c.hardware.Hostname))
			if a.StatusCode >= 300 {
				return
			}
			var begun wire.Activation
			if err := json.Unmarshal([]byte(a.body), &begun); err == nil && c.finish(begun.Activation, begun.Suggest, "").StatusCode < 300 {
				in.Add(1)
				lucky.Store(c)
			}
		}
	})
	if in.Load() != 1 {
		t.Fatalf("%d computers got in by a token with one use left", in.Load())
	}
	// Asked again, as after an answer that was lost, it is the same device; a
	// request of its own is another use.
	again := *lucky.Load()
	again.request = uuid.NewString()
	if a := again.begin("token", text, "identity", address(again.hardware.Hostname)); !strings.Contains(a.body, "E1204") {
		t.Errorf("a token that is used up = %s %s", a.Status, a.body)
	}
	if n := len(w.rows("devices")); n != 1 {
		t.Errorf("%d devices were made", n)
	}
}

// A token proves the fleet, and nobody: with it alone nobody gets at an account
// that has data, or at a device that there is; and nothing is told of the
// organisation's secrets before an administrator approved.
func tokenTakesOver(t testing.TB) {
	w := newWorld(t)
	victim := w.account(accounts.New{Kind: access.UserKind, Username: "victim@example.net", Email: "victim@example.net"})
	theirs := w.NewDevice(victim, "laptop")
	w.backUp(theirs)
	var hardware wire.Hardware
	w.write(func(ctx context.Context, tx *db.Tx) error {
		d, err := devices.Find(ctx, tx, devices.ID(theirs.DeviceID))
		hardware = d.Hardware
		return err
	})
	before := w.about(theirs)
	_, text := w.fleet(makesUsers, time.Hour)
	same := func(what string, change func(*computer), proof ...any) {
		t.Helper()
		c := w.computer("laptop")
		change(c)
		a := c.begin(append([]any{"token", text}, proof...)...)
		if a.StatusCode < 300 {
			var begun wire.Activation
			w.asked(a, &begun)
			if begun.UserID == string(victim.ID) {
				t.Errorf("%s: the token is the victim", what)
			}
			for _, choice := range []string{wire.Reactivate, wire.Replace} {
				if a := c.finish(begun.Activation, choice, theirs.DeviceID); a.StatusCode < 300 {
					t.Errorf("%s: %s of the victim's device = %s", what, choice, a.Status)
				}
			}
		}
	}
	asBefore := func(*computer) {}
	same("by the address of somebody with data", asBefore, "identity", address("victim"))
	same("by the name of the system's user", func(c *computer) { c.hardware.OSUser = "victim" }, "identity", "auto")
	same("by the same hardware", func(c *computer) { c.hardware = hardware }, "identity", address("victim"))
	same("by the same hardware and nothing else", func(c *computer) { c.hardware = hardware })
	same("by a key that is another", func(*computer) {}, "previous", wire.Previous{DeviceID: theirs.DeviceID, Signature: make([]byte, 64)})

	// A row of the map by hardware attaches a computer to data: that waits.
	w.write(func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO device_map (org, user_id, id_type, id_value, os_user, old_device, restore, created_by, created_at, expires_at)
			VALUES ($1, $2, 'uuid', $3, '', '', '', '', 1, 0)`, w.Org.ID, victim.ID, strings.ToLower(hardware.MachineID))
		return err
	})
	c := w.computer("laptop")
	c.hardware = hardware
	begun := c.begun("token", text)
	a := c.finish(begun.Activation, begun.Suggest, "")
	if a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "device.waiting") && !strings.Contains(a.body, "waiting") {
		t.Errorf("a computer that nobody approved = %s %s", a.Status, a.body)
	}
	for _, secret := range []string{"sealed_secrets", "org_record", "user_key", "device_cert", theirs.SetID} {
		if strings.Contains(a.body, secret) {
			t.Errorf("a computer that nobody approved is told %s: %s", secret, a.body)
		}
	}
	for _, line := range lost(before, w.about(theirs)) {
		t.Errorf("changed by a token: %s", line)
	}
}

// An activation belongs to the key that it was begun with: who overhears its
// name cannot end it, and it is one device however often it is ended.
func activationsOfOthers(t testing.TB) {
	w := newWorld(t)
	c := w.computer("laptop")
	password := []any{"username", w.User.Username, "password", servertest.UserPassword}
	begun := c.begun(password...)
	for what, wrong := range near(begun.Activation) {
		if a := c.finish(wrong, wire.Add, ""); a.StatusCode < 300 {
			t.Errorf("an activation %s = %s", what, a.Status)
		}
	}
	thief := w.computer("thief")
	if a := thief.finish(begun.Activation, wire.Add, ""); a.StatusCode < 300 {
		t.Errorf("an activation that was overheard = %s", a.Status)
	}
	stolen := *thief
	stolen.request = c.request
	if a := stolen.begin("activation", begun.Activation); a.StatusCode < 300 {
		t.Errorf("an activation goes on with another key: %s", a.Status)
	}
	made := map[string]bool{}
	answers := make(chan answer, 20)
	together(cap(answers), func(int) func() { return func() { answers <- c.finish(begun.Activation, wire.Add, "") } })
	for range cap(answers) {
		var device wire.Activated
		w.asked(<-answers, &device)
		made[device.DeviceID] = true
	}
	if len(made) != 1 || len(w.rows("devices")) != 1 {
		t.Errorf("an activation that was ended %d times made %d devices", cap(answers), len(w.rows("devices")))
	}

	late, gone := w.computer("late"), w.computer("gone")
	begun = late.begun(password...)
	left := gone.begun(password...)
	w.write(func(ctx context.Context, tx *db.Tx) error {
		return accounts.Disable(ctx, tx, system, w.User.ID, "left the company")
	})
	if a := gone.finish(left.Activation, wire.Add, ""); a.StatusCode < 300 {
		t.Errorf("the activation of a user who was disabled since = %s", a.Status)
	}
	w.write(func(ctx context.Context, tx *db.Tx) error { return accounts.Activate(ctx, tx, system, w.User.ID, "") })
	w.notTheirs(late, begun.Activation)
	w.wait(24 * time.Hour)
	if a := late.finish(begun.Activation, wire.Add, ""); a.StatusCode < 300 {
		t.Errorf("an activation of yesterday = %s", a.Status)
	}
}

// notTheirs tries to take, by an activation of the victim, the devices of others:
// of a colleague, and of another organisation.
func (w *world) notTheirs(c *computer, activation string) {
	w.Helper()
	other := w.org("Other").ID
	for whose, n := range map[string]accounts.New{"a colleague's": {Username: "colleague"}, "another organisation's": {Username: "stranger", Org: other}} {
		n.Kind = access.UserKind
		d := w.NewDevice(w.account(n), c.hardware.Hostname)
		for _, choice := range []string{wire.Replace, wire.Reactivate} {
			if a := c.finish(activation, choice, d.DeviceID); a.StatusCode < 300 {
				w.Errorf("%s of %s device = %s", choice, whose, a.Status)
			}
			if a := c.send("activations/preview", message("activation", activation, "choice", choice, "device_id", d.DeviceID)); a.StatusCode < 300 {
				w.Errorf("what %s of %s device would do is told: %s", choice, whose, a.Status)
			}
		}
	}
}

// An activation key lets one computer in, for what it was made for, after at
// most three tries.
func activationKeys(t testing.TB) {
	w := newWorld(t)
	old := w.NewDevice(w.User, "old")
	issue := func(choice string, device string) (text string) {
		w.write(func(ctx context.Context, tx *db.Tx) (err error) {
			text, _, err = devices.IssueKey(ctx, tx, caller(w.Admin), w.Keys, "", w.User.ID, choice, devices.ID(device))
			return err
		})
		return text
	}
	key := issue(wire.Add, "")
	for what, wrong := range near(key) {
		if a := w.computer("guess").begin("activation_key", wrong); a.StatusCode < 400 {
			t.Errorf("a key %s = %s", what, a.Status)
		}
	}
	var in atomic.Int64
	together(hundred, func(int) func() {
		c := w.computer("host-" + uuid.NewString()[:8])
		return func() {
			a := c.begin("activation_key", key)
			var begun wire.Activation
			if a.StatusCode < 300 && json.Unmarshal([]byte(a.body), &begun) == nil && c.finish(begun.Activation, wire.Add, "").StatusCode < 300 {
				in.Add(1)
			}
		}
	})
	if in.Load() != 1 {
		t.Errorf("%d computers got in by one key", in.Load())
	}
	if a := w.computer("again").begin("activation_key", key); a.StatusCode != http.StatusForbidden {
		t.Errorf("a key that was used = %s", a.Status)
	}
	// A key for one thing is none for another.
	c := w.computer("new")
	begun := c.begun("activation_key", issue(wire.Add, ""))
	if a := c.finish(begun.Activation, wire.Replace, old.DeviceID); a.StatusCode < 300 {
		t.Errorf("a key to add a device replaced one: %s", a.Status)
	}
	tries := issue(wire.Replace, old.DeviceID)
	for range 3 {
		w.computer("try").begun("activation_key", tries)
	}
	if a := w.computer("try").begin("activation_key", tries); a.StatusCode != http.StatusForbidden {
		t.Errorf("the fourth try of a key = %s", a.Status)
	}
	late := issue(wire.Add, "")
	w.wait(72 * time.Hour)
	if a := w.computer("late").begin("activation_key", late); a.StatusCode != http.StatusForbidden {
		t.Errorf("a key of three days ago = %s", a.Status)
	}
}
