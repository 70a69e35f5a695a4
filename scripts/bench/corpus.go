package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// corpus says what was measured on.
type corpus struct {
	Files int
	Bytes int64
	Parts []string
}

// real are trees that a development machine has, and how much of each is used
// at scale 1: sources, documents and pictures, programs.
var real = []struct {
	name, from string
	limit      int64
}{
	{"go", "/usr/local/go", 300e6},
	{"share", "/usr/share", 600e6},
	{"lib", "/usr/lib", 600e6},
}

// makeCorpus copies the real trees, up to their limits, and generates the rest
// from fixed seeds: media that cannot be compressed, office files whose newer
// versions share most bytes, and a home folder's many small texts.
func makeCorpus(ctx context.Context, dir string, scale float64) (corpus, error) {
	var c corpus
	for _, r := range real {
		if _, err := os.Stat(r.from); err != nil {
			continue
		}
		part := corpus{}
		err := copyTree(ctx, r.from, filepath.Join(dir, r.name), int64(scale*float64(r.limit)), &part)
		if err != nil {
			return c, err
		}
		c.add(r.from, part)
	}
	for _, g := range []struct {
		name string
		make func(dir string, scale float64, c *corpus) error
	}{{"media", media}, {"documents", documents}, {"texts", texts}} {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		part := corpus{}
		if err := g.make(filepath.Join(dir, g.name), scale, &part); err != nil {
			return c, err
		}
		c.add("generated "+g.name, part)
	}
	return c, nil
}

func (c *corpus) add(name string, part corpus) {
	c.Files += part.Files
	c.Bytes += part.Bytes
	c.Parts = append(c.Parts, fmt.Sprintf("%s: %d files, %.0f MB", name, part.Files, mb(part.Bytes)))
}

// copyTree copies regular files and links, in the order of their names, until
// limit bytes are copied. What may not be read is left out, and so is a file
// that would be more than a quarter of all: it would push the others out.
func copyTree(ctx context.Context, from, to string, limit int64, c *corpus) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.Bytes >= limit {
			return fs.SkipAll
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case d.Type().IsRegular():
			info, err := d.Info()
			if err != nil || info.Size() > limit/4 {
				return err
			}
			n, err := copyFile(path, target)
			if errors.Is(err, fs.ErrPermission) {
				return nil
			}
			c.Files++
			c.Bytes += n
			return err
		}
		return nil
	})
}

func copyFile(from, to string) (int64, error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return 0, err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm()|0o600)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return n, err
	}
	return n, os.Chtimes(to, info.ModTime(), info.ModTime())
}

func (c *corpus) write(path string, content io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, content)
	c.Files++
	c.Bytes += n
	return errors.Join(err, f.Close())
}

// media are 600 MB in files of 1 to 40 MB.
func media(dir string, scale float64, c *corpus) error {
	random := rand.NewChaCha8([32]byte{1})
	sizes := rand.New(rand.NewPCG(1, 1))
	for i := 0; c.Bytes < int64(scale*600e6); i++ {
		n := int64(1e6 * (1 + sizes.ExpFloat64()*6))
		path := filepath.Join(dir, fmt.Sprint(2020+i%5), fmt.Sprintf("clip-%04d.mp4", i))
		if err := c.write(path, io.LimitReader(random, min(n, 40e6))); err != nil {
			return err
		}
	}
	return nil
}

// documents are 60 MB: each file is there in four versions, with a page put in.
func documents(dir string, scale float64, c *corpus) error {
	random := rand.New(rand.NewPCG(2, 2))
	for i := 0; c.Bytes < int64(scale*60e6); i++ {
		content := prose(random, 300_000+random.IntN(900_000))
		for version := range 4 {
			path := filepath.Join(dir, fmt.Sprintf("report-%03d", i), fmt.Sprintf("v%d.odt", version))
			if err := c.write(path, bytes.NewReader(content)); err != nil {
				return err
			}
			at := random.IntN(len(content))
			content = append(content[:at:at], append(prose(random, 4000), content[at:]...)...)
		}
	}
	return nil
}

// texts are 20,000 files of up to 8 kB.
func texts(dir string, scale float64, c *corpus) error {
	random := rand.New(rand.NewPCG(3, 3))
	for i := range int(scale * 20_000) {
		path := filepath.Join(dir, fmt.Sprint(i%40), fmt.Sprint(i%23), fmt.Sprintf("note-%05d.txt", i))
		if err := c.write(path, bytes.NewReader(prose(random, random.IntN(8000)))); err != nil {
			return err
		}
	}
	return nil
}

// prose compresses about as well as text does.
func prose(random *rand.Rand, n int) []byte {
	const letters = "etaoinshrdlucmfwypvbgkjqxz"
	var b strings.Builder
	for b.Len() < n {
		for range 2 + random.IntN(8) {
			at := int(random.ExpFloat64() * 5)
			b.WriteByte(letters[at%len(letters)])
		}
		b.WriteByte(' ')
	}
	return []byte(b.String()[:n])
}

// size adds up all files below dir.
func size(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		total += info.Size()
		return nil
	})
	return total, err
}

// same sees that a restore gave all contents back: figures of a wrong one
// would be worth nothing. It keeps to small buffers, since what this process
// occupies counts as the peak of the commands it starts.
func same(want, got string) error {
	a, b := make([]byte, 1<<16), make([]byte, 1<<16)
	return filepath.WalkDir(want, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(want, path)
		if err != nil {
			return err
		}
		return sameFile(path, filepath.Join(got, rel), a, b)
	})
}

func sameFile(want, got string, a, b []byte) error {
	f, err := os.Open(want)
	if err != nil {
		return err
	}
	defer f.Close()
	g, err := os.Open(got)
	if err != nil {
		return fmt.Errorf("not restored: %w", err)
	}
	defer g.Close()
	for {
		n, errF := io.ReadFull(f, a)
		m, errG := io.ReadFull(g, b)
		if !bytes.Equal(a[:n], b[:m]) {
			return fmt.Errorf("%s was restored wrongly", want)
		}
		if errF == io.EOF || errF == io.ErrUnexpectedEOF {
			return nil
		}
		if err := errors.Join(errF, errG); err != nil {
			return err
		}
	}
}
