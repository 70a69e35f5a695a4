package upload

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/archive"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/chunk"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
)

// commit makes the catalog a snapshot: it sees that everything is sent, signs
// the manifest, commits, and remembers. When the server lacks objects it
// returns their ids with the error.
func (r *run) commit(ctx context.Context, result *archive.Result, status snapshot.Status) (missing []backup.ID, err error) {
	if err := r.sender.flush(ctx); err != nil {
		return nil, err
	}
	ids := make([]backup.ID, 0, len(result.IDs))
	for id := range result.IDs {
		ids = append(ids, id)
	}
	ids = snapshot.SortIDs(ids)
	if err := r.checkRefs(ctx, result.Root, ids); err != nil {
		return nil, err
	}
	refs := r.refs(ids)
	committed, m, err := r.send(ctx, result, status, refs, ids)
	if e := errs.Find(err); e != nil && e.Key == "refs.base" && refs.Delta {
		// The server keeps the base no longer.
		refs = &snapshot.Refs{Added: ids}
		committed, m, err = r.send(ctx, result, status, refs, ids)
	}
	if err != nil {
		return wire.Missing(err), fmt.Errorf("committing the snapshot: %w", err)
	}
	if err := r.checkReceipt(committed, m); err != nil {
		return nil, err
	}
	r.last = m
	r.head = head{hash: m.Hash(), seq: m.Seq, refs: m.RefsID, depth: refs.Depth, ids: ids}
	r.Log.Info("snapshot committed", "snapshot", r.head.hash.Short(), "seq", m.Seq, "status", status.String(), "objects", len(ids))
	return nil, r.remember(result, m, committed.Receipt, refs.Depth, ids)
}

// checkRefs walks the catalog as it was sealed, and compares the objects that
// it names with those about to be signed for (security.md 5.8, item 5). The
// last snapshot's catalog was compared when it was made.
func (r *run) checkRefs(ctx context.Context, root backup.Ref, ids []backup.ID) error {
	if r.prev.Known() && root == r.prev.Root {
		if !slices.Equal(ids, r.prev.Refs) {
			return errRefs
		}
		return nil
	}
	seen := make([]bool, len(ids))
	left := len(ids)
	err := catalog.NewReader(root, r.fetch).Objects(ctx, func(_ backup.Kind, ref backup.Ref) error {
		i, ok := slices.BinarySearchFunc(ids, ref.ID, compareIDs)
		if !ok {
			return errRefs
		}
		if !seen[i] {
			seen[i] = true
			left--
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("checking the catalog before it is committed: %w", err)
	}
	if left > 0 {
		return errRefs
	}
	return nil
}

var errRefs = errors.New("the catalog does not need the objects that its refs list: this is a fault of the program")

// fetch reads the catalog being made. Pages it did not make are in the previous
// one.
func (r *run) fetch(ctx context.Context, kind backup.Kind, refs []backup.Ref, each func(int, []byte) error) error {
	r.sender.mu.Lock()
	defer r.sender.mu.Unlock()
	return r.catalog.Fetch(ctx, kind, refs, each)
}

// refs lists ids, as a difference to the last snapshot where that is shorter.
func (r *run) refs(ids []backup.ID) *snapshot.Refs {
	full := &snapshot.Refs{Added: ids}
	if r.head.ids == nil || r.head.depth >= backup.MaxRefsDepth {
		return full
	}
	added, removed := snapshot.Diff(r.head.ids, ids)
	if len(added)+len(removed) >= len(ids) {
		return full
	}
	return &snapshot.Refs{Delta: true, Base: r.head.refs, Depth: r.head.depth + 1, Added: added, Removed: removed}
}

// send signs the manifest and commits it.
func (r *run) send(ctx context.Context, result *archive.Result, status snapshot.Status, refs *snapshot.Refs, ids []backup.ID) (wire.Committed, *snapshot.Manifest, error) {
	encoded := refs.Encode()
	m, err := r.manifest(result, status, snapshot.RefsID(encoded), ids)
	if err != nil {
		return wire.Committed{}, nil, err
	}
	var committed wire.Committed
	err = r.inTurn(ctx, func() (err error) {
		committed, err = r.Client.Commit(ctx, r.session.SessionID, m.Encode(), encoded,
			wire.Lacking{Waiting: int64(result.Waiting), Carried: int64(r.carried)})
		return err
	})
	return committed, m, err
}

func (r *run) manifest(result *archive.Result, status snapshot.Status, refsID backup.Hash, ids []backup.ID) (*snapshot.Manifest, error) {
	d := r.Device
	m := &snapshot.Manifest{Header: snapshot.Header{
		Org: d.Org, User: d.User, Device: d.ID, Set: d.Set,
		Seq: r.head.seq + 1, Prev: r.head.hash, Store: d.Store, Nonce: [32]byte(r.session.Nonce), Time: uint64(r.started.UnixMicro()),
		Status: status, Entries: result.Totals.Entries, Files: result.Totals.Files, Bytes: result.Totals.Bytes,
		Unreadable: result.Totals.Unreadable + result.Lost,
		RootID:     result.Root.ID, RefsID: refsID, RefsRoot: snapshot.MerkleRoot(ids), RefsCount: uint64(len(ids)),
		KeyGen: d.KeyGen, DedupScope: snapshot.ScopeUser, Scope: d.Scope, Epoch: d.Epoch,
		Chunker: chunk.ID, Profile: crypt.Profile1,
	}}
	if d.Scope != d.User {
		m.DedupScope = snapshot.ScopeOrg
	}
	org, err := snapshot.DecodeOrgRecord(d.OrgRecord)
	if err != nil {
		return nil, fmt.Errorf("reading the organisation's keys: %w", err)
	}
	private := &snapshot.Private{
		RootKey: result.Root.Key, RootLen: result.Root.Len,
		Host: r.Host, SetName: d.Name, Client: version.Number(), Policy: r.Policy, Roots: slices.Concat(r.Folders, r.KeptRoots),
	}
	for _, p := range result.Problems {
		private.Errors = append(private.Errors, snapshot.Problem{Path: p.Path, Reason: p.Err.Error()})
	}
	if err := m.Seal(snapshot.ToUser, d.UserKey, private); err != nil {
		return nil, err
	}
	if err := m.Seal(snapshot.ToOrg, org.PublicKey, private); err != nil {
		return nil, err
	}
	m.Sign(d.Signing)
	return m, nil
}

// checkReceipt sees that the server acknowledged this manifest, in writing.
func (r *run) checkReceipt(c wire.Committed, m *snapshot.Manifest) error {
	receipt, err := snapshot.DecodeReceipt(c.Receipt)
	if err != nil {
		return fmt.Errorf("reading the server's receipt: %w", err)
	}
	org, err := snapshot.DecodeOrgRecord(r.Device.OrgRecord)
	if err != nil {
		return fmt.Errorf("reading the organisation's keys: %w", err)
	}
	if err := receipt.Verify(org.Receipt[:]); err != nil {
		return fmt.Errorf("checking the server's receipt: %w", err)
	}
	if receipt.Manifest != m.Hash() || receipt.Seq != m.Seq {
		return backup.Mismatched("receipt", errors.New("it is for another snapshot"))
	}
	return nil
}

// remember makes the snapshot the one that the next run compares with.
func (r *run) remember(result *archive.Result, m *snapshot.Manifest, receipt []byte, depth uint8, ids []backup.ID) error {
	r.sender.mu.Lock()
	defer r.sender.mu.Unlock()
	for _, id := range ids {
		if r.prev.Has(id) {
			if err := r.catalog.Carry(id); err != nil {
				return err
			}
		}
	}
	h := state.Head{
		Hash: m.Hash(), Seq: m.Seq, Store: m.Store, GCEpoch: r.session.GCEpoch,
		RefsID: m.RefsID, RefsDepth: depth, Profile: m.Profile, Time: r.started, Receipt: receipt,
	}
	if m.Status == snapshot.Partial && result.Waiting == 0 {
		h.Session = r.session.SessionID
	}
	if err := r.catalog.Commit(result.Root, h, ids); err != nil {
		return fmt.Errorf("remembering the snapshot: %w", err)
	}
	return r.State.SetLargeRead(r.Device.Set, r.large.read)
}
