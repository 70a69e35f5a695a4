package state

import "github.com/backstay/backstay/profile"

// choicesFile has the folders as bytes, in place of those of the choices: a name
// need not be UTF-8.
type choicesFile struct {
	Format int `json:"format"`
	profile.Choices
	Folders [][]byte `json:"folders,omitempty"`
}

// Choices are what the user of this device chose; none when nobody did.
func (s *State) Choices() (profile.Choices, error) {
	var f choicesFile
	if _, err := s.read("choices.json", &f); err != nil {
		return profile.Choices{}, err
	}
	c := f.Choices
	for _, folder := range f.Folders {
		c.Folders = append(c.Folders, string(folder))
	}
	return c, nil
}

// SetChoices remembers what the user chose.
func (s *State) SetChoices(c profile.Choices) error {
	f := choicesFile{Format: format, Choices: c}
	for _, folder := range c.Folders {
		f.Folders = append(f.Folders, []byte(folder))
	}
	return s.write("choices.json", f)
}
