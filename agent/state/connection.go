package state

import "github.com/backstay/backstay/wire"

// Connection is how this computer reaches servers. It may hold the password of
// a proxy.
type Connection struct {
	Format int        `json:"format"`
	Proxy  wire.Proxy `json:"proxy"`
}

// Connection returns how this computer reaches servers: as the system says when
// nobody has said otherwise.
func (s *State) Connection() (Connection, error) {
	c := Connection{Proxy: wire.Proxy{Mode: wire.ProxySystem}}
	_, err := s.read("connection.json", &c)
	return c, err
}

// SetConnection remembers how this computer reaches servers. It needs no lock:
// the file is replaced as a whole. A running agent notices within seconds.
func (s *State) SetConnection(c Connection) error {
	c.Format = format
	return s.write("connection.json", c)
}
