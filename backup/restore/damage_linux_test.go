package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/errs"
)

// bigTree has a file over several windows, and small ones around it.
func bigTree(t testing.TB) *tree {
	b := newTree(t)
	b.folder("/d")
	for i := range 200 {
		b.file("/d/"+string(rune('a'+i%26))+strings.Repeat("x", i/26), strings.Repeat(string(rune('0'+i%10)), 2000+i))
	}
	b.add("/d/big", b.content(catalog.Entry{Type: catalog.File, Mode: 0o600}, noise(40<<20)))
	return b
}

func noise(n int) []byte {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

func TestDamageCostsOnlyItsFiles(t *testing.T) {
	t.Parallel()
	b := bigTree(t)
	c := b.done()
	e, err := c.Lookup(t.Context(), "/d/big")
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(id backup.ID){
		"missing": func(id backup.ID) { b.store.sealed[id] = nil },
		"damaged": func(id backup.ID) { b.store.sealed[id] = append(slices.Clone(b.store.sealed[id]), 0) },
	} {
		for _, at := range []int{0, len(e.Extents) / 2, len(e.Extents) - 1} {
			id := e.Extents[at].Ref.ID
			was := b.store.sealed[id]
			spoil(id)
			target := t.TempDir()
			res, err := Run(t.Context(), Config{Catalog: c, Target: target})
			b.store.sealed[id] = was
			if err != nil || res.Progress.Failed != 1 || len(res.Failed) != 1 || res.Failed[0].Path != "/d/big" || !errs.Is(res.Failed[0].Err, errs.Mismatch) || res.Files != 200 {
				t.Errorf("chunk %d %s: %+v, failed %v, %v", at, name, res.Progress, res.Failed, err)
			}
			if got := list(t, target); len(got) != 201 || slices.Contains(got, "/d/big") {
				t.Errorf("chunk %d %s: the target holds %d things", at, name, len(got))
			}
		}
	}
}

// A source that stops at the first bad object does not make its neighbours bad.
func TestSourceThatStopsEarly(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		b.file("/"+name, strings.Repeat(name, 1000))
		b.flush() // a chunk each
	}
	c := b.done()
	e, err := c.Lookup(t.Context(), "/b")
	if err != nil {
		t.Fatal(err)
	}
	bad := e.Extents[0].Ref.ID
	stopping := func(ctx context.Context, kind backup.Kind, refs []backup.Ref, each func(int, []byte) error) error {
		for _, ref := range refs {
			if ref.ID == bad {
				return backup.Mismatched("object", errors.New("is lost"))
			}
		}
		return c.Fetch(ctx, kind, refs, each)
	}
	res, err := Run(t.Context(), Config{Catalog: c, Fetch: stopping, Target: t.TempDir()})
	if err != nil || res.Files != 3 || len(res.Failed) != 1 || res.Failed[0].Path != "/b" {
		t.Errorf("%d files, failed %v, %v; want all but /b", res.Files, res.Failed, err)
	}
}

// R25: chunks may verify and still not be the file.
func TestContentMustHaveItsHash(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	e := b.content(catalog.Entry{Type: catalog.File, Mode: 0o644}, []byte("content"))
	e.Hash[0] ^= 1
	b.add("/wrong", e)
	sparse := b.content(catalog.Entry{Type: catalog.File, Mode: 0o644, Holes: []catalog.Hole{{Offset: 3, Length: 5000}}}, []byte("abcdef"))
	sparse.Holes = []catalog.Hole{{Offset: 4, Length: 5000}}
	b.add("/hole elsewhere", sparse)
	target := t.TempDir()
	res, err := Run(t.Context(), Config{Catalog: b.done(), Target: target})
	if err != nil || res.Progress.Failed != 2 || !errs.Is(res.Failed[0].Err, errs.Mismatch) {
		t.Errorf("failed %v, %v; want both", res.Failed, err)
	}
	if got := list(t, target); len(got) != 0 {
		t.Errorf("the target holds %v", got)
	}
}

func TestSourceError(t *testing.T) {
	t.Parallel()
	b := bigTree(t)
	c := b.done()
	gone := errors.New("connection refused")
	calls := 0
	flaky := func(ctx context.Context, kind backup.Kind, refs []backup.Ref, each func(int, []byte) error) error {
		if calls++; calls == 3 {
			return gone
		}
		return c.Fetch(ctx, kind, refs, each)
	}
	target := t.TempDir()
	res, err := Run(t.Context(), Config{Catalog: c, Fetch: flaky, Target: target})
	var source *SourceError
	if !errors.As(err, &source) || !errors.Is(err, gone) {
		t.Errorf("Run = %v, want a SourceError for %v", err, gone)
	}
	if slices.ContainsFunc(list(t, target), func(p string) bool { return strings.Contains(p, ".backstay-restore-") }) {
		t.Error("a temporary file was left")
	}
	first := res.Files
	// The connection is back: what was done is not done again.
	res = mustRun(t, Config{Catalog: c, Target: target})
	if res.Files != 201 || res.Kept != first || first == 0 {
		t.Errorf("repeated: %d files, %d kept of %d done before", res.Files, res.Kept, first)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	b := bigTree(t)
	target := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Run(ctx, Config{Catalog: b.done(), Target: target, Progress: func(p Progress) {
		if p.Bytes > 20<<20 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want %v", err, context.Canceled)
	}
	if got := list(t, target); slices.ContainsFunc(got, func(p string) bool { return strings.Contains(p, ".backstay-restore-") }) {
		t.Errorf("a temporary file was left: %v", got)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	if err := localError(&fs.PathError{Op: "write", Err: syscall.ENOSPC}); !errs.Is(err, errs.LocalDiskFull) {
		t.Errorf("ENOSPC is %v, want E1505", err)
	}
	target := t.TempDir()
	if err := unix.Mount("tmpfs", target, "tmpfs", 0, "size=30m"); err != nil {
		t.Logf("a full disk is tried end to end only as root: %v", err)
		return
	}
	defer unix.Unmount(target, 0)
	res, err := Run(t.Context(), Config{Catalog: bigTree(t).done(), Target: target})
	if !errs.Is(err, errs.LocalDiskFull) {
		t.Errorf("Run = %v, %d failed, want E1505", err, res.Progress.Failed)
	}
	if got := list(t, target); slices.ContainsFunc(got, func(p string) bool { return strings.Contains(p, ".backstay-restore-") }) {
		t.Errorf("a temporary file was left: %v", got)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var last Progress
	res := mustRun(t, Config{Catalog: bigTree(t).done(), Target: t.TempDir(), Progress: func(p Progress) {
		if p.Bytes < last.Bytes || p.Files < last.Files {
			t.Errorf("progress went from %+v to %+v", last, p)
		}
		last = p
	}})
	if last != res.Progress || last.Files != 201 {
		t.Errorf("the last progress is %+v, the result %+v", last, res.Progress)
	}
}

// A bundle of so many files that a window ends inside it.
func TestWindowsShareChunks(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	for i := range windowOps + 1000 {
		b.file(fmt.Sprintf("/%04d", i), fmt.Sprint(i))
	}
	mustRun(t, Config{Catalog: b.done(), Target: t.TempDir()})
	for id, n := range b.store.reads {
		if n != 1 && b.store.kind[id] == backup.Data {
			t.Errorf("chunk %v was read %d times", id, n)
		}
	}
}

// Each chunk is fetched once, though files over a window's end share it.
func TestChunksAreFetchedOnce(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	for i := range 3000 {
		b.file(fmt.Sprintf("/%04d", i), string(noise(20000 + i)[i:])) // in catalog order, as a backup bundles them
	}
	c, target := b.done(), t.TempDir()
	mustRun(t, Config{Catalog: c, Target: target})
	for id, n := range b.store.reads {
		if n != 1 && b.store.kind[id] == backup.Data {
			t.Errorf("chunk %v was read %d times", id, n)
		}
	}
	clear(b.store.reads)
	mustRun(t, Config{Catalog: c, Target: target})
	for id := range b.store.reads {
		if b.store.kind[id] == backup.Data {
			t.Error("a chunk of a file that was there was read")
			break
		}
	}
	if b.chunks < 40 {
		t.Errorf("only %d chunks: no window ended", b.chunks)
	}
}
