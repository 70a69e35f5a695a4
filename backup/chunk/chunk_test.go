package chunk

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/backstay/backstay/backup"
)

func secret(b byte) (k backup.Key) {
	for i := range k {
		k[i] = b
	}
	return k
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	rand.NewChaCha8(key).Read(b)
	return b
}

// plain cuts as format.md section 3 says, byte by byte.
func plain(c *Chunker, b []byte) []int {
	var cuts []int
	start := 0
	var h uint64
	for i := range b {
		n := i - start + 1
		if n > 262144-64 {
			h = h<<1 + c.table[b[i]]
		}
		end := n == 4194304 || n > 262144 && (n < 1048576 && h>>42 == 0 || n >= 1048576 && h>>46 == 0)
		if end {
			cuts = append(cuts, n)
			start, h = i+1, 0
		}
	}
	if start < len(b) {
		cuts = append(cuts, len(b)-start)
	}
	return cuts
}

func cutAll(c *Chunker, b []byte) []int {
	var cuts []int
	for len(b) > 0 {
		n := c.Cut(b, true)
		cuts = append(cuts, n)
		b = b[n:]
	}
	return cuts
}

func TestCutFollowsTheFormat(t *testing.T) {
	t.Parallel()
	c := NewChunker(secret(1))
	early, late := 0, 0
	for seed := range uint64(6) {
		b := noise(seed, 12<<20+int(seed)*777)
		got, want := cutAll(c, b), plain(c, b)
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: cuts %v, want %v", seed, got, want)
		}
		for _, n := range got[:len(got)-1] {
			if n < 1<<20 {
				early++
			} else {
				late++
			}
		}
	}
	if early == 0 || late == 0 {
		t.Errorf("%d cuts before the mean and %d after it: one rule was never seen", early, late)
	}
}

// A cut may fall on the first byte allowed, the last before the mean, the
// first from it on; these are where an off-by-one hides.
func TestCutAtTheEdges(t *testing.T) {
	t.Parallel()
	c := NewChunker(secret(2))
	b := make([]byte, backup.MaxChunk)
	for i := range c.table { // no byte but 255 can end a chunk
		c.table[i] = 1<<63 | 1
	}
	// hash before the byte is fixed after 64 equal bytes
	var h uint64
	for range 64 {
		h = h<<1 + c.table[0]
	}
	c.table[255] = -(h << 1) // hash 0 after a byte 255
	tests := []struct{ at, want int }{
		{backup.MinChunk - 1, backup.MaxChunk}, // the last byte that may not
		{backup.MinChunk, backup.MinChunk + 1},
		{backup.MinChunk + 1, backup.MinChunk + 2},
		{backup.MeanChunk - 2, backup.MeanChunk - 1},
		{backup.MeanChunk - 1, backup.MeanChunk},
		{backup.MeanChunk, backup.MeanChunk + 1},
		{backup.MaxChunk - 1, backup.MaxChunk},
	}
	for _, tt := range tests {
		b[tt.at] = 255
		if got := c.Cut(b, false); got != tt.want {
			t.Errorf("byte %d: cut at %d, want %d", tt.at, got, tt.want)
		}
		if got := plain(c, b)[0]; got != tt.want {
			t.Errorf("byte %d: the plain rule cuts at %d, want %d", tt.at, got, tt.want)
		}
		b[tt.at] = 0
	}
	// A hash between the two thresholds ends a chunk by the soft rule only.
	c.table[255] = 1<<43 - h<<1
	for at, ends := range map[int]bool{backup.MeanChunk - 2: false, backup.MeanChunk - 1: true} {
		b[at] = 255
		got := c.Cut(b, false)
		if (got == at+1) != ends {
			t.Errorf("soft rule, byte %d: cut at %d", at, got)
		}
		if want := plain(c, b)[0]; got != want {
			t.Errorf("soft rule, byte %d: cut at %d, the plain rule cuts at %d", at, got, want)
		}
		b[at] = 0
	}
}

func TestCutAsksForMore(t *testing.T) {
	t.Parallel()
	c := NewChunker(secret(1))
	b := noise(9, 10<<20)
	want := c.Cut(b, true)
	for _, n := range []int{0, 1, backup.MinChunk, want - 1} {
		if got := c.Cut(b[:n], false); got != 0 {
			t.Errorf("Cut of %d bytes = %d, want 0", n, got)
		}
		if got := c.Cut(b[:n], true); got != n {
			t.Errorf("final Cut of %d bytes = %d, want all", n, got)
		}
	}
	if got := c.Cut(b[:want], false); got != want {
		t.Errorf("Cut of exactly a chunk = %d, want %d", got, want)
	}
}

func TestReaderCutsAsCutDoes(t *testing.T) {
	t.Parallel()
	c := NewChunker(secret(3))
	for _, size := range []int{0, 1, backup.MinChunk, 3 << 20, 21<<20 + 5} {
		b := noise(uint64(size), size)
		for _, room := range []int{backup.MaxChunk, backup.MaxChunk + 1000, 2 * backup.MaxChunk} {
			var got []int
			var all []byte
			r := c.NewReader(iotest.HalfReader(bytes.NewReader(b)), make([]byte, room))
			for {
				chunk, err := r.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, len(chunk))
				all = append(all, chunk...)
			}
			if want := cutAll(c, b); !slices.Equal(got, want) || !bytes.Equal(all, b) {
				t.Errorf("%d bytes in a buffer of %d: chunks %v, want %v", size, room, got, want)
			}
		}
	}
}

func TestReaderReportsErrors(t *testing.T) {
	t.Parallel()
	want := errors.New("the disk is gone")
	r := NewChunker(secret(3)).NewReader(io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), iotest.ErrReader(want)), make([]byte, backup.MaxChunk))
	if _, err := r.Next(); !errors.Is(err, want) {
		t.Errorf("Next = %v, want %v", err, want)
	}
}

// What chunking by content is for: an edit leaves the other chunks as they
// were.
func TestEditsStayLocal(t *testing.T) {
	t.Parallel()
	c := NewChunker(secret(4))
	b := noise(4, 40<<20)
	sums := func(b []byte) map[[32]byte]int {
		m := map[[32]byte]int{}
		for len(b) > 0 {
			n := c.Cut(b, true)
			m[sha256.Sum256(b[:n])] = n
			b = b[n:]
		}
		return m
	}
	before := sums(b)
	for _, at := range []int{0, 5 << 20, 39 << 20} {
		after := sums(slices.Insert(slices.Clone(b), at, 'x'))
		fresh := 0
		for sum, n := range after {
			if _, ok := before[sum]; !ok {
				fresh += n
			}
		}
		if fresh > 2*backup.MaxChunk {
			t.Errorf("a byte inserted at %d makes %d new bytes of chunks", at, fresh)
		}
	}
}

func TestMeanLength(t *testing.T) {
	t.Parallel()
	c := NewChunker(secret(5))
	n := len(cutAll(c, noise(5, 100<<20)))
	if mean := (100 << 20) / n; mean < 800<<10 || mean > 1400<<10 {
		t.Errorf("chunks have %d bytes on average, want about 1 MiB", mean)
	}
}

func TestSecretDecides(t *testing.T) {
	t.Parallel()
	b := noise(6, 20<<20)
	if slices.Equal(cutAll(NewChunker(secret(1)), b), cutAll(NewChunker(secret(2)), b)) {
		t.Error("two secrets cut alike")
	}
}

func TestBundleEnds(t *testing.T) {
	t.Parallel()
	k := secret(7)
	c := NewChunker(k)
	rapid.Check(t, func(t *rapid.T) {
		var sum [32]byte
		copy(sum[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "sum"))
		size := rapid.IntRange(1, backup.MinChunk-1).Draw(t, "size")
		length := rapid.OneOf(rapid.IntRange(size, backup.MaxChunk), rapid.SampledFrom([]int{524287, 524288})).Draw(t, "length")
		m := hmac.New(sha256.New, k[:])
		m.Write([]byte("backstay/v1/bundle-cut\x00"))
		m.Write(sum[:])
		want := length >= 524288 && binary.BigEndian.Uint64(m.Sum(nil))>>45 < uint64(size)
		if got := c.BundleEnds(sum, size, length); got != want {
			t.Fatalf("BundleEnds(%x, %d, %d) = %v, want %v", sum, size, length, got, want)
		}
	})
}

func TestBundlesAreAboutAMebibyte(t *testing.T) {
	t.Parallel()
	c := NewChunker(secret(8))
	r := rand.New(rand.NewPCG(1, 2))
	var sum [32]byte
	length, bundles, total := 0, 0, 0
	for i := range 60_000 {
		binary.BigEndian.PutUint64(sum[:], uint64(i))
		size := 1 + r.IntN(30_000)
		if BundleFull(length, size) {
			bundles, length = bundles+1, 0
		}
		length += size
		total += size
		if length > backup.MaxChunk {
			t.Fatalf("a bundle of %d bytes", length)
		}
		if c.BundleEnds(sum, size, length) {
			bundles, length = bundles+1, 0
		}
	}
	if mean := total / bundles; mean < 800<<10 || mean > 1300<<10 {
		t.Errorf("bundles have %d bytes on average, want about 1 MiB", mean)
	}
}

func TestPageEnds(t *testing.T) {
	t.Parallel()
	k := secret(9)
	c := NewChunker(k)
	ends := 0
	for i := range 10_000 {
		path := noise(uint64(i), 20)
		m := hmac.New(sha256.New, k[:])
		m.Write(append([]byte("backstay/v1/page-cut\x00\x02"), path...))
		want := m.Sum(nil)[31] == 0
		if got := c.PageEnds(2, path, backup.MinPage); got != want {
			t.Fatalf("PageEnds(2, %x) = %v, want %v", path, got, want)
		}
		if c.PageEnds(2, path, backup.MinPage-1) {
			t.Fatal("a page ends under its least length")
		}
		if want {
			ends++
		}
	}
	if ends == 0 {
		t.Error("no page ever ended")
	}
}

func BenchmarkCut(b *testing.B) {
	c := NewChunker(secret(1))
	data := noise(1, 64<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		for rest := data; len(rest) > 0; {
			rest = rest[c.Cut(rest, true):]
		}
	}
}
