package vault

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/blob"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/wire"
)

// openingLife is how long one opening serves.
const openingLife = 15 * time.Minute

// Opened is a snapshot that can be read. It serves one login or user token for
// 15 minutes.
type Opened struct {
	Snapshot
	Manifest *snapshot.Manifest
	Private  *snapshot.Private
	Root     backup.Ref       // the catalog's root page
	Fetch    backup.FetchFunc // reads what the snapshot's user may read

	opening *opening
}

// openings keeps what was opened, in memory only, for as long as it serves.
type openings struct {
	mu   sync.Mutex
	open map[openingKey]*opening
}

// openingKey is one login or user token and one snapshot.
type openingKey struct {
	kind    access.Kind
	user    access.UserID
	session string
	hash    backup.Hash
}

type opening struct {
	manifest []byte
	private  []byte
	cert     []byte // of the key that signed it
	expires  time.Time
	taken    map[backup.Hash]bool // what was recorded as taken; openings.mu guards it
}

func (o *openings) get(k openingKey, now time.Time) *opening {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e := o.open[k]; e != nil && now.Before(e.expires) {
		return e
	}
	return nil
}

func (o *openings) put(k openingKey, e *opening) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		o.open = map[openingKey]*opening{}
	}
	o.open[k] = e
	// A key is not kept until somebody happens to look.
	time.AfterFunc(openingLife, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.open[k] == e {
			delete(o.open, k)
		}
	})
}

// Opening opens a snapshot in managed mode for a person who is logged in: the
// owner, or an administrator whom accounts.MayOpen lets in. The first time in
// by.Session writes one audit row.
func (v *Vault) Opening(ctx context.Context, by access.Caller, hash backup.Hash) (*Opened, error) {
	s, e, err := v.opening(ctx, by, hash)
	if err != nil {
		return nil, err
	}
	m, err := snapshot.Decode(e.manifest)
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", hash.Short(), err)
	}
	p, err := snapshot.DecodePrivate(e.private)
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", hash.Short(), err)
	}
	return &Opened{Snapshot: s, Manifest: m, Private: p, Root: p.Root(&m.Header), Fetch: v.fetcher(s.Org, s.User, m.Scope), opening: e}, nil
}

// OpeningFor opens a snapshot for a reader who holds the private half of
// recipient, a one-time key. It is recorded like Opening.
func (v *Vault) OpeningFor(ctx context.Context, by access.Caller, hash backup.Hash, recipient []byte) (wire.Opening, error) {
	_, e, err := v.opening(ctx, by, hash)
	if err != nil {
		return wire.Opening{}, err
	}
	sealed, err := keys.Reseal(e.private, hash, recipient)
	if err != nil {
		return wire.Opening{}, err
	}
	return wire.Opening{Manifest: e.manifest, Opening: sealed, DeviceCert: e.cert}, nil
}

func (v *Vault) opening(ctx context.Context, by access.Caller, hash backup.Hash) (Snapshot, *opening, error) {
	var s Snapshot
	err := v.db.Read(ctx, func(tx *db.Tx) (err error) {
		if s, err = v.byHash(ctx, tx, by, hash); err != nil {
			return err
		}
		if by.Snapshot != "" && by.Snapshot != hash.String() {
			return errs.Of(errs.NoSuchSnapshot, "what", hash.Short())
		}
		return accounts.MayOpen(ctx, tx, by, s.User, "snapshot/"+hash.String())
	})
	if err != nil {
		return Snapshot{}, nil, err
	}
	if by.Session == "" {
		return Snapshot{}, nil, errs.New(errs.Unauthenticated, "access.login.required")
	}
	k := openingKey{by.Kind, by.User, by.Session, hash}
	if e := v.openings.get(k, v.db.Now()); e != nil {
		return s, e, nil
	}
	e, err := v.openNow(ctx, by, s)
	if err != nil {
		return Snapshot{}, nil, err
	}
	v.openings.put(k, e)
	return s, e, nil
}

func (v *Vault) openNow(ctx context.Context, by access.Caller, s Snapshot) (*opening, error) {
	raw, err := v.manifest(ctx, s)
	if err != nil {
		return nil, err
	}
	m, err := snapshot.Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", s.Hash.Short(), err)
	}
	e := &opening{manifest: raw, expires: v.db.Now().Add(openingLife)}
	err = v.db.Write(ctx, func(tx *db.Tx) (err error) {
		// Again, beside the record: the owner may have just shut it.
		if err = accounts.MayOpen(ctx, tx, by, s.User, "snapshot/"+s.Hash.String()); err != nil {
			return err
		}
		if e.private, err = v.keys.OpenSnapshot(ctx, tx, by, m); err != nil {
			return err
		}
		e.cert, err = signerCert(ctx, tx, s, m)
		return err
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// signerCert is the certificate of the key that signed a manifest: the device's,
// or one that it had when it was another computer.
func signerCert(ctx context.Context, tx *db.Tx, s Snapshot, m *snapshot.Manifest) ([]byte, error) {
	certs, err := devices.Certs(ctx, tx, s.signer())
	if err != nil {
		return nil, err
	}
	for _, raw := range certs {
		if c, err := snapshot.DecodeDeviceCert(raw); err == nil && snapshot.VerifyManifest(m, c) == nil {
			return raw, nil
		}
	}
	return nil, fmt.Errorf("no certificate of device %s is of the key that signed manifest %s", s.signer(), s.Hash.Short())
}

// manifest reads a manifest from the store. Its name says what its hash must be.
func (v *Vault) manifest(ctx context.Context, s Snapshot) ([]byte, error) {
	ids, err := parseIDs(string(s.Org), string(s.User), string(s.signer()), s.Set)
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", s.Hash.Short(), err)
	}
	h := snapshot.Header{Seq: s.Seq, Org: ids[0], User: ids[1], Device: ids[2], Set: ids[3]}
	raw, err := blob.Read(ctx, v.blobs, manifestName(&h, s.Hash), snapshot.MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", s.Hash.Short(), err)
	}
	if hash(raw) != s.Hash {
		return nil, fmt.Errorf("manifest %s is damaged in the store", s.Hash.Short())
	}
	return raw, nil
}
