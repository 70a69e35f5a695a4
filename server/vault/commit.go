package vault

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/blob"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/wire"
)

// MaxRefs bounds the refs of one commit: eight million objects.
const MaxRefs = 8<<20*32 + 64

// commit is a snapshot on its way to be visible.
type commit struct {
	by       access.Caller
	session  string
	manifest []byte
	refs     []byte

	m     *snapshot.Manifest
	hash  backup.Hash
	r     *snapshot.Refs
	certs certs

	ids      []backup.ID // all that it needs, in order
	removals int64       // the counter when the following were looked up
	rows     *roaring.Bitmap
	absent   []backup.ID // of ids, those without a row
	held     int64       // stored bytes of the contents among them

	lacking wire.Lacking
}

// Commit makes a snapshot visible, or changes nothing. Body holds the manifest
// and the refs as docs/protocol.md says. Everything a snapshot needs is checked
// in the transaction that makes it visible: each object was sent in this
// session or is needed by a live snapshot of this user, and is sound. If not,
// the failure is E1507 with the ids that are missing.
//
// A repeated commit of the same manifest gets the first answer. When files wait
// for room on the quota, a partial snapshot ends its session as a complete one
// does: there is nothing more to come for it.
func (v *Vault) Commit(ctx context.Context, by access.Caller, id string, lacking wire.Lacking, body io.Reader) (wire.Committed, error) {
	c := &commit{by: by, session: id, lacking: lacking}
	release, err := v.readCommit(ctx, c, body)
	if err != nil {
		return wire.Committed{}, err
	}
	defer release()
	if c.m, err = snapshot.Decode(c.manifest); err != nil {
		return wire.Committed{}, errs.New(errs.Invalid, "manifest.form").Because(err)
	}
	c.hash = c.m.Hash()
	answer, done, err := v.prepare(ctx, c)
	if done || err != nil {
		return answer, err
	}
	if err := v.keep(ctx, c); err != nil {
		return wire.Committed{}, err
	}
	err = v.db.Write(ctx, func(tx *db.Tx) (err error) {
		answer, err = v.makeVisible(ctx, tx, c)
		return err
	})
	if err != nil {
		return wire.Committed{}, err
	}
	v.log.InfoContext(ctx, "snapshot is visible", "backup_session", id, "snapshot", answer.Snapshot, "seq", answer.Seq,
		"status", c.m.Status.String(), "files", c.m.Files, "bytes", c.m.Bytes, "unreadable", c.m.Unreadable, "objects", len(c.ids))
	if c.ends() {
		// Apart from the commit, which would be in the way of all who ask for a
		// place: when it fails, the place is free a little later.
		if err := v.line.Leave(context.WithoutCancel(ctx), by.Device); err != nil {
			v.log.WarnContext(ctx, "a place was not given back", "error", err)
		}
	}
	return answer, nil
}

// readCommit reads the body. release gives its memory back to other commits.
func (v *Vault) readCommit(ctx context.Context, c *commit, body io.Reader) (release func(), err error) {
	var n [8]byte
	if _, err := io.ReadFull(body, n[:4]); err != nil {
		return nil, broken(err)
	}
	if c.manifest, err = readPart(body, uint64(binary.BigEndian.Uint32(n[:4])), snapshot.MaxManifest); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(body, n[:]); err != nil {
		return nil, broken(err)
	}
	size := binary.BigEndian.Uint64(n[:])
	if size > MaxRefs {
		return nil, errs.New(errs.TooLarge, "refs.size")
	}
	if c.refs, err = readPart(body, size, MaxRefs); err == nil {
		err = atEnd(body)
	}
	if err != nil {
		return nil, err
	}
	// The refs decoded, and the base that they stand on. This waits only now,
	// so that nobody waits for a slow line.
	weight := min(4*int64(size)+1<<20, commitMemory)
	if err := v.committing.Acquire(ctx, weight); err != nil {
		return nil, err
	}
	return func() { v.committing.Release(weight) }, nil
}

func readPart(body io.Reader, size, limit uint64) ([]byte, error) {
	if size > limit {
		return nil, errs.New(errs.TooLarge, "manifest.size")
	}
	// It grows with what arrives, not with what was promised.
	b, err := io.ReadAll(io.LimitReader(body, int64(size)))
	if err == nil && uint64(len(b)) < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, broken(err)
	}
	return b, nil
}

func atEnd(body io.Reader) error {
	var one [1]byte
	n, err := io.ReadFull(body, one[:])
	if n == 0 && errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		err = errors.New("bytes are left over")
	}
	return broken(err)
}

// prepare checks all that does not have to be in the last transaction, and
// looks up the rows, so that the one writer is held for a short time.
func (v *Vault) prepare(ctx context.Context, c *commit) (answer wire.Committed, done bool, err error) {
	var s session
	var base *base
	err = v.db.Read(ctx, func(tx *db.Tx) (err error) {
		if answer, done, err = replay(ctx, tx, c); done || err != nil {
			return err
		}
		if s, err = openSession(ctx, tx, c.by, c.session); err != nil {
			return err
		}
		if c.certs, err = v.certsOf(ctx, tx, c.by); err != nil {
			return err
		}
		if err := v.checkManifest(c, s); err != nil {
			return err
		}
		if err := follows(ctx, tx, c.m); err != nil {
			return err
		}
		base, err = findBase(ctx, tx, s.set, c.r)
		return err
	})
	if done || err != nil {
		return answer, done, err
	}
	if err := v.materialise(ctx, c, base); err != nil {
		return answer, false, err
	}
	return answer, false, v.db.Read(ctx, func(tx *db.Tx) error {
		org, err := orgNumber(ctx, tx, s.org)
		if err != nil {
			return err
		}
		if err := v.locate(ctx, tx, c, org, base); err != nil {
			return err
		}
		if err := checkRoot(ctx, tx, c, org); err != nil {
			return err
		}
		return v.checkObjects(ctx, tx, c, s, org)
	})
}

// checkRoot refuses a manifest whose root is no page: nobody could open it. An
// object's kind never changes.
func checkRoot(ctx context.Context, tx *db.Tx, c *commit, org int64) error {
	kind := backup.Page
	err := lookup(ctx, tx, org, []backup.ID{c.m.RootID}, func(_ backup.ID, r row) { kind = r.kind })
	if err == nil && kind != backup.Page {
		err = errs.New(errs.Invalid, "refs.mismatch")
	}
	return err
}

// replay finds the answer that this very manifest was given.
func replay(ctx context.Context, tx *db.Tx, c *commit) (answer wire.Committed, found bool, err error) {
	answer = wire.Committed{Snapshot: c.hash.Short(), Hash: c.hash.String()}
	err = tx.QueryRow(ctx, `SELECT seq, receipt FROM snapshots WHERE hash = $1 AND device = $2`,
		c.hash[:], string(c.by.Device)).Scan(&answer.Seq, &answer.Receipt)
	if errors.Is(err, sql.ErrNoRows) {
		return wire.Committed{}, false, nil
	}
	if err != nil {
		return wire.Committed{}, false, fmt.Errorf("looking for snapshot %s: %w", c.hash.Short(), err)
	}
	return answer, true, nil
}

// follows checks that a manifest is the next one of its set's chain.
func follows(ctx context.Context, tx *db.Tx, m *snapshot.Manifest) error {
	h, err := head(ctx, tx, m.Set.String())
	if err != nil {
		return err
	}
	if m.Seq != h.seq+1 || m.Prev != h.hash {
		return errs.New(errs.Conflict, "snapshot.chain")
	}
	return nil
}

// base is the snapshot whose refs a delta stands on.
type base struct {
	refsID backup.Hash
	depth  uint8
	rows   *roaring.Bitmap // nil when its objects may be gone
	held   int64           // as in commit
}

// findBase finds what r stands on, nil for a full list. Any snapshot of the set
// will do whose refs are kept.
func findBase(ctx context.Context, tx *db.Tx, set string, r *snapshot.Refs) (*base, error) {
	if !r.Delta {
		return nil, nil
	}
	b := &base{refsID: r.Base}
	var raw []byte
	var state string
	err := tx.QueryRow(ctx, `SELECT s.refs_depth, s.state, s.held_bytes, r.refs FROM snapshots s JOIN snapshot_refs r ON r.snapshot = s.number
		WHERE s.set_id = $1 AND s.refs_id = $2 ORDER BY CASE s.state WHEN 'live' THEN 0 ELSE 1 END LIMIT 1`,
		set, r.Base[:]).Scan(&b.depth, &state, &b.held, &raw)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errs.New(errs.Conflict, "refs.base")
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the base of refs: %w", err)
	}
	if r.Depth != b.depth+1 {
		return nil, errs.New(errs.Conflict, "refs.base")
	}
	if state != "live" {
		return b, nil
	}
	b.rows = roaring.New()
	if err := b.rows.UnmarshalBinary(raw); err != nil {
		return nil, fmt.Errorf("reading the base of refs: %w", err)
	}
	return b, nil
}

// refsName is where refs lie in the store.
func refsName(id backup.Hash) string { h := id.String(); return "refs/" + h[:2] + "/" + h }

// materialise makes the full list, and checks it against what was signed.
func (v *Vault) materialise(ctx context.Context, c *commit, b *base) error {
	var err error
	var ids []backup.ID
	if b != nil {
		if ids, err = v.storedRefs(ctx, b.refsID, b.depth); err != nil {
			return err
		}
	}
	if c.ids, err = c.r.Materialise(ids); err != nil {
		return errs.New(errs.Invalid, "refs.form").Because(err)
	}
	_, rooted := slices.BinarySearchFunc(c.ids, c.m.RootID, func(a, b backup.ID) int { return slices.Compare(a[:], b[:]) })
	if !rooted || uint64(len(c.ids)) != c.m.RefsCount || snapshot.MerkleRoot(c.ids) != c.m.RefsRoot {
		return errs.New(errs.Invalid, "refs.mismatch")
	}
	return nil
}

// storedRefs reads refs back from the store, in full.
func (v *Vault) storedRefs(ctx context.Context, id backup.Hash, depth uint8) ([]backup.ID, error) {
	raw, err := blob.Read(ctx, v.blobs, refsName(id), MaxRefs)
	if err != nil {
		return nil, fmt.Errorf("reading refs %s: %w", id.Short(), err)
	}
	if snapshot.RefsID(raw) != id {
		return nil, fmt.Errorf("refs %s are damaged in the store", id.Short())
	}
	r, err := snapshot.DecodeRefs(raw)
	if err != nil {
		return nil, fmt.Errorf("reading refs %s: %w", id.Short(), err)
	}
	if r.Depth != depth {
		return nil, fmt.Errorf("refs %s are of depth %d, not %d", id.Short(), r.Depth, depth)
	}
	var ids []backup.ID
	if r.Delta {
		if ids, err = v.storedRefs(ctx, r.Base, depth-1); err != nil {
			return nil, err
		}
	}
	return r.Materialise(ids)
}

// locate finds the rows of what the snapshot needs. A live base's rows are
// there, so that only what changed has to be looked up.
func (v *Vault) locate(ctx context.Context, tx *db.Tx, c *commit, org int64, b *base) error {
	var err error
	if _, c.removals, err = counters(ctx, tx); err != nil {
		return err
	}
	wanted := c.ids
	c.rows, c.held = roaring.New(), 0
	if b != nil && b.rows != nil {
		wanted = c.r.Added
		c.rows, c.held = b.rows, b.held
		err := lookup(ctx, tx, org, c.r.Removed, func(_ backup.ID, r row) {
			c.rows.Remove(r.number)
			c.held -= r.contents()
		})
		if err != nil {
			return err
		}
	}
	c.absent = nil
	found := make(map[backup.ID]bool, len(wanted))
	err = lookup(ctx, tx, org, wanted, func(id backup.ID, r row) {
		c.rows.Add(r.number)
		c.held += r.contents()
		found[id] = true
	})
	for _, id := range wanted {
		if !found[id] {
			c.absent = append(c.absent, id)
		}
	}
	return err
}

// checkObjects checks that everything the snapshot needs may be referred to
// and is sound. Both what does not exist and what is somebody else's is missing.
func (v *Vault) checkObjects(ctx context.Context, tx *db.Tx, c *commit, s session, org int64) error {
	mine, err := v.live(ctx, tx, s.user)
	if err != nil {
		return err
	}
	pinned, err := sent(ctx, tx, s.id)
	if err != nil {
		return err
	}
	bad, err := unsound(ctx, tx, org)
	if err != nil {
		return err
	}
	bad.And(c.rows)
	foreign := roaring.AndNot(c.rows, mine)
	foreign.AndNot(pinned)
	bad.Or(foreign)
	n := int(bad.GetCardinality()) + len(c.absent)
	if n == 0 {
		return nil
	}
	list := make([]string, 0, min(n, wire.MaxMissing))
	for _, id := range c.absent[:min(len(c.absent), wire.MaxMissing)] {
		list = append(list, id.String())
	}
	rest, err := hexNames(ctx, tx, bad, wire.MaxMissing-len(list))
	if err != nil {
		return err
	}
	return errs.Of(errs.MissingObjects, "n", n, "missing", append(list, rest...))
}

// keep puts refs, certificates and the manifest into the store, before the
// database names them. If the commit fails after all, they stay as leftovers
// that nothing names: the same names may be another attempt's.
func (v *Vault) keep(ctx context.Context, c *commit) error {
	if err := v.keepCerts(ctx, c.certs); err != nil {
		return err
	}
	if err := blob.Write(ctx, v.blobs, refsName(c.m.RefsID), c.refs); err != nil {
		return fmt.Errorf("storing refs: %w", err)
	}
	if err := blob.Write(ctx, v.blobs, manifestName(&c.m.Header, c.hash), c.manifest); err != nil {
		return fmt.Errorf("storing a manifest: %w", err)
	}
	return nil
}

// manifestName is where a manifest lies in the store.
func manifestName(h *snapshot.Header, hash backup.Hash) string {
	return fmt.Sprintf("manifests/%s/%s/%s/%s/%016x-%s", h.Org.Hex(), h.User.Hex(), h.Device.Hex(), h.Set.Hex(), h.Seq, hash)
}

// makeVisible is the last transaction of a commit: it checks again all that
// another one may have changed.
func (v *Vault) makeVisible(ctx context.Context, tx *db.Tx, c *commit) (wire.Committed, error) {
	if answer, done, err := replay(ctx, tx, c); done || err != nil {
		return answer, err
	}
	s, err := openSession(ctx, tx, c.by, c.session)
	if err != nil {
		return wire.Committed{}, err
	}
	if err := stillActive(ctx, tx, c.by); err != nil {
		return wire.Committed{}, err
	}
	if err := stillSigns(ctx, tx, c); err != nil {
		return wire.Committed{}, err
	}
	if err := follows(ctx, tx, c.m); err != nil {
		return wire.Committed{}, err
	}
	if err := v.flood(ctx, tx, s.set); err != nil {
		return wire.Committed{}, err
	}
	epoch, removals, err := counters(ctx, tx)
	if err != nil {
		return wire.Committed{}, err
	}
	org, err := orgNumber(ctx, tx, s.org)
	if err != nil {
		return wire.Committed{}, err
	}
	if removals != c.removals {
		// The collector removed rows: numbers looked up before may be stale.
		if err := v.locate(ctx, tx, c, org, nil); err != nil {
			return wire.Committed{}, err
		}
	}
	if err := v.checkObjects(ctx, tx, c, s, org); err != nil {
		return wire.Committed{}, err
	}
	receipt := snapshot.Receipt{Manifest: c.hash, Seq: c.m.Seq, Time: uint64(db.Micros(tx.Now())), GCEpoch: uint64(epoch)}
	if err := v.keys.SignReceipt(s.org, &receipt); err != nil {
		return wire.Committed{}, err
	}
	if err := v.insert(ctx, tx, c, s, &receipt); err != nil {
		return wire.Committed{}, err
	}
	if c.ends() {
		if err := end(ctx, tx, s.id, "done"); err != nil {
			return wire.Committed{}, err
		}
	}
	return wire.Committed{Snapshot: c.hash.Short(), Hash: c.hash.String(), Seq: c.m.Seq, Receipt: receipt.Encode()}, nil
}

// ends reports whether nothing more is to come for the session.
func (c *commit) ends() bool { return c.m.Status != snapshot.Partial || c.lacking.Waiting > 0 }

// stillSigns refuses a manifest of a computer that another one replaced since
// its commit began.
func stillSigns(ctx context.Context, tx *db.Tx, c *commit) error {
	d, err := devices.Find(ctx, tx, c.by.Device)
	if err == nil && !bytes.Equal(d.SigningKey, c.certs.device.Key[:]) {
		err = errs.Of(errs.DeviceDeactivated)
	}
	return err
}

func (v *Vault) insert(ctx context.Context, tx *db.Tx, c *commit, s session, receipt *snapshot.Receipt) error {
	replaced, err := tx.Changed(ctx, `UPDATE snapshots SET state = 'replaced' WHERE session = $1 AND state = 'live' AND status = 'partial'`, s.id)
	if err != nil {
		return fmt.Errorf("replacing partial snapshots: %w", err)
	}
	version, err := change(ctx, tx, s.user, replaced > 0)
	if err != nil {
		return err
	}
	var base any
	if c.r.Delta {
		base = c.r.Base[:]
	}
	m := c.m
	var number int64
	err = tx.QueryRow(ctx, `INSERT INTO snapshots (hash, org, user_id, device, set_id, seq, prev, session, state, status, user_version,
			entries, files, bytes, unreadable, root_id, refs_id, refs_base, refs_depth, refs_count, epoch, started_at, committed_at, receipt, held_bytes, waiting, carried, root_epoch)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'live', $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, (SELECT d.root_epoch FROM devices d WHERE d.id = $4))
		RETURNING number`,
		c.hash[:], string(s.org), string(s.user), string(s.device), s.set, int64(m.Seq), m.Prev[:], s.id, m.Status.String(), version,
		int64(m.Entries), int64(m.Files), int64(m.Bytes), int64(m.Unreadable), m.RootID[:], m.RefsID[:], base, int64(c.r.Depth),
		int64(m.RefsCount), int64(receipt.GCEpoch), int64(m.Time), int64(receipt.Time), receipt.Encode(), c.held, c.lacking.Waiting, c.lacking.Carried).Scan(&number)
	if err != nil {
		return fmt.Errorf("adding snapshot %s: %w", c.hash.Short(), err)
	}
	raw, err := encode(c.rows)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO snapshot_refs (snapshot, refs) VALUES ($1, $2)`, number, raw); err != nil {
		return fmt.Errorf("adding the refs of snapshot %s: %w", c.hash.Short(), err)
	}
	err = devices.Committed(ctx, tx, s.device, devices.Backup{
		Snapshot: c.hash.Short(), Status: m.Status.String(), At: tx.Now(), Bytes: int64(m.Bytes), Held: c.held, Files: int64(m.Files), Waiting: c.lacking.Waiting, Carried: c.lacking.Carried,
	})
	if err != nil {
		return err
	}
	return audit.Check(ctx, tx, c.by, access.Backup, s.org, s.user, "snapshot/"+c.hash.Short())
}
