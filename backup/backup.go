// Package backup is the engine, and here are its words: the identifiers, kinds
// and limits of docs/format.md that all its packages share, and the one
// canonical encoding in which everything is written.
//
// A chunk is up to 4 MiB of file content; a catalog is the list of a
// snapshot's entries, kept in pages; both are sealed as objects. An object is
// named by its ID, the hash of its sealed bytes, and opened by its Key; a Ref
// is what is needed to fetch, open and check one.
package backup

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Suite is the one set of algorithms there is, format.md section 1.
const Suite = 1

// Limits of the format. Decoders check them before memory is taken.
const (
	MaxPlain  = 8 << 20  // plaintext of one object
	MaxSealed = 8454144  // sealed bytes of one object
	MaxPack   = 64 << 20 // records of one pack

	MinChunk  = 256 << 10 // no chunk of a large file is shorter, but its last; smaller files are bundled
	MeanChunk = 1 << 20   // from here on cuts become likelier
	MaxChunk  = 4 << 20   // a chunk or bundle is never longer
	MinBundle = 512 << 10 // a bundle ends no sooner, but the last

	MinPage     = 64 << 10 // a page ends no sooner, but the last of its level
	MaxPage     = 1 << 20  // a writer ends a page before it is longer
	MaxPageRead = 4 << 20  // a reader refuses longer ones

	MaxName       = 1024  // bytes of one name
	MaxHoles      = 4096  // holes a file keeps
	MaxExtents    = 4096  // extents in an entry, or in one object of kind Extents
	MaxAttrs      = 4096  // bytes of attributes in an entry
	MaxPrivate    = 65536 // bytes of a manifest's private part
	MaxRefsDepth  = 16    // deltas upon a full list of refs
	MaxRecipients = 8     // of one manifest; not the format's, a bound for decoders
)

// Kind says what an object holds. It is bound into the object's key, so that
// an object can only be opened as what it was sealed as.
type Kind uint8

// The kinds. Missing is no object: a server answers it for one that it does
// not have.
const (
	Missing Kind = 0
	Data    Kind = 1 // a chunk
	Page    Kind = 2 // a catalog page
	Attrs   Kind = 3 // extended attributes too large for their entry
	Extents Kind = 4 // a list of extents too long for its entry
)

// Valid reports whether k is a kind of object.
func (k Kind) Valid() bool { return k >= Data && k <= Extents }

// Class returns the class of packs in which objects of kind k lie.
func (k Kind) Class() Class {
	if k == Data {
		return ClassData
	}
	return ClassMetadata
}

// Class separates file content from everything else: a pack holds one class.
type Class uint8

// The classes.
const (
	ClassData     Class = 1
	ClassMetadata Class = 2
)

// Valid reports whether c is a class.
func (c Class) Valid() bool { return c == ClassData || c == ClassMetadata }

// String returns the class's name in the protocol.
func (c Class) String() string {
	switch c {
	case ClassData:
		return "data"
	case ClassMetadata:
		return "metadata"
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// ParseClass is the reverse of String.
func ParseClass(s string) (Class, error) {
	switch s {
	case "data":
		return ClassData, nil
	case "metadata":
		return ClassMetadata, nil
	}
	return 0, fmt.Errorf("%q is no class of packs", s)
}

// UUID identifies an organisation, a user, a device, a set, a session or a
// vault.
type UUID [16]byte

// ParseUUID reads the usual form, 8-4-4-4-12 hex digits in lower case.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return UUID{}, fmt.Errorf("%q is no UUID", s)
	}
	if err := unhex(u[:], s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:]); err != nil {
		return UUID{}, fmt.Errorf("%q is no UUID", s)
	}
	return u, nil
}

// String returns the usual form, 8-4-4-4-12 hex digits.
func (u UUID) String() string {
	h := u.Hex()
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Hex returns the 32 hex digits alone, as in names in the vault.
func (u UUID) Hex() string { return hex.EncodeToString(u[:]) }

// MarshalText gives the usual form.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads the usual form.
func (u *UUID) UnmarshalText(b []byte) (err error) {
	*u, err = ParseUUID(string(b))
	return err
}

// ID names an object: the SHA-256 of its sealed bytes.
type ID [32]byte

// ParseID reads 64 hex digits in lower case.
func ParseID(s string) (ID, error) {
	var id ID
	if err := unhex(id[:], s); err != nil {
		return ID{}, fmt.Errorf("%q is no object id", s)
	}
	return id, nil
}

// String returns 64 hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText gives 64 hex digits.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads 64 hex digits.
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}

// Hash is a SHA-256: of a manifest, of refs, of a public key.
type Hash [32]byte

// ParseHash reads 64 hex digits in lower case.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if err := unhex(h[:], s); err != nil {
		return Hash{}, fmt.Errorf("%q is no hash", s)
	}
	return h, nil
}

// String returns 64 hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Short returns the first 16 hex digits: of a manifest, the snapshot id that
// people see.
func (h Hash) Short() string { return hex.EncodeToString(h[:8]) }

// MarshalText gives 64 hex digits.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads 64 hex digits.
func (h *Hash) UnmarshalText(b []byte) (err error) {
	*h, err = ParseHash(string(b))
	return err
}

// Key is a secret of 32 bytes. It does not print: not by fmt, not in a log,
// not in JSON or another text encoding.
type Key [32]byte

// Format prints a placeholder for every verb.
func (Key) Format(s fmt.State, _ rune) { io.WriteString(s, "[key]") }

// LogValue logs a placeholder.
func (Key) LogValue() slog.Value { return slog.StringValue("[key]") }

// MarshalText fails, so that a key cannot slip into JSON with the struct
// around it. What must keep one writes its bytes on purpose.
func (Key) MarshalText() ([]byte, error) { return nil, errors.New("a key has no text form") }

func unhex(dst []byte, s string) error {
	if len(s) != 2*len(dst) {
		return errors.New("wrong length")
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return errors.New("not a hex digit")
		}
	}
	_, err := hex.Decode(dst, []byte(s))
	return err
}

// Ref is all that is needed to find one object, open it and check it. It opens
// the object: whoever holds it can read the content.
type Ref struct {
	ID  ID
	Key Key
	Len uint32 // of the plaintext
}

// RefSize is the length of an encoded ref.
const RefSize = 32 + 32 + 4

// Object is a sealed object, ready to be stored anywhere.
type Object struct {
	Ref    Ref
	Kind   Kind
	Sealed []byte
}

// FetchFunc fetches the objects refs names, all of kind, checks and opens
// them. It calls each once for every ref that it could get, in any order, never two calls at
// once, and plain is valid only during the call. An error of each ends the fetch and is returned.
// A ref that cannot be had or does not verify is an error as well; which ones were delivered
// before it is known by each's calls.
//
// It is the one seam through which catalogs and content are read: over the
// wire by an agent, from the vault by the server, from a folder by rescue.
type FetchFunc func(ctx context.Context, kind Kind, refs []Ref, each func(i int, plain []byte) error) error
