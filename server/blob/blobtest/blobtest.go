// Package blobtest holds every blob.Store to the contract.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/backstay/backstay/server/blob"
)

// Conformance runs the contract against a store. The store that open returns
// must be empty.
func Conformance(t *testing.T, open func(t *testing.T) blob.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, blob.Store)
	}{
		{"PutOpen", putOpen},
		{"Ranges", ranges},
		{"Replace", replace},
		{"FailedPut", failedPut},
		{"Unfinished", unfinished},
		{"Cancelled", cancelled},
		{"Absent", absent},
		{"List", list},
		{"Delete", deletes},
		{"Names", names},
		{"Concurrent", concurrent},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, open(t))
		})
	}
}

func pattern(n int, seed uint64) []byte {
	b := make([]byte, n)
	var s [32]byte
	s[0] = byte(seed)
	rand.NewChaCha8(s).Read(b)
	return b
}

func put(t *testing.T, s blob.Store, name string, data []byte) {
	t.Helper()
	if err := blob.Write(t.Context(), s, name, data); err != nil {
		t.Fatalf("Put(%s): %v", name, err)
	}
}

func get(t *testing.T, s blob.Store, name string) []byte {
	t.Helper()
	data, err := blob.Read(t.Context(), s, name, 1<<30)
	if err != nil {
		t.Fatalf("reading %s: %v", name, err)
	}
	return data
}

func wantAbsent(t *testing.T, s blob.Store, name string) {
	t.Helper()
	if _, err := s.Stat(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat(%s) = %v, want fs.ErrNotExist", name, err)
	}
	if b, err := s.Open(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open(%s) = %v, %v, want fs.ErrNotExist", name, b, err)
	}
}

func listed(t *testing.T, s blob.Store, prefix string) []string {
	t.Helper()
	var names []string
	err := s.List(t.Context(), prefix, func(i blob.Info) error {
		names = append(names, i.Name)
		return nil
	})
	if err != nil {
		t.Fatalf("List(%q): %v", prefix, err)
	}
	slices.Sort(names)
	return names
}

func putOpen(t *testing.T, s blob.Store) {
	for i, n := range []int{0, 1, 4096, 5<<20 + 17} {
		name := fmt.Sprintf("packs/0%d/blob-%d", i, i)
		data := pattern(n, uint64(i))
		put(t, s, name, data)
		if got := get(t, s, name); !bytes.Equal(got, data) {
			t.Errorf("blob of %d bytes came back as %d other ones", n, len(got))
		}
		info, err := s.Stat(t.Context(), name)
		if err != nil || info.Size != int64(n) || info.Name != name || info.Modified.IsZero() {
			t.Errorf("Stat(%s) = %+v, %v", name, info, err)
		}
	}
	put(t, s, "vault.id", []byte("x"))
	if _, err := blob.Read(t.Context(), s, "vault.id", 0); !errors.Is(err, blob.ErrTooLong) {
		t.Errorf("Read over its limit = %v, want ErrTooLong", err)
	}
}

func ranges(t *testing.T, s blob.Store) {
	data := pattern(100_000, 1)
	put(t, s, "packs/aa/b", data)
	b, err := s.Open(t.Context(), "packs/aa/b")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Size() != int64(len(data)) {
		t.Errorf("Size() = %d, want %d", b.Size(), len(data))
	}
	for _, r := range [][2]int{{0, 1}, {0, 100_000}, {99_999, 1}, {31, 70_000}} {
		got := make([]byte, r[1])
		if n, err := b.ReadAt(got, int64(r[0])); n != r[1] || err != nil && err != io.EOF {
			t.Errorf("ReadAt(%d bytes, %d) = %d, %v", r[1], r[0], n, err)
		}
		if !bytes.Equal(got, data[r[0]:r[0]+r[1]]) {
			t.Errorf("ReadAt(%d bytes, %d) gave other bytes", r[1], r[0])
		}
	}
	if n, err := b.ReadAt(make([]byte, 10), 99_995); n != 5 || err != io.EOF {
		t.Errorf("ReadAt over the end = %d, %v, want 5, EOF", n, err)
	}
}

func replace(t *testing.T, s blob.Store) {
	put(t, s, "refs/aa/x", []byte("old"))
	b, err := s.Open(t.Context(), "refs/aa/x")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	put(t, s, "refs/aa/x", []byte("newer"))
	if got := get(t, s, "refs/aa/x"); string(got) != "newer" {
		t.Errorf("after replacing = %q", got)
	}
	old := make([]byte, 3)
	if _, err := b.ReadAt(old, 0); (err == nil || err == io.EOF) && string(old) != "old" {
		t.Errorf("the open blob now reads %q: two blobs are mixed", old)
	}
}

func failedPut(t *testing.T, s blob.Store) {
	failure := errors.New("the writer's own failure")
	fail := func(w io.Writer) error {
		if _, err := w.Write(pattern(1<<20, 3)); err != nil {
			return err
		}
		return failure
	}
	if err := s.Put(t.Context(), "packs/aa/x", fail); !errors.Is(err, failure) {
		t.Errorf("Put = %v, want the writer's failure", err)
	}
	wantAbsent(t, s, "packs/aa/x")
	put(t, s, "packs/aa/x", []byte("good"))
	if err := s.Put(t.Context(), "packs/aa/x", fail); !errors.Is(err, failure) {
		t.Errorf("Put = %v, want the writer's failure", err)
	}
	if got := get(t, s, "packs/aa/x"); string(got) != "good" {
		t.Errorf("a failed put changed the blob to %q", got)
	}
}

func unfinished(t *testing.T, s blob.Store) {
	err := s.Put(t.Context(), "packs/aa/x", func(w io.Writer) error {
		if _, err := w.Write(pattern(5<<20, 4)); err != nil {
			return err
		}
		wantAbsent(t, s, "packs/aa/x")
		if got := listed(t, s, ""); len(got) != 0 {
			t.Errorf("an unfinished blob is listed: %q", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "packs/aa/x"); len(got) != 5<<20 {
		t.Errorf("blob has %d bytes", len(got))
	}
}

func cancelled(t *testing.T, s blob.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Put(ctx, "packs/aa/x", func(w io.Writer) error {
		cancel()
		w.Write([]byte("x"))
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Put with a cancelled context = %v", err)
	}
	wantAbsent(t, s, "packs/aa/x")
}

func absent(t *testing.T, s blob.Store) {
	wantAbsent(t, s, "packs/aa/none")
	put(t, s, "packs/aa/x", nil)
	wantAbsent(t, s, "packs/aa")
	wantAbsent(t, s, "packs")
	if err := s.Delete(t.Context(), "packs/aa/none"); err != nil {
		t.Errorf("Delete of nothing: %v", err)
	}
	if got := listed(t, s, "refs/"); len(got) != 0 {
		t.Errorf("List(refs/) = %q", got)
	}
}

func list(t *testing.T, s blob.Store) {
	all := []string{"manifests/a/b/1", "manifests/a/b/2", "manifests/a/bc/3", "packs/00/a", "packs/01/b", "vault.id"}
	for _, name := range all {
		put(t, s, name, []byte(name))
	}
	for _, c := range []struct {
		prefix string
		want   []string
	}{
		{"", all},
		{"manifests/", all[:3]},
		{"manifests/a/b", all[:3]}, // a prefix of names, not a folder
		{"manifests/a/b/", all[:2]},
		{"manifests/a/b/1", all[:1]},
		{"packs/0", all[3:5]},
		{"vault", all[5:]},
		{"none", nil},
	} {
		if got := listed(t, s, c.prefix); !slices.Equal(got, c.want) {
			t.Errorf("List(%q) = %q, want %q", c.prefix, got, c.want)
		}
	}
	stop, n := errors.New("enough"), 0
	err := s.List(t.Context(), "", func(i blob.Info) error {
		if i.Size != int64(len(i.Name)) || i.Modified.IsZero() {
			t.Errorf("List gives %+v", i)
		}
		n++
		return stop
	})
	if !errors.Is(err, stop) || n != 1 {
		t.Errorf("List = %v after %d calls, want each's error after one", err, n)
	}
}

func deletes(t *testing.T, s blob.Store) {
	put(t, s, "packs/aa/x", []byte("x"))
	put(t, s, "packs/aa/y", []byte("y"))
	for range 2 {
		if err := s.Delete(t.Context(), "packs/aa/x"); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
	wantAbsent(t, s, "packs/aa/x")
	if got := listed(t, s, ""); !slices.Equal(got, []string{"packs/aa/y"}) {
		t.Errorf("after deleting = %q", got)
	}
}

func names(t *testing.T, s blob.Store) {
	for _, name := range []string{
		"", ".", "..", "/", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".tmp-0", "a/.b", "a.", "a./b",
		"A", "a b", "a\\b", "a\x00b", "a:b", "é", string(bytes.Repeat([]byte("a"), 513)),
	} {
		if err := blob.Write(t.Context(), s, name, nil); err == nil {
			t.Errorf("Put(%q) took the name", name)
		}
		if _, err := s.Open(t.Context(), name); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q) = %v, want a refused name", name, err)
		}
		if _, err := s.Stat(t.Context(), name); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Stat(%q) = %v, want a refused name", name, err)
		}
		if err := s.Delete(t.Context(), name); err == nil {
			t.Errorf("Delete(%q) took the name", name)
		}
	}
}

func concurrent(t *testing.T, s blob.Store) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 8 {
				name := fmt.Sprintf("packs/%02x/same", j)
				data := bytes.Repeat([]byte{byte(i)}, 10_000+i)
				if err := blob.Write(t.Context(), s, name, data); err != nil {
					t.Errorf("Put(%s): %v", name, err)
				}
				got, err := blob.Read(t.Context(), s, name, 1<<20)
				if err != nil {
					t.Errorf("reading %s: %v", name, err)
					continue
				}
				if len(got) != 10_000+int(got[0]) || !bytes.Equal(got, bytes.Repeat(got[:1], len(got))) {
					t.Errorf("%s mixes writers", name)
				}
			}
		})
	}
	wg.Wait()
	if got := listed(t, s, ""); len(got) != 8 {
		t.Errorf("%d blobs are there, want 8: %q", len(got), got)
	}
}
