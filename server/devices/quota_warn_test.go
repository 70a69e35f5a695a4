package devices_test

import (
	"slices"
	"testing"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/accounts/accountstest"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
)

// F-12: who comes near a quota is told, and the administrators, each in their
// language; of the organisation's the administrators alone. Nobody is told twice.
func TestWarnOfQuotas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	vic := w.User("vic")
	w.Made(accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "ada", Email: "ada@example.org", Language: "fr", PasswordHash: w.Hash(accountstest.Password)})
	d, _ := w.device(vic, "laptop")
	limit := int64(100_000_000_000)
	w.Write(func(tx *db.Tx) error { return accounts.SetQuota(t.Context(), tx, system, vic.ID, &limit) })
	told := 0
	backsUp := func(bytes int64, want ...string) {
		t.Helper()
		w.Write(func(tx *db.Tx) error {
			return devices.Committed(t.Context(), tx, d.ID, devices.Backup{At: tx.Now(), Status: "complete", Bytes: bytes})
		})
		for range 2 {
			if err := devices.WarnOfQuotas(t.Context(), w.DB, w.Ring); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		all := w.Mails()
		for _, m := range all[told:] {
			got = append(got, string(m.Template)+" "+m.To+" "+m.Values["used"])
		}
		if told = len(all); !slices.Equal(got, want) {
			t.Errorf("at %d bytes these are told: %q, want %q", bytes, got, want)
		}
	}
	backsUp(79_000_000_000)
	backsUp(80_000_000_000, string(mail.QuotaFilling)+" vic@example.org 80 GB", string(mail.QuotaFilling)+" ada@example.org 80\u00a0Go")
	backsUp(100_000_000_000, string(mail.QuotaUsedUp)+" vic@example.org ", string(mail.QuotaUsedUp)+" ada@example.org ")
	backsUp(1_000_000_000)
	w.Write(func(tx *db.Tx) error { return orgs.SetQuota(t.Context(), tx, system, w.Org.ID, 50_000_000_000) })
	backsUp(48_000_000_000, string(mail.OrgQuotaFilling)+" ada@example.org 48\u00a0Go")
}
