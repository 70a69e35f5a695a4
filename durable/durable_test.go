package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// names lists a folder, to see that nothing temporary is left.
func names(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestWriteFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, want := range []string{"first, and longer", "second", ""} {
		if err := WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got != 0o600 {
		t.Errorf("mode %v, want 0600", got)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("folder holds %q, want one file", got)
	}
}

func TestWriteFileLeavesOldOnFailure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	// A folder that is not empty cannot be replaced by a file: the rename fails.
	if err := os.MkdirAll(filepath.Join(path, "child"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("x"), 0o600); err == nil {
		t.Error("replaced a folder")
	}
	if got := names(t, dir); len(got) != 1 || got[0] != "f" {
		t.Errorf("folder holds %q, want only f", got)
	}
	if err := WriteFile(filepath.Join(dir, "none", "f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v, want fs.ErrNotExist", err)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	f, err := Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("hello world")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("H"), 0); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, 5)
	if _, err := f.ReadAt(back, 0); err != nil || string(back) != "Hello" {
		t.Errorf("read back %q, %v", back, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before Commit: %v, want fs.ErrNotExist", err)
	}
	for _, name := range names(t, dir) {
		if !IsTemp(name) {
			t.Errorf("IsTemp(%q) = false", name)
		}
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abort() // as when deferred
	if got := read(t, path); got != "Hello world" {
		t.Errorf("read %q", got)
	}
	if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second Commit: %v, want fs.ErrClosed", err)
	}
}

func TestAbort(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	f.Abort()
	if got := read(t, path); got != "old" {
		t.Errorf("read %q, want the old content", got)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("folder holds %q, want one file", got)
	}
	if err := f.Commit(); err == nil {
		t.Error("Commit after Abort succeeded")
	}
}

// A failed write that nobody looked at must not be committed.
func TestCommitRemembersFailedWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	f, err := Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("x"), -1)
	if err := f.Commit(); err == nil {
		t.Error("Commit succeeded after a failed write")
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("folder holds %q, want nothing", got)
	}
}

func TestSyncErrorIsMarked(t *testing.T) {
	t.Parallel()
	f, err := Create(filepath.Join(t.TempDir(), "f"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.f.Close() // makes the sync fail
	if err := f.Commit(); !errors.Is(err, ErrSync) {
		t.Errorf("Commit: %v, want ErrSync", err)
	}
	if err := f.Sync(); err == nil {
		t.Error("a later Sync succeeded")
	}
}

// R4: many attempts at one name each have their own temporary file, and the
// name always holds one attempt's whole content.
func TestConcurrentWriters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if err := WriteFile(path, bytes.Repeat([]byte{byte('a' + i)}, 10_000), 0o600); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := read(t, path)
	if len(got) != 10_000 || got != string(bytes.Repeat([]byte{got[0]}, 10_000)) {
		t.Error("the file mixes two attempts")
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("folder holds %q, want one file", got)
	}
}

func TestMkdirAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{path, filepath.Dir(path)} {
		if info, err := os.Stat(p); err != nil || info.Mode() != fs.ModeDir|0o700 {
			t.Errorf("%s: %v, %v, want a folder 0700", p, info, err)
		}
	}
	file := filepath.Join(dir, "file")
	if err := WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{file, filepath.Join(file, "x")} {
		if err := MkdirAll(p, 0o700); err == nil {
			t.Errorf("MkdirAll(%q) succeeded", p)
		}
	}
	if err := MkdirAll("/", 0o700); err != nil {
		t.Errorf("MkdirAll of the root: %v", err)
	}
}

func TestRenameAndRemove(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "sub", "b")
	if err := MkdirAll(filepath.Dir(b), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{a: "new", b: "old"} {
		if err := WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Rename(a, b); err != nil {
		t.Fatal(err)
	}
	if got := read(t, b); got != "new" {
		t.Errorf("read %q, want the renamed file", got)
	}
	if err := Rename(a, b); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Rename of nothing: %v, want fs.ErrNotExist", err)
	}
	if err := Remove(b); err != nil {
		t.Fatal(err)
	}
	if err := Remove(b); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Remove of nothing: %v, want fs.ErrNotExist", err)
	}
}

func TestIsTemp(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		".tmp-0123456789abcdef0123456789abcdef": true,
		".tmp-0123":                             false,
		"tmp-0123456789abcdef0123456789abcdef":  false,
		"":                                      false,
	} {
		if got := IsTemp(name); got != want {
			t.Errorf("IsTemp(%q) = %v, want %v", name, got, want)
		}
	}
}
