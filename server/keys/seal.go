package keys

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/durable"
)

// licenceFileName names the file of the licence key, wrapped under the key
// file. Like all keys it ends in orgSuffix, so that the key file is not made
// anew beside it.
const licenceFileName = "licence" + orgSuffix

const licenceKind = "licence"

var errPurpose = errors.New("sealing without a purpose")

// Seal encrypts what the database keeps and must not show, under the key file.
// It opens for the same purpose only: what was sealed as one thing cannot be
// put in the place of another.
func (r *Ring) Seal(purpose string, plain []byte) ([]byte, error) {
	if purpose == "" {
		return nil, errPurpose
	}
	return crypt.Wrap(r.keyFile, sealLabel(purpose), plain), nil
}

// Unseal opens what Seal made for the same purpose. What does not open was
// changed, or was sealed under another key file.
func (r *Ring) Unseal(purpose string, sealed []byte) ([]byte, error) {
	if purpose == "" {
		return nil, errPurpose
	}
	plain, err := crypt.Unwrap(r.keyFile, sealLabel(purpose), sealed)
	if err != nil {
		// Not in the chain: it is ours to mend, and no answer for whoever asked.
		return nil, fmt.Errorf("unsealing a %s: %v", purpose, err)
	}
	return plain, nil
}

func sealLabel(purpose string) []byte { return []byte("backstay/v1/sealed\x00" + purpose) }

// MAC is an HMAC-SHA-256 of the parts under a key of its own for each purpose.
// Each part counts with its length: two lists of parts never read the same.
// Without the key file nobody can try out what the parts were.
func (r *Ring) MAC(purpose string, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, crypt.Expand(r.keyFile, "backstay/v1/mac\x00"+purpose, 32))
	for _, part := range parts {
		var e backup.Encoder
		e.U64(uint64(len(part)))
		h.Write(e.B)
		h.Write(part)
	}
	return h.Sum(nil)
}

// SignLicence signs a licence's document with the licence key, which is made
// for the first one. All servers that share the folder have the same key.
func (r *Ring) SignLicence(document []byte) ([]byte, error) {
	key, err := r.licenceKey()
	if errors.Is(err, fs.ErrNotExist) {
		if err := r.makeLicenceKey(); err != nil {
			return nil, fmt.Errorf("making the licence key: %w", err)
		}
		key, err = r.licenceKey()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the licence key: %v", err)
	}
	return crypt.Sign(key, licenceKind, document), nil
}

// VerifyLicence reports whether SignLicence made the signature for exactly
// this document. The error is about the key, which could not be read.
func (r *Ring) VerifyLicence(document, signature []byte) (bool, error) {
	key, err := r.licenceKey()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // nothing was ever signed here
	}
	if err != nil {
		return false, fmt.Errorf("reading the licence key: %v", err)
	}
	return crypt.VerifySignature(key.Public().(ed25519.PublicKey), licenceKind, document, signature) == nil, nil
}

func (r *Ring) licenceKey() (ed25519.PrivateKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.licence != nil {
		return r.licence, nil
	}
	wrapped, err := private(filepath.Join(r.dir, licenceFileName))
	if err != nil {
		return nil, err
	}
	seed, err := crypt.Unwrap(r.keyFile, []byte(licenceLabel), wrapped)
	if err != nil {
		return nil, err
	}
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("%s holds %d bytes, not %d", licenceFileName, len(seed), ed25519.SeedSize)
	}
	r.licence = ed25519.NewKeyFromSeed(seed)
	return r.licence, nil
}

const licenceLabel = "backstay/v1/licence-key\x00"

// makeLicenceKey makes the key. Of several servers that try at once one wins.
func (r *Ring) makeLicenceKey() error {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	return putNew(r.dir, licenceFileName, crypt.Wrap(r.keyFile, []byte(licenceLabel), seed))
}

// putNew makes a file of a folder, whole and durably, unless it is there: of
// several processes that try at once one wins, and the others use its file. A
// link replaces nothing.
func putNew(dir, name string, content []byte) error {
	temp := filepath.Join(dir, "."+name+"-"+rand.Text())
	if err := durable.WriteFile(temp, content, 0o600); err != nil {
		return err
	}
	defer os.Remove(temp)
	if err := os.Link(temp, filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.SyncDir(dir)
}
