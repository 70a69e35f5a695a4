package crypt

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/backstay/backstay/backup"
)

func BenchmarkSeal(b *testing.B) {
	for _, bb := range samples() {
		b.Run(bb.name, func(b *testing.B) {
			s := NewSealer(backup.Key{1}, backup.UUID{2}, Profile1)
			b.ReportAllocs()
			b.SetBytes(int64(len(bb.plain)))
			for b.Loop() {
				o, err := s.Seal(backup.Data, bb.plain)
				if err != nil {
					b.Fatal(err)
				}
				s.Release(o)
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, bb := range samples() {
		b.Run(bb.name, func(b *testing.B) {
			s := NewSealer(backup.Key{1}, backup.UUID{2}, Profile1)
			o, err := s.Seal(backup.Data, bb.plain)
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]byte, 0, len(bb.plain))
			b.ReportAllocs()
			b.SetBytes(int64(len(bb.plain)))
			for b.Loop() {
				if _, err := Open(dst, backup.UUID{2}, backup.Data, o.Ref, o.Sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type sample struct {
	name  string
	plain []byte
}

func samples() []sample {
	return []sample{
		{"noise", noise(1, 1<<20)},
		{"text", text(1 << 20)},
		{"small", text(3000)},
	}
}

// BenchmarkProfile is the measurement behind profile 1: it compresses what
// this computer has at each level, and reports what is stored, padding
// included, per byte of plaintext. On two cores with Go 1.26.8 (fastest with
// all literals coded, default, better; one core):
//
//	/usr/local/go             0.301  0.286  0.277   293  205  122 MB/s
//	/usr/share                0.442  0.423  0.413   293  196  133 MB/s
//	/usr/lib/x86_64-linux-gnu 0.369  0.348  0.343   270  180  114 MB/s
//	noise                     1.031  1.031  1.031   see BenchmarkSeal
//
// Debian's restic 0.14 stores 0.33 of the same Go tree, for it compresses
// small files one by one, and 0.43 of the share tree.
func BenchmarkProfile(b *testing.B) {
	levels := []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression}
	for _, dir := range []string{"/usr/local/go", "/usr/share", "/usr/lib/x86_64-linux-gnu"} {
		chunks := load(dir, 200<<20)
		for _, level := range levels {
			b.Run(filepath.Base(dir)+"/"+level.String(), func(b *testing.B) {
				enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithWindowSize(backup.MaxChunk),
					zstd.WithAllLitEntropyCompression(true), zstd.WithEncoderCRC(false), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
				if err != nil {
					b.Fatal(err)
				}
				buf := make([]byte, 0, backup.MaxChunk+1<<20)
				total, stored := 0, 0
				for b.Loop() {
					total, stored = 0, 0
					for _, c := range chunks {
						total += len(c)
						stored += padme(5+min(len(c), len(enc.EncodeAll(c, buf)))) + tagSize
					}
					b.SetBytes(int64(total))
				}
				b.ReportMetric(float64(stored)/float64(total), "stored/B")
			})
		}
	}
}

// load reads files under dir, joined to pieces of about a mebibyte.
func load(dir string, limit int) (chunks [][]byte) {
	var bundle []byte
	total := 0
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || total > limit {
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return nil
		}
		total += len(b)
		bundle = append(bundle, b...)
		for len(bundle) >= 1200<<10 {
			chunks = append(chunks, bundle[:1200<<10])
			bundle = append([]byte(nil), bundle[1200<<10:]...)
		}
		return nil
	})
	return append(chunks, bundle)
}
