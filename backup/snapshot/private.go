package snapshot

import (
	"errors"

	"github.com/backstay/backstay/backup"
)

// Problem is something that a backup could not read.
type Problem struct {
	Path, Reason string
}

// Private is what a manifest says only to those who can open it: the catalog's
// root, and names.
type Private struct {
	RootKey backup.Key
	RootLen uint32
	Host    string
	SetName string
	Client  string // version of the program
	Policy  backup.Hash
	Roots   []string  // folders backed up
	Errors  []Problem // the first ones
}

// Root returns the ref of the catalog's root page, whose id stands in the
// header.
func (p *Private) Root(h *Header) backup.Ref {
	return backup.Ref{ID: h.RootID, Key: p.RootKey, Len: p.RootLen}
}

// Encode returns the private part's bytes, with as many of the errors as fit.
func (p *Private) Encode() ([]byte, error) {
	var e backup.Encoder
	e.Raw(p.RootKey[:])
	e.U32(p.RootLen)
	e.String(p.Host)
	e.String(p.SetName)
	e.String(p.Client)
	e.Raw(p.Policy[:])
	e.Count(len(p.Roots))
	for _, r := range p.Roots {
		e.String(r)
	}
	room := backup.MaxPrivate - len(e.B) - 4
	if room < 0 {
		return nil, errors.New("encoding a manifest's private part: it has too many folders")
	}
	n := 0
	for ; n < len(p.Errors); n++ {
		room -= 8 + len(p.Errors[n].Path) + len(p.Errors[n].Reason)
		if room < 0 {
			break
		}
	}
	e.Count(n)
	for _, problem := range p.Errors[:n] {
		e.String(problem.Path)
		e.String(problem.Reason)
	}
	return e.B, nil
}

// DecodePrivate reads a private part.
func DecodePrivate(b []byte) (*Private, error) {
	const limit = backup.MaxPrivate
	d := backup.NewDecoder("private part of a manifest", b)
	if len(b) > limit {
		d.Fail("longer than allowed")
	}
	p := &Private{
		RootKey: d.Key(), RootLen: d.U32(),
		Host: d.String(limit), SetName: d.String(limit), Client: d.String(limit),
		Policy: d.Hash(),
	}
	if p.RootLen > backup.MaxPageRead {
		d.Fail("its root page is too long")
	}
	p.Roots = make([]string, d.Count(limit, 4))
	for i := range p.Roots {
		p.Roots[i] = d.String(limit)
	}
	p.Errors = make([]Problem, d.Count(limit, 8))
	for i := range p.Errors {
		p.Errors[i] = Problem{Path: d.String(limit), Reason: d.String(limit)}
	}
	if err := d.Finish(); err != nil {
		return nil, err
	}
	return p, nil
}
