package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/servertest"
)

// A server sends what is queued, and signs with its own name and address.
func TestMail(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	post := s.Mail()
	begin := time.Now()
	err := s.DB.Write(t.Context(), func(tx *db.Tx) error {
		return mail.Queue(t.Context(), tx, s.Keys, mail.Mail{To: "user@example.org", Template: mail.Usernames, Values: map[string]string{"usernames": "user"}})
	})
	if err != nil {
		t.Fatal(err)
	}
	m := post.Wait("user@example.org", mail.Usernames)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if want := "(" + s.URL[len("https://"):] + ")"; !strings.Contains(m.Text, want) {
		t.Errorf("it does not name %s:\n%s", want, m.Text)
	}
}
