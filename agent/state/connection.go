package state

import "github.com/backstay/backstay/wire"

// Connection is how this computer reaches servers. It may hold the password of
// a proxy, which is written here and nowhere else.
type Connection struct {
	Format int        `json:"format"`
	Proxy  wire.Proxy `json:"proxy"`
}

// Connection returns how this computer reaches servers: as the system says when
// nobody has said otherwise.
func (s *State) Connection() (c Connection, err error) {
	if _, err := s.read("connection.json", &c); err != nil {
		return Connection{}, err
	}
	c.Proxy, err = c.Proxy.Check()
	return c, err
}

// SetConnection remembers how this computer reaches servers. It needs no lock:
// the file is replaced as a whole. A running agent goes over to it within
// seconds.
func (s *State) SetConnection(c Connection) (err error) {
	if c.Proxy, err = c.Proxy.Check(); err != nil {
		return err
	}
	c.Format = format
	return s.write("connection.json", c)
}
