package state

import (
	"errors"
	"io/fs"
	"time"

	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
)

// Deployment is how it stands with a computer that enrols by itself and is no
// device yet.
type Deployment struct {
	Format      int       `json:"format"`
	Server      string    `json:"server"`
	Fingerprint string    `json:"fingerprint,omitempty"` // of the server's key
	errs.Note             // the last failure
	At          time.Time `json:"at"`
	Tries       int       `json:"tries"`
	Next        time.Time `json:"next"` // when it tries again
}

// Email is the address of the user who has to sign in, "" when nobody has to or
// nothing says who.
func (d *Deployment) Email() string {
	email, _ := d.Args["email"].(string)
	return email
}

// Deployment returns how it stands, nil when this computer does not enrol by
// itself.
func (s *State) Deployment() (*Deployment, error) {
	var d Deployment
	ok, err := s.read("deployment.json", &d)
	if err != nil || !ok {
		return nil, err
	}
	return &d, nil
}

// SetDeployment remembers how it stands, or with nil that it has ended. It needs
// no lock: the file is replaced as a whole, and no backup reads it.
func (s *State) SetDeployment(d *Deployment) error {
	if d != nil {
		d.Format = format
		return s.write("deployment.json", d)
	}
	err := durable.Remove(s.path("deployment.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
