package restore

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// BenchmarkRestore restores the Go tree from memory, beside cp -a of it. The
// goal is to be no slower. BACKSTAY_BENCH_DIR names another tree.
func BenchmarkRestore(b *testing.B) {
	src := "/usr/local/go"
	if dir := os.Getenv("BACKSTAY_BENCH_DIR"); dir != "" {
		src = dir
	}
	t := newTree(b)
	t.scan(src)
	c := t.done()
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			dir := b.TempDir()
			res := mustRun(b, Config{Catalog: c, Target: dir, Privileged: root()})
			b.SetBytes(res.Bytes)
			b.StopTimer()
			os.RemoveAll(dir)
			b.StartTimer()
		}
	})
	b.Run("cp", func(b *testing.B) {
		for b.Loop() {
			dir := b.TempDir()
			if out, err := exec.Command("cp", "-a", src, filepath.Join(dir, "copy")).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			b.StopTimer()
			os.RemoveAll(dir)
			b.StartTimer()
		}
	})
}
