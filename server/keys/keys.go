// Package keys holds what can open a backup in managed mode: the organisations'
// keys. They lie in a folder of their own, each wrapped under the key file
// beside them, and are never in the database, a dump or a log. Nothing outside
// this package sees a private key or a user's root key; what it does with them
// is here: make users, certify devices, open one manifest for one approved
// request, sign receipts. The key file also seals the small secrets that the
// database keeps, and the key that signs licences.
//
// The folder is part of every recovery: without it the server opens no backup.
// It belongs into a backup apart from the database's.
package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/server/access"
)

const (
	keyFileName = "keyfile"
	keyFileSize = 32
	orgSuffix   = ".key"

	// epoch is the deduplication epoch of all users so far.
	epoch = 1
)

// Ring is the folder of keys, opened. It is safe for concurrent use, also by
// several processes.
type Ring struct {
	dir     string
	keyFile []byte

	making sync.Mutex // NewOrg, so that one call sees what another made

	mu      sync.Mutex
	orgs    map[backup.UUID][]generation // as read so far, oldest first
	licence ed25519.PrivateKey           // nil until it was read
}

// Format prints nothing of what is in the ring.
func (r *Ring) Format(s fmt.State, _ rune) { fmt.Fprint(s, "[keys]") }

// LogValue logs nothing of what is in the ring.
func (r *Ring) LogValue() slog.Value { return slog.StringValue("[keys]") }

type generation struct {
	gen  uint64
	id   backup.Hash // key id of the public HPKE key
	keys crypt.Org
}

// Open opens the folder dir, and makes it and its key file when there is
// neither. A folder with keys and without the key file is refused: a new key
// file would open none of them.
func Open(dir string) (*Ring, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of keys: %w", err)
	}
	path := filepath.Join(dir, keyFileName)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(dir, path); err != nil {
			return nil, fmt.Errorf("making the key file: %w", err)
		}
	}
	file, err := private(path)
	if err != nil {
		return nil, fmt.Errorf("reading the key file: %w", err)
	}
	if len(file) != keyFileSize {
		return nil, fmt.Errorf("the key file %s has %d bytes, not %d", path, len(file), keyFileSize)
	}
	return &Ring{dir: dir, keyFile: file, orgs: map[backup.UUID][]generation{}}, nil
}

// create makes the key file, unless another process does.
func create(dir, path string) error {
	wrapped, err := filepath.Glob(filepath.Join(dir, "*"+orgSuffix))
	if err != nil {
		return err
	}
	if len(wrapped) > 0 {
		return fmt.Errorf("%s is missing, and the keys in %s cannot be opened without it: bring it back from your backup", path, dir)
	}
	key := make([]byte, keyFileSize)
	rand.Read(key)
	return putNew(dir, keyFileName, key)
}

// private reads a file that nobody but its owner may read.
func private(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is open to others (mode %o): chmod 600 it", path, info.Mode().Perm())
	}
	return os.ReadFile(path)
}

func (r *Ring) path(org backup.UUID, gen uint64) string {
	return filepath.Join(r.dir, fmt.Sprintf("%s-%d%s", org, gen, orgSuffix))
}

// current returns the newest keys of an organisation.
func (r *Ring) current(org backup.UUID) (generation, error) {
	all, err := r.generations(org)
	if err != nil {
		return generation{}, err
	}
	if len(all) == 0 {
		return generation{}, fmt.Errorf("there is no key of organisation %s in %s", org, r.dir)
	}
	return all[len(all)-1], nil
}

// byID returns the keys whose public HPKE key has this id. Another process may
// have made them since the folder was read.
func (r *Ring) byID(org backup.UUID, id backup.Hash) (generation, error) {
	for range 2 {
		all, err := r.generations(org)
		if err != nil {
			return generation{}, err
		}
		for _, g := range all {
			if g.id == id {
				return g, nil
			}
		}
		r.mu.Lock()
		delete(r.orgs, org)
		r.mu.Unlock()
	}
	return generation{}, fmt.Errorf("organisation %s has no key with the id %s in %s", org, id, r.dir)
}

func (r *Ring) generations(org backup.UUID) ([]generation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if all := r.orgs[org]; len(all) > 0 {
		return all, nil
	}
	names, err := filepath.Glob(filepath.Join(r.dir, org.String()+"-*"+orgSuffix))
	if err != nil {
		return nil, err
	}
	var all []generation
	for _, name := range names {
		number := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), org.String()+"-"), orgSuffix)
		gen, err := strconv.ParseUint(number, 10, 64)
		if err != nil || gen == 0 {
			continue // not one of ours
		}
		g, err := r.read(org, gen)
		if err != nil {
			// Not in the chain: a damaged key is ours to mend, and no answer
			// for whoever asked.
			return nil, fmt.Errorf("reading the key of organisation %s, generation %d: %v", org, gen, err)
		}
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b generation) int {
		if a.gen < b.gen {
			return -1
		}
		return 1
	})
	r.orgs[org] = all
	return all, nil
}

func (r *Ring) read(org backup.UUID, gen uint64) (generation, error) {
	wrapped, err := private(r.path(org, gen))
	if err != nil {
		return generation{}, err
	}
	ork, err := crypt.UnwrapOrg(r.keyFile, org, gen, wrapped)
	if err != nil {
		return generation{}, err
	}
	return derive(ork, gen)
}

func derive(ork backup.Key, gen uint64) (generation, error) {
	k, err := crypt.DeriveOrg(ork, gen)
	if err != nil {
		return generation{}, err
	}
	return generation{gen: gen, id: crypt.KeyID(k.SealPublic), keys: k}, nil
}

// ids turns the text of identifiers into the form that the format has. That
// they do not parse is no mistake of a caller from outside.
func ids(org access.OrgID, user access.UserID) (o, u backup.UUID, err error) {
	if o, err = backup.ParseUUID(string(org)); err != nil {
		return o, u, fmt.Errorf("organisation %q: %w", org, err)
	}
	if u, err = backup.ParseUUID(string(user)); err != nil {
		return o, u, fmt.Errorf("user %q: %w", user, err)
	}
	return o, u, nil
}
