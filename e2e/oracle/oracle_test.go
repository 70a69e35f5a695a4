//go:build linux || darwin

package oracle

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tree makes a torture tree that can be removed.
func tree(t *testing.T, seed uint64) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "modes/locked"), 0o755) })
	if err := Torture(dir, seed); err != nil {
		t.Fatal(err)
	}
	return dir
}

func mustRead(t *testing.T, dir string) *Tree {
	t.Helper()
	tree, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func find(t *testing.T, tree *Tree, path string) *Entry {
	t.Helper()
	for _, e := range tree.Entries {
		if e.Path == path {
			return e
		}
	}
	t.Fatalf("%s: not in the tree", path)
	return nil
}

func TestSameTree(t *testing.T) {
	t.Parallel()
	dir := tree(t, 1)
	a := mustRead(t, dir)
	if len(a.Problems) > 0 {
		t.Errorf("problems: %v", a.Problems)
	}
	if got := Compare(a, mustRead(t, dir)); len(got) > 0 {
		t.Errorf("a tree differs from itself:\n%s", Report(got, 10))
	}
	files, size := a.Count()
	if files < 400 || size < 150<<20 {
		t.Errorf("Count() = %d, %d: the tree is smaller than it should be", files, size)
	}
}

// The tree of another program that is known to keep nearly everything shows
// that Compare does not cry wolf over a real copy.
func TestCopyIsSame(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		return // cp -a of GNU
	}
	dir := tree(t, 2)
	to := filepath.Join(t.TempDir(), "copy")
	t.Cleanup(func() { os.Chmod(filepath.Join(to, "modes/locked"), 0o755) })
	// Not --sparse=always: it makes holes of zeros.
	if out, err := exec.Command("cp", "-a", "--sparse=auto", dir, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	for _, d := range Compare(mustRead(t, dir), mustRead(t, to)) {
		t.Error(d)
	}
}

// Every aspect is seen to be noticed, and only it.
func TestNotices(t *testing.T) {
	t.Parallel()
	do := func(errs ...error) error { return errors.Join(errs...) }
	tests := []struct {
		name   string
		path   string
		aspect Aspect
		change func(dir string) error
	}{
		{"missing", "many/0/0/file-000", Missing, func(d string) error { return os.Remove(d + "/many/0/0/file-000") }},
		{"extra", "many/new", Extra, func(d string) error { return os.WriteFile(d+"/many/new", nil, 0o600) }},
		{"bit", "sizes/random-1048576", Content, func(d string) error { return flip(d+"/sizes/random-1048576", 500_000) }},
		{"bit in a hole", "sparse/only", Content, func(d string) error { return flip(d+"/sparse/only", 1<<20) }},
		{"size", "sizes/text", Size, func(d string) error { return os.Truncate(d+"/sizes/text", 3<<20-1) }},
		{"type", "special/fifo", Kind, func(d string) error {
			return do(os.Remove(d+"/special/fifo"), os.WriteFile(d+"/special/fifo", nil, 0o640))
		}},
		{"mode", "modes/file-4755", Mode, func(d string) error { return os.Chmod(d+"/modes/file-4755", 0o755) }},
		{"folder's mode", "modes/folder-1777", Mode, func(d string) error { return unix.Chmod(d+"/modes/folder-1777", 0o777) }},
		{"a nanosecond", "times/before/file", MTime, func(d string) error {
			return os.Chtimes(d+"/times/before/file", time.Time{}, time.Unix(-2, 500_000_001))
		}},
		{"folder's time", "empty/empty/empty", MTime, func(d string) error {
			return os.Chtimes(d+"/empty/empty/empty", time.Time{}, time.Unix(1, 0))
		}},
		{"target", "links/dangling", Target, func(d string) error {
			return do(os.Remove(d+"/links/dangling"), os.Symlink("elsewhere", d+"/links/dangling"))
		}},
		{"hole filled", "sparse/middle", Holes, func(d string) error {
			f, err := os.OpenFile(d+"/sparse/middle", os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt(make([]byte, 1<<20), 8<<20)
			return do(err, f.Close())
		}},
		{"hole made", "sizes/zeros", Holes, func(d string) error {
			return do(os.Truncate(d+"/sizes/zeros", 0), os.Truncate(d+"/sizes/zeros", 1<<20))
		}},
		{"twin gone", "links/two", Links, func(d string) error {
			b, err := os.ReadFile(d + "/links/two")
			return do(err, os.Remove(d+"/links/two"), os.WriteFile(d+"/links/two", b, 0o644))
		}},
		{"other twin", "links/far/big", Links, func(d string) error {
			// far/big becomes a name of the file that is far/three.
			return do(os.Remove(d+"/links/far/big"), os.Link(d+"/links/far/three", d+"/links/far/big"))
		}},
		{"attribute changed", "attributes/file", Xattrs, func(d string) error {
			return unix.Setxattr(d+"/attributes/file", "user.text", []byte("other"), 0)
		}},
		{"attribute gone", "attributes/file", Xattrs, func(d string) error {
			return unix.Removexattr(d+"/attributes/file", "user.empty")
		}},
	}
	if os.Geteuid() == 0 {
		tests = append(tests, []struct {
			name   string
			path   string
			aspect Aspect
			change func(dir string) error
		}{
			{"owner", "owners/file", Owner, func(d string) error { return os.Chown(d+"/owners/file", 1235, 5678) }},
			{"link's group", "owners/link", Owner, func(d string) error { return os.Lchown(d+"/owners/link", 1, 3) }},
			{"capability", "attributes/capable", Xattrs, func(d string) error {
				return unix.Removexattr(d+"/attributes/capable", "security.capability")
			}},
		}...)
	}
	dir := tree(t, 3)
	after := mustRead(t, dir)
	for _, test := range tests {
		before := after
		if err := test.change(dir); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		after = mustRead(t, dir)
		diffs := Compare(before, after)
		if !slices.ContainsFunc(diffs, func(d Difference) bool { return d.Path == test.path && d.Aspect == test.aspect }) {
			t.Errorf("%s: not noticed, got:\n%s", test.name, Report(diffs, 0))
		}
		// A change of one item may touch its time, its folder's time and its twins.
		for _, d := range diffs {
			side := d.Aspect == MTime || d.Aspect == Links || d.Aspect == Mode && test.aspect == Kind ||
				strings.HasPrefix(test.name, "other twin") && (d.Aspect == Content || d.Aspect == Size) ||
				test.name == "bit in a hole" && d.Aspect == Holes
			if (d.Path != test.path || d.Aspect != test.aspect) && !side {
				t.Errorf("%s: also noticed %v", test.name, d)
			}
		}
	}
}

func flip(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, at); err != nil {
		return err
	}
	return f.Close()
}

// Hard-link groups are compared as groups: when the first name of one is gone,
// the others must not be reported.
func TestTwinsWithoutTheFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/a", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "c"} {
		if err := os.Link(dir+"/a", dir+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	before := mustRead(t, dir)
	if err := os.Remove(dir + "/a"); err != nil {
		t.Fatal(err)
	}
	diffs := Compare(before, mustRead(t, dir))
	diffs = slices.DeleteFunc(diffs, func(d Difference) bool { return d.Aspect == MTime })
	if len(diffs) != 1 || diffs[0].Path != "a" || diffs[0].Aspect != Missing {
		t.Errorf("got:\n%s\nwant only a missing", Report(diffs, 0))
	}
}

func TestEntry(t *testing.T) {
	t.Parallel()
	tree := mustRead(t, tree(t, 4))
	if e := find(t, tree, "names/line\nbreak"); e.Type != File || e.Size != 10 {
		t.Errorf("got %+v", e)
	}
	if e := find(t, tree, "links/far/three"); e.Twin != "links/far/three" {
		t.Errorf("Twin = %q, want the group's first name", e.Twin)
	}
	if e := find(t, tree, "links/two"); e.Twin != "links/far/three" || e.Sum != find(t, tree, "links/one").Sum || e.Sum == [32]byte{} {
		t.Errorf("got %+v, want the content of its group", e)
	}
	if e := find(t, tree, "sparse/middle"); len(e.Data) != 2 || e.Data[0].From != 0 || e.Data[1].From != 31<<20 {
		t.Errorf("Data = %v, want two regions", e.Data)
	}
	if e := find(t, tree, "sparse/only"); len(e.Data) != 0 {
		t.Errorf("Data = %v, want none", e.Data)
	}
	if e := find(t, tree, "times/after-2262/link"); e.MTime.Year() != 2400 || e.MTime.Nanosecond() != 123_456_789 {
		t.Errorf("MTime = %v", e.MTime)
	}
	if runtime.GOOS == "linux" {
		find(t, tree, "names/latin1-\xe9")
		find(t, tree, "special/socket")
		if e := find(t, tree, "attributes/acl"); e.Xattrs["system.posix_acl_access"] == "" {
			t.Errorf("Xattrs = %q, want an ACL", e.Xattrs)
		}
	}
}

// Hole maps of file systems with different blocks: what one block of the
// coarser one covers counts as data in both.
func TestRound(t *testing.T) {
	t.Parallel()
	tests := []struct {
		data  []Region
		block int64
		want  []Region
	}{
		{nil, 4096, nil},
		{[]Region{{5000, 5001}}, 4096, []Region{{4096, 8192}}},
		{[]Region{{0, 4096}, {8192, 12288}}, 8192, []Region{{0, 16384}}},
		{[]Region{{98304, 99000}}, 65536, []Region{{65536, 100_000}}}, // ends with the file
	}
	for _, test := range tests {
		if got := round(test.data, test.block, 100_000); !slices.Equal(got, test.want) {
			t.Errorf("round(%v, %d) = %v, want %v", test.data, test.block, got, test.want)
		}
	}
}

// Unread items are differences, never silence.
func TestProblems(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		dir := t.TempDir()
		if err := os.Mkdir(dir+"/shut", 0); err != nil {
			t.Fatal(err)
		}
		tree := mustRead(t, dir)
		if len(tree.Problems) != 1 || tree.Problems[0].Path != "shut" {
			t.Errorf("problems: %v, want shut", tree.Problems)
		}
	}
	e := func() *Entry { return &Entry{Path: "f", Type: File, block: 4096} }
	good := &Tree{Entries: []*Entry{e()}}
	bad := &Tree{Entries: []*Entry{e()}, Problems: []Problem{{"f", os.ErrPermission}}}
	bad.Entries[0].Unread = true
	bad.Entries[0].Size = 9
	for _, pair := range [][2]*Tree{{good, bad}, {bad, good}, {bad, bad}} {
		diffs := Compare(pair[0], pair[1])
		if len(diffs) == 0 || diffs[0].Aspect != Unread {
			t.Errorf("Compare = %v, want unread", diffs)
		}
	}
	if _, err := Read(t.TempDir() + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Read of nothing: %v, want ErrNotExist", err)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	diffs := []Difference{
		{"a\nb", Mode, "0644", "0600"},
		{"plain é", Missing, "file", ""},
		{"\xff", Extra, "", "folder"},
	}
	want := "\"a\\nb\": mode: was 0644, is 0600\nplain é: missing: file\n\"\\xff\": extra: folder\n"
	if got := Report(diffs, 0); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	if got := Report(diffs, 1); got != strings.SplitAfter(want, "\n")[0]+"... and 2 more\n" {
		t.Errorf("got:\n%s", got)
	}
}

func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	for i := range 60_000 {
		sub := fmt.Sprintf("%s/%d", dir, i%600)
		os.Mkdir(sub, 0o755)
		if err := os.WriteFile(fmt.Sprintf("%s/%d", sub, i), []byte("content"), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(dir); err != nil {
			b.Fatal(err)
		}
	}
}
