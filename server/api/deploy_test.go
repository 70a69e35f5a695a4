package api

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

func (h *host) newToken(r deploy.Rules) (deploy.Token, string) {
	h.t.Helper()
	var t deploy.Token
	var secret string
	r.Name = "Fleet"
	err := h.DB.Write(h.t.Context(), func(tx *db.Tx) (err error) {
		t, secret, err = deploy.Create(h.t.Context(), tx, access.System("test"), h.org.ID, r, time.Hour)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return t, secret
}

// enrol makes a computer a device as its agent does.
func (h *host) enrol(c *wiretest.Computer, client *wire.Client, request, token, name string) (wire.Activated, error) {
	begun, err := client.BeginActivation(h.t.Context(), wire.BeginActivation{Token: token, Identity: "email:" + name + "@example.org", RequestID: request,
		Hardware:      wire.Hardware{MachineID: "machine-" + name, Hostname: name, OS: "linux", Arch: "amd64", OSUser: "root"},
		ClientVersion: version.Number(), SigningKey: c.SigningKey(), System: true})
	if err != nil {
		return wire.Activated{}, err
	}
	return client.FinishActivation(h.t.Context(), wire.FinishActivation{Activation: begun.Activation, Choice: wire.Add, EnrolmentKey: c.Enrolment,
		Signature: wire.SignFinish(c.Signing, begun.Activation, c.Enrolment)})
}

// A hundred machines enrol at once: each is one device, of its own user, and
// each uses the token once, also those whose answer was lost.
func TestFleetAtOnce(t *testing.T) {
	h := newHost(t)
	const machines = 100
	token, secret := h.newToken(deploy.Rules{MaxUses: machines, CreateUsers: true, Domains: []string{"example.org"}})
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids, users := map[string]int{}, map[string]int{}
	for n := range machines {
		c, client, request, name := wiretest.NewComputer(t), h.client("", nil), uuid.NewString(), fmt.Sprintf("pc-%03d", n)
		wg.Go(func() {
			times := 1
			if n%10 == 0 {
				times = 2
			}
			for range times {
				out, err := h.enrol(c, client, request, secret, name)
				for busy := 0; errs.Is(err, errs.ServerBusy) && busy < 20; busy++ {
					out, err = h.enrol(c, client, request, secret, name) // as the agent does, later
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				mu.Lock()
				ids[out.DeviceID]++
				users[out.UserID]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(ids) != machines || len(users) != machines {
		t.Errorf("%d devices of %d users", len(ids), len(users))
	}
	err := h.DB.Read(t.Context(), func(tx *db.Tx) error {
		got, err := deploy.View(t.Context(), tx, access.System("test"), token.ID)
		if got.Uses != machines || got.Failures != 0 || got.State(tx.Now()) != deploy.UsedUp {
			t.Errorf("the token: %d uses, %d failures", got.Uses, got.Failures)
		}
		if err != nil {
			return err
		}
		list, err := deploy.Rollout(t.Context(), tx, access.System("test"), h.org.ID, "", time.Time{})
		for _, e := range list {
			if e.Stage != deploy.StageEnrolled || e.Username != e.Hostname+"@example.org" {
				t.Errorf("%+v", e)
			}
		}
		if len(list) != machines {
			t.Errorf("%d in the rollout", len(list))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	_, err = h.enrol(wiretest.NewComputer(t), h.client("", nil), uuid.NewString(), secret, "one-more")
	if !errs.Is(err, errs.BadDeployToken) {
		t.Errorf("one more: %v", err)
	}
}

// A device that waits gets nothing but the word that it waits, until it is
// approved; the token is in no record.
func TestDeployedWaits(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	_, secret := h.newToken(deploy.Rules{Approve: true, CreateUsers: true, Domains: []string{"example.org"}})
	c, client, request := wiretest.NewComputer(t), h.client("", nil), uuid.NewString()
	out, err := h.enrol(c, client, request, secret, "pc")
	if e := errs.Find(err); e == nil || e.Key != "device.waiting" || out.DeviceID != "" {
		t.Fatalf("enrolled: %+v, %v", out, err)
	}
	by := access.Caller{Kind: access.AdminKind, User: "a", Org: h.org.ID, Role: access.OrgAdmin, Name: "ada"}
	n, err := deploy.Decide(t.Context(), h.DB, by, h.org.ID, deploy.Filter{OS: "linux", Search: "pc"}, nil, true)
	if err != nil || n != 1 {
		t.Fatalf("%d are approved, %v", n, err)
	}
	if out, err = h.enrol(c, client, request, secret, "pc"); err != nil {
		t.Fatal(err)
	}
	c.Device(t, out) // reads its secrets
	h.newUser("other")
	err = h.DB.Read(t.Context(), func(tx *db.Tx) error {
		d, err := devices.Find(t.Context(), tx, devices.ID(out.DeviceID))
		if err != nil {
			return err
		}
		u, err := accounts.Find(t.Context(), tx, d.User)
		if u.Email != "pc@example.org" {
			t.Errorf("the device is %s's", u.Email)
		}
		if err != nil {
			return err
		}
		var n int
		err = tx.QueryRow(t.Context(), "SELECT count(*) FROM audit WHERE details LIKE $1", "%"+strings.Split(secret, ".")[2]+"%").Scan(&n)
		if n > 0 {
			t.Error("the secret is in the record")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
