// Package vault is what devices send and get back: it receives packs of sealed
// objects, knows where each lies, makes snapshots visible when everything they
// need is stored and sound, and serves objects to those whose snapshots need
// them. It opens nothing but, in managed mode and through keys, the root of one
// snapshot for one login.
//
// The words: an object's row in the index has a number, and a set of objects is
// a bitmap over those numbers. A user's live set is what their visible
// snapshots need. A session is one upload of one set; what its puts sent is
// pinned until it ends. The rule that keeps users apart, security first:
// nothing outside the live set and the session may be asked for, referred to or
// read, and no answer tells whether somebody else has it.
//
// The store is the truth: packs, refs, manifests and certificates describe
// themselves, and are durable before the database names them.
package vault

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"

	"golang.org/x/sync/semaphore"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/admission"
	"github.com/backstay/backstay/server/blob"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
)

// Config is what a vault is made of.
type Config struct {
	DB    *db.DB
	Blobs blob.Store
	Keys  *keys.Ring
	Log   *slog.Logger // slog.Default() when nil

	// SnapshotsPerDay is how many snapshots of one set are taken in 24 hours,
	// 500 when 0.
	SnapshotsPerDay int

	// Places is how many devices may back up at once, on all servers of the
	// database together; as many as this machine bears when 0.
	Places int
}

// Vault keeps the backups of all organisations of a server. It is safe for
// concurrent use, and several servers may use one database and store.
type Vault struct {
	db     *db.DB
	blobs  blob.Store
	keys   *keys.Ring
	log    *slog.Logger
	perDay int
	id     backup.UUID
	line   *admission.Line

	sets       liveSets
	sent       sentSets
	kept       keptCerts
	openings   openings
	committing *semaphore.Weighted
}

const (
	// liveMemory bounds the live sets that are remembered.
	liveMemory = 64 << 20

	// commitMemory bounds the lists of all commits together.
	commitMemory = 1 << 30

	idName = "vault.id"
)

// Open uses a database and a store as a vault. Both new, they are given an id;
// a database and a store that do not belong together are refused.
func Open(ctx context.Context, c Config) (*Vault, error) {
	v := &Vault{
		db: c.DB, blobs: c.Blobs, keys: c.Keys, log: c.Log, perDay: c.SnapshotsPerDay,
		line:       admission.New(c.DB, c.Places),
		sets:       liveSets{limit: liveMemory},
		committing: semaphore.NewWeighted(commitMemory),
	}
	if v.log == nil {
		v.log = slog.Default()
	}
	if v.perDay == 0 {
		v.perDay = 500
	}
	var err error
	if v.id, err = storeID(ctx, c.DB, c.Blobs); err != nil {
		return nil, fmt.Errorf("opening the vault: %w", err)
	}
	return v, nil
}

// StoreID is the vault's own id. It stands in every manifest, so that a
// manifest cannot be moved to another vault.
func (v *Vault) StoreID() backup.UUID { return v.id }

// storeID makes sure that database and store belong together. Both hold the id;
// the first to be used gives it to the other.
func storeID(ctx context.Context, d *db.DB, s blob.Store) (id backup.UUID, err error) {
	inStore, err := readStoreID(ctx, s)
	if err != nil {
		return id, err
	}
	proposal := inStore
	if proposal == "" {
		rand.Read(id[:])
		proposal = id.Hex()
	}
	var inDB string
	var packs int
	err = d.Write(ctx, func(tx *db.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE vault_state SET store = $1 WHERE store = ''`, proposal); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, `SELECT store FROM vault_state`).Scan(&inDB)
		if err == nil {
			err = tx.QueryRow(ctx, `SELECT count(*) FROM packs`).Scan(&packs)
		}
		return err
	})
	if err != nil {
		return id, err
	}
	switch {
	case inStore == "" && packs > 0:
		// A disk that is not mounted looks like this.
		return id, errs.New(errs.Local, "vault.absent", "n", packs)
	case inStore == "":
		if err := unused(ctx, s); err != nil {
			return id, err
		}
		if err := blob.Write(ctx, s, idName, []byte(inDB+"\n")); err != nil {
			return id, err
		}
	case inStore != inDB:
		return id, errs.New(errs.Local, "vault.foreign")
	}
	hex.Decode(id[:], []byte(inDB))
	return id, nil
}

// readStoreID is the id in the store, "" when there is none.
func readStoreID(ctx context.Context, s blob.Store) (string, error) {
	text, err := blob.Read(ctx, s, idName, 100)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	id := strings.TrimSuffix(string(text), "\n")
	if b, err := hex.DecodeString(id); err != nil || len(b) != len(backup.UUID{}) {
		return "", fmt.Errorf("%s does not hold 32 hex digits", idName)
	}
	return id, nil
}

// unused refuses a store that holds data and no id: it is not clear whose it is.
func unused(ctx context.Context, s blob.Store) error {
	for _, prefix := range []string{"packs/", "manifests/"} {
		err := s.List(ctx, prefix, func(blob.Info) error { return errs.New(errs.Local, "vault.foreign") })
		if err != nil {
			return err
		}
	}
	return nil
}

// discard removes a blob that nothing names. When that fails the collector
// finds it.
func (v *Vault) discard(ctx context.Context, name string) {
	if err := v.blobs.Delete(context.WithoutCancel(ctx), name); err != nil {
		v.log.Warn("could not remove an unused blob", "name", name, "error", err)
	}
}

// parseIDs are ids of the database as the engine has them.
func parseIDs(texts ...string) ([]backup.UUID, error) {
	ids := make([]backup.UUID, len(texts))
	for i, text := range texts {
		var err error
		if ids[i], err = backup.ParseUUID(text); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func hash(b []byte) backup.Hash { return sha256.Sum256(b) }
