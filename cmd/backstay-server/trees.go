package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/e2e/oracle"
)

// trees are the folder as it was before and after the backup, and how the
// restored one differs.
type trees struct {
	without string // a folder below it that is left out, "" for none

	before, after, restored *oracle.Tree

	changed   map[string]bool // paths that somebody changed meanwhile
	unread    map[string]bool // paths that could not be read
	wrong     []oracle.Difference
	notOwners int // owners that only root can give back
}

func (t *trees) readBefore(ctx context.Context, folder string) (err error) {
	t.before, err = t.read(ctx, folder)
	return err
}

func (t *trees) readAfter(ctx context.Context, folder string) (err error) {
	t.after, err = t.read(ctx, folder)
	return err
}

// read reads the tree of folder, but for what is left out.
func (t *trees) read(ctx context.Context, folder string) (*oracle.Tree, error) {
	tree, err := readTree(ctx, folder)
	if err != nil || t.without == "" {
		return tree, err
	}
	rel, err := filepath.Rel(folder, t.without)
	if err != nil {
		return nil, err
	}
	out := func(path string) bool { return path == rel || strings.HasPrefix(path, rel+"/") }
	tree.Entries = slices.DeleteFunc(tree.Entries, func(e *oracle.Entry) bool { return out(e.Path) })
	tree.Problems = slices.DeleteFunc(tree.Problems, func(p oracle.Problem) bool { return out(p.Path) })
	return tree, nil
}

// readTree lets go when somebody interrupts; the read then ends with the
// program.
func readTree(ctx context.Context, folder string) (*oracle.Tree, error) {
	type result struct {
		tree *oracle.Tree
		err  error
	}
	done := make(chan result, 1)
	go func() {
		tree, err := oracle.Read(folder)
		done <- result{tree, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("reading %s to compare: %w", folder, r.err)
		}
		return r.tree, nil
	}
}

// compare reads the restored tree and keeps what is wrong with it. What
// somebody changed while the backup ran may be of either time, and is set
// apart; so is what could not be read, and, for anybody but root, whose files
// they were.
func (t *trees) compare(ctx context.Context, restored string) (err error) {
	if t.restored, err = readTree(ctx, restored); err != nil {
		return err
	}
	t.changed, t.unread = map[string]bool{}, map[string]bool{}
	for _, tree := range []*oracle.Tree{t.before, t.after} {
		for _, p := range tree.Problems {
			t.unread[p.Path] = true
		}
	}
	for _, d := range oracle.Compare(t.before, t.after) {
		if !t.unread[d.Path] {
			t.changed[d.Path] = true
		}
	}
	root := os.Geteuid() == 0
	for _, d := range oracle.Compare(t.before, t.restored) {
		switch {
		case t.unread[d.Path], t.changed[d.Path]:
		case d.Aspect == oracle.Extra && t.changed[path.Dir(d.Path)]: // came and went again
		case d.Aspect == oracle.Owner && !root:
			t.notOwners++
		default:
			t.wrong = append(t.wrong, d)
		}
	}
	return nil
}

// removeTree removes a folder whatever permissions were restored into it.
func removeTree(folder string) error {
	err := os.RemoveAll(folder)
	if err == nil || os.Geteuid() == 0 {
		return err
	}
	filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(folder)
}
