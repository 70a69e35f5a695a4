package state

import (
	"maps"
	"time"
)

// Told is what the user was told.
type Told struct {
	Format int `json:"format"`
	// Open is the problem that there is, empty when all is well, and Number the
	// notice that says so, 0 when it was not shown.
	Open   string `json:"open,omitempty"`
	Number uint32 `json:"number,omitempty"`
	// At is when which problem was told, of those of the last day.
	At map[string]time.Time `json:"at,omitempty"`
	// Done is when the user was last told that a backup is complete.
	Done time.Time `json:"done,omitzero"`
}

// Equal reports whether both are the same.
func (t Told) Equal(o Told) bool {
	return t.Open == o.Open && t.Number == o.Number && t.Done.Equal(o.Done) && maps.EqualFunc(t.At, o.At, time.Time.Equal)
}

// Told returns what the user was told; what cannot be read was not said.
func (s *State) Told() Told {
	var t Told
	if _, err := s.read("notices.json", &t); err != nil {
		return Told{}
	}
	return t
}

// SetTold remembers it.
func (s *State) SetTold(t Told) error {
	t.Format = format
	return s.write("notices.json", t)
}
