package servertest

import (
	"crypto/ed25519"
	"crypto/rand"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
)

// Device is an activated computer that has backed up nothing yet.
type Device struct {
	wire.Activated
	Signing ed25519.PrivateKey
	Secrets crypt.Secrets
	Client  *wire.Client // speaks as the device
}

// NewDevice activates a device of u, whose password is UserPassword.
func (s *Server) NewDevice(u accounts.User, name string) *Device {
	s.T.Helper()
	public, signing, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		s.T.Fatal(err)
	}
	oneTime, enrolment, err := crypt.GenerateKey()
	if err != nil {
		s.T.Fatal(err)
	}
	answer, err := s.wireClient(wire.Config{}).Activate(s.T.Context(), wire.Activate{
		Username: u.Username, Password: UserPassword, RequestID: uuid.NewString(), Name: name,
		Hardware:      wire.Hardware{MachineID: uuid.NewString(), Hostname: name, OS: "linux", Arch: "amd64"},
		ClientVersion: version.Number(), SigningKey: public, EnrolmentKey: enrolment,
	})
	if err != nil {
		s.T.Fatal(err)
	}
	d := &Device{Activated: answer, Signing: signing}
	if d.Secrets, err = crypt.OpenEnrolment(oneTime, s.id(answer.UserID), s.id(answer.DeviceID), public, answer.SealedSecrets); err != nil {
		s.T.Fatal(err)
	}
	d.Client = s.As(d)
	return d
}

// As is a client that speaks to this server as d, which was perhaps activated
// at another server beside it.
func (s *Server) As(d *Device) *wire.Client {
	s.T.Helper()
	device, store := s.id(d.DeviceID), s.Vault.StoreID()
	return s.wireClient(wire.Config{DeviceID: d.DeviceID, Sign: func(challenge []byte) ([]byte, error) {
		m := append(append(append([]byte{}, device[:]...), store[:]...), challenge...)
		return crypt.Sign(d.Signing, "token", m), nil
	}})
}

func (s *Server) wireClient(cfg wire.Config) *wire.Client {
	s.T.Helper()
	cfg.Server, cfg.Fingerprint = s.URL, s.Fingerprint
	c, err := wire.New(cfg)
	if err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(c.Close)
	return c
}

func (s *Server) id(text string) backup.UUID {
	s.T.Helper()
	id, err := backup.ParseUUID(text)
	if err != nil {
		s.T.Fatal(err)
	}
	return id
}
