package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"
)

// static holds our own few files and, in vendor, what assets.mjs copied. The
// folder vendor may be absent at build time, so that the Go tools work in a
// fresh clone; Assets then says what is missing.
//
//go:embed all:static
var static embed.FS

// StaticPath is where both portals find the assets.
const StaticPath = "/static/"

// Assets are the files that pages load. Each is served under a name with its
// hash, compressed, and may be cached for ever. Assets is an http.Handler for
// everything under StaticPath.
type Assets struct {
	urls  map[string]string // logical name to URL path
	files map[string]asset  // URL path to content
}

type asset struct {
	kind   string
	plain  []byte
	packed []byte // gzip, or nil when it does not pay
}

// LoadAssets reads the embedded assets, once. It fails when this binary was
// built without them.
var LoadAssets = sync.OnceValues(func() (*Assets, error) { return load(static) })

// hashed is a name that assets.mjs already gave a hash.
var hashed = regexp.MustCompile(`^(.+)\.[0-9a-f]{12}(\.\w+)$`)

func load(files fs.FS) (*Assets, error) {
	a := &Assets{urls: map[string]string{}, files: map[string]asset{}}
	err := fs.WalkDir(files, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		return a.add(strings.TrimPrefix(name, "static/"), data)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the page assets: %w", err)
	}
	if a.urls["vendor/tabler.css"] == "" {
		return nil, errors.New("this binary was built without its page assets: run make assets, then build again")
	}
	return a, nil
}

func (a *Assets) add(name string, data []byte) error {
	f := asset{plain: data}
	if plain, ok := strings.CutSuffix(name, ".gz"); ok {
		name = plain
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if f.plain, err = io.ReadAll(z); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		f.packed = data
	} else if len(data) > 1024 {
		f.packed = pack(data)
	}
	f.kind = mime.TypeByExtension(path.Ext(name))
	switch path.Ext(name) {
	case ".js":
		f.kind = "text/javascript; charset=utf-8"
	case ".css":
		f.kind = "text/css; charset=utf-8"
	case ".svg":
		f.kind = "image/svg+xml"
	case ".txt":
		f.kind = "text/plain; charset=utf-8"
	}
	logical, url := name, name
	if m := hashed.FindStringSubmatch(name); m != nil {
		logical = m[1] + m[2]
	} else {
		sum := sha256.Sum256(f.plain)
		ext := path.Ext(name)
		url = strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:6]) + ext
	}
	a.urls[logical] = StaticPath + url
	a.files[StaticPath+url] = f
	return nil
}

// packers are used again: the tables of one are most of a megabyte, and to make
// them takes longer than to pack a page.
var packers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestCompression)
	return z
}}

func pack(data []byte) []byte {
	z := packers.Get().(*gzip.Writer)
	defer packers.Put(z)
	var b bytes.Buffer
	z.Reset(&b)
	z.Write(data)
	z.Close()
	return b.Bytes()
}

// URL is the path under which the file of this logical name is served, as in
// URL("vendor/tabler.css").
func (a *Assets) URL(name string) (string, error) {
	url, ok := a.urls[name]
	if !ok {
		return "", fmt.Errorf("no page asset named %s", name)
	}
	return url, nil
}

// ServeHTTP serves one asset. A name without its hash, or with an old one, is
// not found: a page never asks for it.
func (a *Assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	SetHeaders(w.Header())
	f, ok := a.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := f.plain
	if f.packed != nil && acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body = f.packed
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func acceptsGzip(r *http.Request) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" {
			return strings.TrimSpace(q) != "q=0"
		}
	}
	return false
}
