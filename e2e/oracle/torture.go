//go:build linux || darwin

package oracle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Torture fills the folder dir with about 30 MB of everything that other
// backup programs lost or spoilt: sizes around each limit of the engine, holes,
// hard links, odd names and times, modes, attributes, special files and, for
// root, foreign owners, capabilities and devices. Contents follow from seed
// alone. A plain user must make modes/locked writable before the tree can be
// removed.
func Torture(dir string, seed uint64) error {
	t := &torture{dir: dir, rand: rand.New(rand.NewPCG(seed, 1)), root: os.Geteuid() == 0}
	for _, fill := range []func(){
		t.sizes, t.many, t.sparse, t.order, t.names, t.deep, t.links, t.special, t.owners, t.attributes, t.modes, t.times,
	} {
		fill()
	}
	if t.err != nil {
		return fmt.Errorf("making a torture tree: %w", t.err)
	}
	return nil
}

// torture keeps the first error; after it, nothing more is done.
type torture struct {
	dir  string
	rand *rand.Rand
	root bool
	err  error
}

func (t *torture) path(name string) string { return filepath.Join(t.dir, name) }

func (t *torture) do(err error) {
	if t.err == nil {
		t.err = err
	}
}

// asRoot is do for what only some roots may: a container's may make no devices.
func (t *torture) asRoot(err error) {
	if !errors.Is(err, fs.ErrPermission) {
		t.do(err)
	}
}

func (t *torture) folder(name string) { t.do(os.MkdirAll(t.path(name), 0o755)) }

// file writes content below dir, making folders as needed.
func (t *torture) file(name string, content []byte) {
	t.do(os.MkdirAll(filepath.Dir(t.path(name)), 0o755))
	t.do(os.WriteFile(t.path(name), content, 0o644))
}

func (t *torture) random(n int) []byte {
	b := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], t.rand.Uint64())
	}
	for i := n &^ 7; i < n; i++ {
		b[i] = byte(t.rand.Uint32())
	}
	return b
}

func (t *torture) text(n int) []byte {
	words := strings.Fields("the backup of a file that nobody reads is the one somebody asks for and it is there or it is not")
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[t.rand.IntN(len(words))])
		b.WriteByte(" \n"[t.rand.IntN(8)/7])
	}
	return b.Bytes()[:n]
}

func (t *torture) sizes() {
	const kib, mib = 1 << 10, 1 << 20
	for _, n := range []int{0, 1, 2, 4*kib - 1, 4 * kib, 256*kib - 1, 256 * kib, 256*kib + 1, mib, 4 * mib, 4*mib + 1, 9 * mib} {
		t.file(fmt.Sprintf("sizes/random-%d", n), t.random(n))
	}
	t.file("sizes/text", t.text(3*mib))
	t.file("sizes/zeros", make([]byte, mib))
	twice := t.random(2 * mib)
	t.file("sizes/same-1", twice)
	t.file("sizes/same-2", twice)
	t.folder("empty/empty/empty")
}

func (t *torture) many() {
	for i := range 300 {
		t.file(fmt.Sprintf("many/%d/%d/file-%03d", i%7, i%3, i), t.text(t.rand.IntN(20_000)))
	}
}

func (t *torture) sparse() {
	const mib = 1 << 20
	t.holes("sparse/middle", 32*mib, 0, 31*mib)
	t.holes("sparse/front", 16*mib, 15*mib)
	t.holes("sparse/end", 16*mib, 0)
	t.holes("sparse/only", 64*mib)
	t.holes("sparse/odd", 3*mib+1234, mib+77)
	var many []int64
	for i := range int64(100) {
		many = append(many, i*128<<10)
	}
	t.holes("sparse/many", 13*mib, many...)
}

// holes makes a file of size bytes that is a hole but for some data at each of
// the offsets.
func (t *torture) holes(name string, size int64, at ...int64) {
	t.file(name, nil)
	f, err := os.OpenFile(t.path(name), os.O_WRONLY, 0)
	if err != nil {
		t.do(err)
		return
	}
	defer f.Close()
	t.do(f.Truncate(size))
	for _, off := range at {
		_, err := f.WriteAt(t.random(5000), off)
		t.do(err)
	}
}

// order has names that sort differently as whole paths and component by
// component, since some bytes come before the slash.
func (t *torture) order() {
	for _, name := range []string{"a/x/y", "a b/x", "a!/x", "a-b", "a.b/x", "a0/x", "a/\x01", "a\x01/x", "aa", "A/x", "b"} {
		t.file("order/"+name, []byte(name))
	}
}

func (t *torture) names() {
	names := []string{
		strings.Repeat("n", 255), "line\nbreak", "\n", " ", " spaces ", "dot.", "..dots", "...", "-rf", "*", "?", `back\slash`, `"quoted"`, "it's",
		"tab\t", "bell\a", "del\x7f", "CON", "nul.txt", "colon:stream", "%2F", "<b>", "&amp;", "日本語", "😀", "e\u0301-nfd", "\u00e9-nfc",
		"right\u202eto-left", "Case", "cASE", "~", "#", "file.txt~", "$(reboot)", strings.Repeat("é", 127),
	}
	if runtime.GOOS == "linux" { // darwin takes UTF-8 only
		names = append(names, "latin1-\xe9", "\xff\xfe", "half-\xf0\x9f", "surrogate-\xed\xa0\x80")
	}
	for _, n := range names {
		t.file("names/"+n, []byte(n))
		t.file("names/folders/"+n+"/f", []byte(n))
	}
}

func (t *torture) deep() {
	path := "deep"
	for i := range 20 {
		path += "/" + strings.Repeat(string(rune('a'+i)), 120)
	}
	t.file(path+"/bottom", []byte("bottom"))
}

func (t *torture) links() {
	t.file("links/one", t.text(50_000))
	t.file("links/big", t.random(600_000))
	t.folder("links/far")
	for _, pair := range [][2]string{
		{"one", "two"}, {"one", "far/three"}, {"big", "0-before-big"}, {"big", "far/big"},
	} {
		t.do(os.Link(t.path("links/"+pair[0]), t.path("links/"+pair[1])))
	}
	targets := map[string]string{
		"relative": "one", "up": "../sizes/text", "folder": "far", "absolute": "/etc/passwd", "dangling": "nothing/here",
		"loop": "loop", "root": "/", "spaces": " ", "odd": "new\nline", "long": strings.Repeat("x/", 1500), "out": "../../../../../../../../etc",
	}
	if runtime.GOOS == "linux" {
		targets["bytes"] = "\xff\xfe"
	}
	for name, target := range targets {
		t.do(os.Symlink(target, t.path("links/"+name)))
	}
	t.do(os.Link(t.path("links/relative"), t.path("links/relative-again")))
}

func (t *torture) special() {
	t.folder("special")
	t.do(unix.Mkfifo(t.path("special/fifo"), 0o640))
	if runtime.GOOS == "linux" {
		t.do(unix.Mknod(t.path("special/socket"), unix.S_IFSOCK|0o600, 0))
	}
	if t.root {
		t.asRoot(unix.Mknod(t.path("special/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		t.asRoot(unix.Mknod(t.path("special/loop"), unix.S_IFBLK|0o660, int(unix.Mkdev(7, 300))))
	}
}

func (t *torture) owners() {
	if !t.root {
		return
	}
	t.file("owners/file", []byte("x"))
	t.file("owners/folder/file", []byte("x"))
	t.file("owners/highest", []byte("x"))
	t.do(os.Symlink("file", t.path("owners/link")))
	for name, id := range map[string][2]int{
		"file": {1234, 5678}, "folder": {65534, 65534}, "link": {1, 2}, "highest": {1<<32 - 2, 1<<32 - 2},
	} {
		t.do(os.Lchown(t.path("owners/"+name), id[0], id[1]))
	}
}

func (t *torture) attributes() {
	t.file("attributes/file", []byte("x"))
	t.file("attributes/large", []byte("x"))
	t.folder("attributes/folder")
	t.attr("file", "user.empty", nil)
	t.attr("file", "user.text", []byte("text"))
	t.attr("file", "user.binary", []byte{0, 1, 0xff, '\n'})
	t.attr("large", "user.large", t.random(3000))
	t.attr("folder", "user.on.folder", []byte("x"))
	if runtime.GOOS != "linux" {
		return
	}
	t.attr("file", "user.\xff\xfe", []byte("name that is no text"))
	t.file("attributes/acl", []byte("x"))
	t.attr("acl", "system.posix_acl_access", acl())
	t.folder("attributes/acl-folder")
	t.attr("acl-folder", "system.posix_acl_access", acl())
	t.attr("acl-folder", "system.posix_acl_default", acl())
	if t.root {
		t.file("attributes/capable", []byte("x"))
		// Version 2, effective; CAP_NET_RAW permitted.
		capability := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		t.asRoot(unix.Setxattr(t.path("attributes/capable"), "security.capability", capability, 0))
		t.asRoot(unix.Setxattr(t.path("attributes/capable"), "trusted.mark", []byte("x"), 0))
	}
}

func (t *torture) attr(name, key string, value []byte) {
	if err := unix.Setxattr(t.path("attributes/"+name), key, value, 0); err != nil {
		t.do(fmt.Errorf("attribute %q of %s: %w", key, name, err))
	}
}

// acl is u::rw-, u:1234:r--, g::r--, m::r--, o::--- as Linux stores it.
func acl() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range [][3]uint32{{1, 6, 1<<32 - 1}, {2, 4, 1234}, {4, 4, 1<<32 - 1}, {16, 4, 1<<32 - 1}, {32, 0, 1<<32 - 1}} {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
	}
	return b
}

func (t *torture) modes() {
	files := []uint32{0o400, 0o444, 0o600, 0o777, 0o4755, 0o2755, 0o6711, 0o1644}
	if t.root { // nobody else could read it
		files = append(files, 0)
	}
	for _, mode := range files {
		name := fmt.Sprintf("modes/file-%04o", mode)
		t.file(name, []byte("x"))
		t.do(unix.Chmod(t.path(name), mode))
	}
	for _, mode := range []uint32{0o700, 0o1777, 0o2775} {
		name := fmt.Sprintf("modes/folder-%04o", mode)
		t.folder(name)
		t.do(unix.Chmod(t.path(name), mode))
	}
	t.file("modes/locked/file", []byte("x"))
	t.do(unix.Chmod(t.path("modes/locked"), 0o555))
}

func (t *torture) times() {
	times := map[string]time.Time{
		"oldest":     time.Unix(-1<<31, 0),
		"before":     time.Unix(-2, 500_000_000),
		"zero":       time.Unix(0, 0),
		"nanosecond": time.Unix(1_000_000_000, 1),
		"after-2038": time.Unix(1<<31+5, 999_999_999),
		"after-2262": time.Date(2400, 2, 29, 0, 0, 0, 123_456_789, time.UTC), // past int64 nanoseconds
	}
	for name, at := range times {
		t.file("times/"+name+"/file", []byte("x"))
		t.do(os.Symlink("file", t.path("times/"+name+"/link")))
		for _, item := range []string{name + "/file", name + "/link", name} {
			ts := unix.Timespec{Sec: at.Unix(), Nsec: int64(at.Nanosecond())}
			t.do(unix.UtimesNanoAt(unix.AT_FDCWD, t.path("times/"+item), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
		}
	}
}
