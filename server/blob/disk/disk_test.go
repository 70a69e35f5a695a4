package disk

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/blob"
	"github.com/backstay/backstay/server/blob/blobtest"
)

func open(t *testing.T, folder string) *Store {
	t.Helper()
	s, err := Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	blobtest.Conformance(t, func(t *testing.T) blob.Store { return open(t, t.TempDir()) })
}

func temps(t *testing.T, folder string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(folder, func(p string, d os.DirEntry, err error) error {
		if strings.HasPrefix(d.Name(), ".tmp-") {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFailedPutLeavesNoFile(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	err := s.Put(t.Context(), "packs/aa/x", func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		if temps(t, folder) != 1 {
			t.Error("no temporary file while writing: the check below proves nothing")
		}
		return io.ErrUnexpectedEOF
	})
	if err == nil || temps(t, folder) != 0 {
		t.Errorf("Put = %v and %d temporary files are left", err, temps(t, folder))
	}
}

func TestOpenRemovesLeftovers(t *testing.T) {
	folder := t.TempDir()
	first := open(t, folder)
	if err := blob.Write(t.Context(), first, "packs/aa/x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(folder, "packs", "aa", ".tmp-"+strings.Repeat("0a", 16))
	if err := os.WriteFile(left, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	// While another process may be writing, its files are not touched.
	open(t, folder).Close()
	if temps(t, folder) != 1 {
		t.Error("a temporary file was removed under a writer")
	}
	first.Close()
	s := open(t, folder)
	if temps(t, folder) != 0 {
		t.Error("a crash's temporary file is still there")
	}
	if data, err := blob.Read(t.Context(), s, "packs/aa/x", 10); err != nil || string(data) != "x" {
		t.Errorf("the blob beside it is %q, %v", data, err)
	}
}

func TestReserve(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	for _, c := range []struct{ total, want uint64 }{
		{64 * mib, 64 * mib / 20},
		{10 * gib, gib / 2},
		{20 * gib, gib},
		{50 * gib, gib},
		{1000 * gib, 10 * gib},
		{0, 0},
	} {
		if got := Reserve(c.total); got != c.want {
			t.Errorf("Reserve(%d) = %d, want %d", c.total, got, c.want)
		}
	}
}

func TestFull(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	if err := blob.Write(t.Context(), s, "packs/aa/x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	free := uint64(100 << 20)
	s.space = func(string) (uint64, uint64, error) { return 1 << 30, free, nil }
	keep := Reserve(1 << 30)

	free = keep - 1
	if err := blob.Write(t.Context(), s, "packs/aa/y", nil); !errs.Is(err, errs.StorageFull) {
		t.Errorf("Put into the reserve = %v, want E1601", err)
	}
	// It fills up while a blob is written.
	free = keep + 10<<20
	err := s.Put(t.Context(), "packs/aa/z", func(w io.Writer) error {
		for range 32 {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
			free -= 1 << 20
		}
		return nil
	})
	if !errs.Is(err, errs.StorageFull) {
		t.Errorf("Put of what does not fit = %v, want E1601", err)
	}
	if got, err := blob.Read(t.Context(), s, "packs/aa/x", 10); err != nil || !bytes.Equal(got, []byte("x")) {
		t.Errorf("reading from a full store = %q, %v", got, err)
	}
	if err := s.Delete(t.Context(), "packs/aa/x"); err != nil {
		t.Errorf("deleting from a full store: %v", err)
	}
	if temps(t, folder) != 0 {
		t.Error("a refused put left its file")
	}
}

func TestStrayFilesAreNoBlobs(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	for _, name := range []string{"packs/README.TXT", "lost+found/x", ".hidden"} {
		p := filepath.Join(folder, name)
		os.MkdirAll(filepath.Dir(p), 0o700)
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := s.List(t.Context(), "", func(i blob.Info) error {
		t.Errorf("List gives %q", i.Name)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
