package state_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
)

var (
	set  = backup.UUID{9}
	user = backup.UUID{7}
)

func seal(t *testing.T, text string) backup.Object {
	t.Helper()
	o, err := crypt.NewSealer(backup.Key{1}, user, 1).Seal(backup.Page, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func sorted(objects ...backup.Object) []backup.ID {
	var ids []backup.ID
	for _, o := range objects {
		ids = append(ids, o.Ref.ID)
	}
	slices.SortFunc(ids, func(a, b backup.ID) int { return bytes.Compare(a[:], b[:]) })
	return ids
}

func previous(t *testing.T, s *state.State) *state.Previous {
	t.Helper()
	p, err := s.Previous(set, user)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func catalog(t *testing.T, s *state.State, p *state.Previous) *state.Catalog {
	t.Helper()
	c, err := s.NewCatalog(set, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func texts(t *testing.T, p *state.Previous, objects ...backup.Object) string {
	t.Helper()
	var refs []backup.Ref
	for _, o := range objects {
		refs = append(refs, o.Ref)
	}
	var got []string
	err := p.Fetch(context.Background(), backup.Page, refs, func(i int, plain []byte) error {
		got = append(got, fmt.Sprint(i, string(plain)))
		return nil
	})
	must(t, err)
	return fmt.Sprint(got)
}

func files(t *testing.T, s *state.State) (names []string) {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(s.Dir(), "sets", set.String()))
	must(t, err)
	for _, item := range list {
		names = append(names, item.Name())
	}
	return names
}

func TestCatalogFromRunToRun(t *testing.T) {
	t.Parallel()
	s := open(t)
	none := previous(t, s)
	if none.Known() || none.Head.Seq != 0 || none.Damaged != nil {
		t.Fatalf("Previous of a new set = %+v", none)
	}
	root1, a, b, stray := seal(t, "root 1"), seal(t, "page a"), seal(t, "page b"), seal(t, "stray")
	c := catalog(t, s, none)
	must(t, c.Add(a), c.Add(root1), c.Add(b), c.Add(a), c.Add(stray))
	must(t, c.Commit(root1.Ref, state.Head{Seq: 1, Hash: backup.Hash{1}}, sorted(root1, a, b)))

	one := previous(t, s)
	if !one.Known() || one.Head.Seq != 1 || one.Root != root1.Ref || !slices.Equal(one.Refs, sorted(root1, a, b)) {
		t.Fatalf("Previous = %+v", one)
	}
	if got, want := texts(t, one, b, root1), "[0page b 1root 1]"; got != want {
		t.Errorf("Fetch gave %s, want %s", got, want)
	}
	if one.Has(stray.Ref.ID) {
		t.Error("an object that the snapshot does not need was kept")
	}

	// The next run carries a over, drops b, and commits a partial first.
	root2, partial, d := seal(t, "root 2"), seal(t, "partial"), seal(t, "page d")
	c = catalog(t, s, one)
	must(t, c.Carry(a.Ref.ID), c.Add(partial))
	must(t, c.Commit(partial.Ref, state.Head{Seq: 2}, sorted(partial, a)))
	if p := previous(t, s); p.Head.Seq != 2 || p.Root != partial.Ref {
		t.Errorf("after the partial, Previous = %+v", p)
	}
	must(t, c.Add(d), c.Add(root2))
	var got []string
	must(t, c.Fetch(context.Background(), backup.Page, []backup.Ref{a.Ref, d.Ref}, func(_ int, plain []byte) error {
		got = append(got, string(plain))
		return nil
	}))
	if want := []string{"page a", "page d"}; !slices.Equal(got, want) {
		t.Errorf("Fetch of a carried and an added page gave %q, want %q", got, want)
	}
	must(t, c.Commit(root2.Ref, state.Head{Seq: 3}, sorted(root2, a, d)))
	c.Close()
	two := previous(t, s)
	if got, want := texts(t, two, a, d), "[0page a 1page d]"; got != want || two.Head.Seq != 3 {
		t.Errorf("Fetch gave %s of %+v, want %s", got, two.Head, want)
	}
	if names := files(t, s); len(names) != 2 {
		t.Errorf("the folder holds %v, want the head and one catalog", names)
	}

	// Nothing changed: only the head is written.
	path := filepath.Join(s.Dir(), "sets", set.String(), files(t, s)[0])
	before, _ := os.Stat(path)
	c = catalog(t, s, two)
	must(t, c.Carry(a.Ref.ID), c.Carry(d.Ref.ID), c.Carry(root2.Ref.ID))
	must(t, c.Commit(root2.Ref, state.Head{Seq: 4}, sorted(root2, a, d)))
	after, _ := os.Stat(path)
	if !os.SameFile(before, after) {
		t.Error("an unchanged catalog was written again")
	}
	if p := previous(t, s); p.Head.Seq != 4 || !p.Known() {
		t.Errorf("Previous = %+v", p)
	}
	// A run whose partial removed the previous catalog ends with the same one.
	c = catalog(t, s, two)
	must(t, c.Carry(a.Ref.ID), c.Carry(d.Ref.ID), c.Carry(root2.Ref.ID), c.Add(partial))
	must(t, c.Commit(partial.Ref, state.Head{Seq: 5}, sorted(partial, a)))
	must(t, c.Commit(root2.Ref, state.Head{Seq: 6}, sorted(root2, a, d)))
	if p := previous(t, s); p.Head.Seq != 6 || !p.Known() || p.Root != root2.Ref {
		t.Errorf("after a partial and the old root again, Previous = %+v", p)
	}
	must(t, s.Forget(set))
	if p := previous(t, s); p.Known() || p.Head.Seq != 0 || p.Damaged != nil {
		t.Errorf("Previous of a forgotten set = %+v", p)
	}
}

func TestCarryNeedsThePrevious(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := catalog(t, s, previous(t, s))
	if err := c.Carry(backup.ID{1}); !errors.Is(err, state.ErrDamaged) {
		t.Errorf("Carry = %v, want ErrDamaged", err)
	}
	if err := c.Commit(backup.Ref{ID: backup.ID{1}}, state.Head{Seq: 1}, nil); err == nil {
		t.Error("Commit without the root succeeded")
	}
}

// Whatever byte of the files changes, or wherever they are cut, the catalog is
// lost, never wrong.
func TestDamageIsNoticed(t *testing.T) {
	t.Parallel()
	s := open(t)
	root, a := seal(t, "root"), seal(t, "page a")
	c := catalog(t, s, previous(t, s))
	must(t, c.Add(root), c.Add(a))
	must(t, c.Commit(root.Ref, state.Head{Seq: 5, Hash: backup.Hash{1}}, sorted(root, a)))
	c.Close()
	for _, name := range files(t, s) {
		path := filepath.Join(s.Dir(), "sets", set.String(), name)
		good, err := os.ReadFile(path)
		must(t, err)
		check := func(what string, bad []byte) {
			t.Helper()
			must(t, os.WriteFile(path, bad, 0o600))
			p, err := s.Previous(set, user)
			if err != nil {
				t.Errorf("%s, %s: Previous = %v", name, what, err)
				return
			}
			defer p.Close()
			if p.Known() || !errors.Is(p.Damaged, state.ErrDamaged) {
				t.Errorf("%s, %s: known %v, damaged %v", name, what, p.Known(), p.Damaged)
			}
			if strings.HasPrefix(name, "catalog") && p.Head.Seq != 5 {
				t.Errorf("%s, %s: the head is lost with the catalog", name, what)
			}
		}
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 1
			if i == len(good)-1 && name == "head" {
				continue // the last line's end
			}
			check(fmt.Sprint("bit of byte ", i), bad)
		}
		for _, n := range []int{0, 1, len(good) / 2, len(good) - 2} {
			check(fmt.Sprint("cut to ", n), good[:n])
		}
		must(t, os.WriteFile(path, good, 0o600))
	}
	if p := previous(t, s); !p.Known() {
		t.Fatalf("the undamaged catalog is not known: %v", p.Damaged)
	}
	must(t, os.Remove(filepath.Join(s.Dir(), "sets", set.String(), files(t, s)[0])))
	if p := previous(t, s); p.Known() || p.Damaged == nil || p.Head.Seq != 5 {
		t.Errorf("with the catalog gone, Previous = %+v", p)
	}
}
