package portal

import (
	"context"
	"errors"
	"io"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/restore"
)

// seeker is a file's content as http.ServeContent wants it. Close it.
type seeker struct {
	ctx   context.Context
	c     *restore.Contents
	entry *catalog.Entry
	at    int64
	pipe  *io.PipeReader
	done  chan struct{} // closed when the copying has ended
	err   error         // what ended it early, apart from nobody reading on
}

func (s *seeker) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += int64(s.entry.Size)
	}
	if offset < 0 {
		return 0, errors.New("seeking before the start")
	}
	s.Close()
	s.at = offset
	return offset, nil
}

func (s *seeker) Read(p []byte) (int, error) {
	if s.at >= int64(s.entry.Size) {
		return 0, io.EOF
	}
	if s.pipe == nil {
		r, w := io.Pipe()
		s.pipe, s.done = r, make(chan struct{})
		at, done := s.at, s.done
		go func() {
			defer close(done)
			err := s.c.Copy(s.ctx, s.entry, w, at, int64(s.entry.Size)-at)
			if !errors.Is(err, io.ErrClosedPipe) {
				s.err = err
			}
			w.CloseWithError(err)
		}()
	}
	n, err := s.pipe.Read(p)
	s.at += int64(n)
	return n, err
}

// Close ends the copying that a Read began, and returns what went wrong.
func (s *seeker) Close() error {
	if s.pipe != nil {
		s.pipe.Close()
		<-s.done
		s.pipe = nil
	}
	return s.err
}
