package connection

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/wire"
)

const (
	maxScript   = 1 << 20
	fetchTime   = 5 * time.Second
	keepScript  = 5 * time.Minute
	keepMissing = time.Minute // how long one that cannot be had is not asked for again
)

// Scripts asks proxy scripts, and keeps each for some minutes.
type Scripts struct {
	// Now is the clock by which scripts are kept; time.Now when nil.
	Now func() time.Time

	mu   sync.Mutex
	kept map[string]kept
}

// kept is a script, or why there is none.
type kept struct {
	source string
	err    error
	until  time.Time
}

func (s *Scripts) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// FindProxy is wire.Config.FindProxy: it asks the script at an address for the
// ways to target. A script that cannot be had is wire.ErrNoScript; one that is
// wrong, or takes too long, is an error that says so.
func (s *Scripts) FindProxy(ctx context.Context, address string, target *url.URL) (string, error) {
	source, err := s.script(ctx, address)
	if err != nil {
		return "", err
	}
	return ask(ctx, question{Source: source, URL: target.String(), Host: strings.ToLower(target.Hostname())})
}

// script returns the script at an address. Who asks meanwhile waits for the one
// answer.
func (s *Scripts) script(ctx context.Context, address string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.kept[address]; ok && s.now().Before(k.until) {
		return k.source, k.err
	}
	var k kept
	k.source, k.err = fetch(ctx, address)
	if ctx.Err() != nil {
		return "", k.err // whoever asks next has more time
	}
	k.until = s.now().Add(keepScript)
	if k.err != nil {
		k.until = s.now().Add(keepMissing)
	}
	if s.kept == nil {
		s.kept = map[string]kept{}
	}
	s.kept[address] = k
	return k.source, k.err
}

// fetch reads a script from a file or from the network, where it is fetched
// without a proxy.
func fetch(ctx context.Context, address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	if u.Scheme == "file" {
		f, err := os.Open(localPath(u))
		if err != nil {
			return "", fmt.Errorf("%w: %w", wire.ErrNoScript, err)
		}
		defer f.Close()
		return read(f)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Accept", "application/x-ns-proxy-autoconfig, */*;q=0.8")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}}
	answer, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("%w: %w", wire.ErrNoScript, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%w: %s answers %s", wire.ErrNoScript, address, answer.Status)
	}
	return read(answer.Body)
}

// localPath is the path of a file's address. On Windows /C:/x stands for C:\x.
func localPath(u *url.URL) string {
	path := u.Path
	if runtime.GOOS == "windows" {
		path = strings.TrimPrefix(path, "/")
	}
	return filepath.FromSlash(path)
}

func read(r io.Reader) (string, error) {
	source, err := io.ReadAll(io.LimitReader(r, maxScript+1))
	if err != nil {
		return "", fmt.Errorf("%w: %w", wire.ErrNoScript, err)
	}
	if len(source) > maxScript {
		return "", fmt.Errorf("it is larger than %d bytes", maxScript)
	}
	return string(source), nil
}
