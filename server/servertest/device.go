package servertest

import (
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// Device is an activated computer that has backed up nothing yet.
type Device struct {
	*wiretest.Device
	Client *wire.Client // speaks as the device
}

// NewDevice activates a device of u, whose password is UserPassword.
func (s *Server) NewDevice(u accounts.User, name string) *Device {
	s.T.Helper()
	c := wiretest.NewComputer(s.T)
	answer, err := s.wireClient(wire.Config{}).Activate(s.T.Context(), c.Asks(u.Username, UserPassword, name))
	if err != nil {
		s.T.Fatal(err)
	}
	d := &Device{Device: c.Device(s.T, answer)}
	d.Client = s.As(d)
	return d
}

// As is a client that speaks to this server as d, which was perhaps activated
// at another server beside it.
func (s *Server) As(d *Device) *wire.Client {
	s.T.Helper()
	return s.wireClient(wire.Config{DeviceID: d.DeviceID, Sign: d.Prove})
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
