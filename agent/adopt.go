package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// The catalog of what comes back is kept here, as if it were a set of its own
// with the restore's id. It says which entries of a snapshot are the other
// computer's, and where content lies, without asking the server again.

// localSet is the name under which a restore's catalog is kept.
func localSet(r *state.Restore) (backup.UUID, error) { return backup.ParseUUID(r.ID) }

// adopt sees that the catalog of what comes back is here, and that this
// device's next backup builds on it: what has not come back yet stays in the
// snapshots as it was. It is for one goroutine at a time; a.adopting sees to that.
func (a *Agent) adopt(ctx context.Context, r *state.Restore) (*state.Previous, error) {
	a.adopting.Lock()
	defer a.adopting.Unlock()
	own, err := localSet(r)
	if err != nil {
		return nil, err
	}
	d := a.device.Load()
	local, err := a.state.Previous(own, d.User)
	if err != nil {
		return nil, err
	}
	if !local.Known() || len(r.Parts) == 0 {
		local.Close()
		if local, err = a.fetchCatalog(ctx, r, own); err != nil {
			return nil, err
		}
		r = a.back.get()
	}
	if r.Set == d.Set.String() {
		if err := a.buildOn(local, d); err != nil {
			local.Close()
			return nil, err
		}
	}
	return local, nil
}

// buildOn makes the catalog of what comes back the one that the device's next
// backup compares with, unless it has one.
func (a *Agent) buildOn(local *state.Previous, d *state.Device) error {
	mine, err := a.state.Previous(d.Set, d.User)
	if err != nil {
		return err
	}
	defer mine.Close()
	if mine.Known() {
		return nil
	}
	c, err := a.state.NewCatalog(d.Set, local)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, id := range local.Refs {
		if local.Has(id) {
			if err := c.Carry(id); err != nil {
				return err
			}
		}
	}
	return c.Commit(local.Root, local.Head, local.Refs)
}

// fetchCatalog gets the catalog of the snapshot that comes back, keeps it, and
// decides where everything goes.
func (a *Agent) fetchCatalog(ctx context.Context, r *state.Restore, own backup.UUID) (*state.Previous, error) {
	d := a.device.Load()
	user := a.client.Granted(r.Token)
	opened, err := Open(ctx, d, user, r.Snapshot)
	if err != nil {
		return nil, err
	}
	empty := &state.Previous{}
	c, err := a.state.NewCatalog(own, empty)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	m := opened.Manifest
	ids, err := gather(ctx, c, user, d.User, opened.Root)
	if err != nil {
		return nil, err
	}
	if uint64(len(ids)) != m.RefsCount || snapshot.MerkleRoot(ids) != m.RefsRoot {
		return nil, backup.Mismatched("catalog", errors.New("it does not need what its manifest says"))
	}
	head := state.Head{Hash: m.Hash(), Seq: m.Seq, Store: m.Store, RefsID: m.RefsID, RefsDepth: backup.MaxRefsDepth, Profile: m.Profile,
		Time: time.UnixMicro(int64(m.Time)),
		// Whether anything was collected since is not known: the server is asked what it has.
		GCEpoch: math.MaxUint64}
	if err := c.Commit(opened.Root, head, ids); err != nil {
		return nil, err
	}
	local, err := a.state.Previous(own, d.User)
	if err != nil {
		return nil, err
	}
	parts, err := a.divide(ctx, r, catalog.NewReader(local.Root, local.Fetch), opened.Private.Roots)
	if err != nil {
		local.Close()
		return nil, err
	}
	err = a.back.change(a.state, r.ID, func(r *state.Restore) { r.Parts, r.Set, r.Scope = parts, m.Set.String(), m.Scope.String() })
	if err != nil {
		local.Close()
	}
	return local, err
}

// gather fetches all objects of a catalog but the content, puts them into c as
// they are sealed, and returns the ids of all that the snapshot needs.
func gather(ctx context.Context, c *state.Catalog, user *wire.User, scope backup.UUID, root backup.Ref) ([]backup.ID, error) {
	var mu sync.Mutex
	fetch := crypt.NewFetch(scope, func(ctx context.Context, ids []backup.ID, each func(backup.Kind, backup.ID, []byte) error) error {
		return user.Read(ctx, ids, func(kind backup.Kind, id backup.ID, sealed []byte) error {
			if kind != backup.Missing {
				mu.Lock()
				err := c.Add(backup.Object{Kind: kind, Ref: backup.Ref{ID: id}, Sealed: slices.Clone(sealed)})
				mu.Unlock()
				if err != nil {
					return err
				}
			}
			return each(kind, id, sealed)
		})
	})
	needed := map[backup.ID]bool{}
	var attrs []backup.Ref
	err := catalog.NewReader(root, fetch).Objects(ctx, func(kind backup.Kind, ref backup.Ref) error {
		if kind == backup.Attrs && !needed[ref.ID] {
			attrs = append(attrs, ref)
		}
		needed[ref.ID] = true
		return nil
	})
	if err == nil && len(attrs) > 0 {
		err = fetch(ctx, backup.Attrs, attrs, func(int, []byte) error { return nil })
	}
	if err != nil {
		return nil, fmt.Errorf("fetching the catalog of what comes back: %w", err)
	}
	ids := make([]backup.ID, 0, len(needed))
	for id := range needed {
		ids = append(ids, id)
	}
	return snapshot.SortIDs(ids), nil
}

// divide finds out what goes where: by the roots of the snapshot, and with what
// it has beside them.
func (a *Agent) divide(ctx context.Context, r *state.Restore, c *catalog.Reader, roots []string) ([]state.RestorePart, error) {
	m := move{fromOS: r.OS, fromHome: r.Home, toOS: runtime.GOOS, toHome: home(), maps: r.Maps,
		aside: asideFolder(home(), r.Device, r.Began), writable: writable}
	var found []string
	for _, root := range roots {
		root = inCatalog(r.OS, root)
		if _, err := c.Lookup(ctx, root); err == nil || root == "/" {
			found = append(found, root)
		} else if !errs.Is(err, errs.NoSuchSnapshot) {
			return nil, err
		}
	}
	parts := m.restoreParts(found)
	entries := make([]int, len(parts))
	all := c.Cursor(ctx, "")
	defer all.Close()
	for {
		e, err := all.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		i := partOf(parts, e.Path())
		if i < 0 && above(parts, e.Path()) {
			continue
		}
		if i < 0 {
			i, parts, entries = len(parts), append(parts, m.restoreParts([]string{e.Path()})[0]), append(entries, 0)
		}
		entries[i]++
		if e.Type == catalog.File {
			parts[i].Files++
			parts[i].Bytes += int64(e.Size)
		}
	}
	var some []state.RestorePart
	for i, p := range parts {
		if entries[i] > 0 {
			some = append(some, p)
		}
	}
	return some, nil
}

// restoreParts are the parts as they are carried out. A folder that keeps its
// name comes back with its permissions; one that is mapped to another is filled
// and left as it is.
func (m move) restoreParts(roots []string) []state.RestorePart {
	var parts []state.RestorePart
	mapped := map[string]bool{}
	for _, r := range m.rules() {
		mapped[r.from] = !r.aside
	}
	for _, r := range m.parts(roots) {
		p := state.RestorePart{PathMap: state.PathMap{From: []byte(r.from), To: []byte(r.to)}, Aside: r.aside}
		if folder, name := catalog.Split(r.from); name != "" && !mapped[r.from] {
			p.From, p.Name, p.To = []byte(folder), []byte(name), []byte(parent(r.to))
		}
		parts = append(parts, p)
	}
	return parts
}

// partOf is the deepest part that a path lies in, -1 for none.
func partOf(parts []state.RestorePart, path string) int {
	best, depth := -1, -1
	for i := range parts {
		if p := parts[i].Path(); len(p) > depth && catalog.Inside(p, path) {
			best, depth = i, len(p)
		}
	}
	return best
}

// above reports whether one of the parts lies below a path.
func above(parts []state.RestorePart, path string) bool {
	return slices.ContainsFunc(parts, func(p state.RestorePart) bool { return catalog.Inside(path, p.Path()) })
}
