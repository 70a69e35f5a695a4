package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"
)

// Memory is a store that forgets everything when the process ends. The zero
// value is empty and without limit.
type Memory struct {
	Capacity int64            // bytes it takes, 0 for any number
	Now      func() time.Time // time.Now when nil

	mu    sync.Mutex
	blobs map[string]entry
	used  int64
}

type entry struct {
	data     []byte
	modified time.Time
}

var _ Store = (*Memory)(nil)

// Put stores a blob.
func (m *Memory) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	if err := CheckName(name); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	used := m.used - int64(len(m.blobs[name].data)) + int64(b.Len())
	if m.Capacity > 0 && used > m.Capacity {
		return Full(errors.New("memory store"))
	}
	if m.blobs == nil {
		m.blobs = map[string]entry{}
	}
	now := time.Now
	if m.Now != nil {
		now = m.Now
	}
	m.blobs[name], m.used = entry{b.Bytes(), now()}, used
	return nil
}

func (m *Memory) get(name string) (entry, error) {
	if err := CheckName(name); err != nil {
		return entry{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.blobs[name]
	if !ok {
		return entry{}, fmt.Errorf("blob %s: %w", name, fs.ErrNotExist)
	}
	return e, nil
}

type memoryBlob struct{ *bytes.Reader }

func (memoryBlob) Close() error { return nil }

// Open opens a blob.
func (m *Memory) Open(_ context.Context, name string) (Blob, error) {
	e, err := m.get(name)
	if err != nil {
		return nil, err
	}
	return memoryBlob{bytes.NewReader(e.data)}, nil
}

// Stat describes a blob.
func (m *Memory) Stat(_ context.Context, name string) (Info, error) {
	e, err := m.get(name)
	if err != nil {
		return Info{}, err
	}
	return Info{name, int64(len(e.data)), e.modified}, nil
}

// List lists blobs.
func (m *Memory) List(ctx context.Context, prefix string, each func(Info) error) error {
	m.mu.Lock()
	var found []Info
	for name, e := range m.blobs {
		if strings.HasPrefix(name, prefix) {
			found = append(found, Info{name, int64(len(e.data)), e.modified})
		}
	}
	m.mu.Unlock()
	for _, info := range found {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := each(info); err != nil {
			return err
		}
	}
	return nil
}

// Delete removes a blob.
func (m *Memory) Delete(_ context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= int64(len(m.blobs[name].data))
	delete(m.blobs, name)
	return nil
}
