package state

import (
	"errors"
	"io/fs"

	"github.com/backstay/backstay/durable"
)

// Registration is an account that was asked for and waits for its code. Pending
// names it to the server and to nobody else; the password is not kept.
type Registration struct {
	Format      int    `json:"format"`
	Server      string `json:"server"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Username    string `json:"username"`
	Email       string `json:"email"`
	Pending     string `json:"pending"`
}

// Registration returns the registration that waits for its code, nil when there
// is none.
func (s *State) Registration() (*Registration, error) {
	var r Registration
	ok, err := s.read("registration.json", &r)
	if err != nil || !ok {
		return nil, err
	}
	return &r, nil
}

// SetRegistration remembers a registration, or with nil that it has ended. It
// needs no lock: the file is replaced as a whole, and no backup reads it.
func (s *State) SetRegistration(r *Registration) error {
	if r != nil {
		r.Format = format
		return s.write("registration.json", r)
	}
	err := durable.Remove(s.path("registration.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
