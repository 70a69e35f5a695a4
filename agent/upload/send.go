package upload

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/archive"
	"github.com/backstay/backstay/backup/pack"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// senders is how many packs are sent side by side.
const senders = 2

// sender is the archiver's Sink: it gathers objects into packs, asks the server
// which of them it has, and puts the others. Objects stay in memory until their
// put is acknowledged, so that it can be repeated; room bounds that.
type sender struct {
	r      *run
	ctx    context.Context // ends when sending fails
	cancel context.CancelCauseFunc
	room   *semaphore.Weighted
	packs  chan *load
	done   sync.WaitGroup

	mu      sync.Mutex
	taken   map[backup.ID]bool // objects that this run has taken
	filling [3]*load           // by class
	onWay   sync.WaitGroup     // packs that are not acknowledged
	err     error              // the first failure
}

var _ archive.Sink = (*sender)(nil)

// load is a pack on its way to the server.
type load struct {
	class   backup.Class
	objects []backup.Object
	bytes   int
}

func newSender(ctx context.Context, r *run) *sender {
	s := &sender{
		// Both packs that are being filled, and one object more, leave room for
		// a pack on its way.
		r: r, room: semaphore.NewWeighted(int64(2*r.PutBytes + backup.MaxSealed)),
		packs: make(chan *load), taken: map[backup.ID]bool{},
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	for range senders {
		s.done.Go(s.sendAll)
	}
	return s
}

// close ends the sending, finished or not.
func (s *sender) close() {
	s.cancel(context.Canceled)
	s.done.Wait()
}

func (s *sender) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *sender) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.cancel(err)
}

// forget makes the sender take objects that it had taken before.
func (s *sender) forget(ids []backup.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.taken, id)
	}
}

// Put takes an object. It waits while too much is on the way.
func (s *sender) Put(ctx context.Context, o backup.Object) error {
	needed, err := s.take(o)
	if err != nil {
		return err
	}
	if !needed {
		s.r.sealer.Release(o)
		return nil
	}
	if err := s.room.Acquire(ctx, int64(len(o.Sealed))); err != nil {
		return context.Cause(ctx)
	}
	return s.add(ctx, o)
}

// take decides whether an object has to be sent, and keeps metadata for the
// catalog.
func (s *sender) take(o backup.Object) (needed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[o.Ref.ID] {
		return false, nil
	}
	s.taken[o.Ref.ID] = true
	if len(s.taken)%memoryStep == 0 {
		raiseMemory(memoryStep)
	}
	if o.Kind.Class() == backup.ClassMetadata {
		if err := s.r.catalog.Add(o); err != nil {
			return false, err
		}
	}
	return !s.r.remembered(o.Ref.ID), nil
}

// remembered reports whether the server surely has an object: the last
// snapshot needs it, and nothing was collected since (R3). The commit tells if
// it is not so.
func (r *run) remembered(id backup.ID) bool {
	if r.renew[id] || !r.prev.Known() || r.prev.Head.GCEpoch != r.session.GCEpoch {
		return false
	}
	_, ok := slices.BinarySearchFunc(r.prev.Refs, id, compareIDs)
	return ok
}

func compareIDs(a, b backup.ID) int { return bytes.Compare(a[:], b[:]) }

// add puts an object into the pack of its class, and sends that when it is
// full.
func (s *sender) add(ctx context.Context, o backup.Object) error {
	s.mu.Lock()
	class := o.Kind.Class()
	if s.filling[class] == nil {
		s.filling[class] = &load{class: class}
	}
	l := s.filling[class]
	l.objects = append(l.objects, o)
	l.bytes += len(o.Sealed)
	full := l.bytes >= s.limit(class) || len(l.objects) >= wire.MaxHave
	if full {
		s.filling[class] = nil
		s.onWay.Add(1)
	}
	s.mu.Unlock()
	if !full {
		return nil
	}
	return s.dispatch(ctx, l)
}

// limit is how full a pack gets. There is little metadata.
func (s *sender) limit(class backup.Class) int {
	if class == backup.ClassMetadata {
		return s.r.PutBytes / 4
	}
	return s.r.PutBytes
}

func (s *sender) dispatch(ctx context.Context, l *load) error {
	select {
	case s.packs <- l:
		return nil
	case <-ctx.Done():
		s.onWay.Done()
		return context.Cause(ctx)
	case <-s.ctx.Done():
		s.onWay.Done()
		return context.Cause(s.ctx)
	}
}

// flush sends what is gathered, and returns when the server has acknowledged
// everything that Put took.
func (s *sender) flush(ctx context.Context) error {
	for _, class := range []backup.Class{backup.ClassData, backup.ClassMetadata} {
		s.mu.Lock()
		l := s.filling[class]
		s.filling[class] = nil
		if l != nil {
			s.onWay.Add(1)
		}
		s.mu.Unlock()
		if l == nil {
			continue
		}
		if err := s.dispatch(ctx, l); err != nil {
			return err
		}
	}
	s.onWay.Wait()
	return s.failed()
}

// sendAll is what a sending goroutine does.
func (s *sender) sendAll() {
	for {
		select {
		case l := <-s.packs:
			if err := s.send(l); err != nil {
				s.fail(err)
			}
			s.onWay.Done()
		case <-s.ctx.Done():
			return
		}
	}
}

// send puts what the server lacks of a pack, and gives its memory back.
func (s *sender) send(l *load) error {
	defer func() {
		for _, o := range l.objects {
			s.room.Release(int64(len(o.Sealed)))
			s.r.sealer.Release(o)
		}
	}()
	lacking, err := s.lacking(l.objects)
	if err != nil {
		return fmt.Errorf("asking the server what it has: %w", err)
	}
	if len(lacking) == 0 {
		return nil
	}
	body := newBody(lacking)
	var name [16]byte
	rand.Read(name[:])
	var answer wire.PutAnswer
	err = s.r.inTurn(s.ctx, func() (err error) {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return err
		}
		answer, err = s.r.Client.Put(s.ctx, s.r.session.SessionID, hex.EncodeToString(name[:]), l.class, s.r.progress.Size.Load(), body)
		return err
	})
	if err != nil {
		return fmt.Errorf("sending a pack: %w", err)
	}
	if len(answer.Rejected) > 0 {
		bad := answer.Rejected[0]
		return errs.Of(errs.Mismatch).Because(fmt.Errorf("the server refused %d objects, %s for its %s", len(answer.Rejected), bad.ID, bad.Reason))
	}
	for _, o := range lacking {
		s.r.sent.Add(int64(len(o.Sealed)))
	}
	return nil
}

// lacking asks which objects the server does not have.
func (s *sender) lacking(objects []backup.Object) ([]backup.Object, error) {
	if !s.r.session.Known {
		return objects, nil
	}
	var lacking []backup.Object
	most := wire.MaxHave
	if n := s.r.session.Limits.HaveIDs; n > 0 {
		most = min(most, n)
	}
	for part := range slices.Chunk(objects, most) {
		ids := make([]backup.ID, len(part))
		for i := range part {
			ids[i] = part[i].Ref.ID
		}
		have, err := s.r.have(s.ctx, ids)
		if err != nil {
			return nil, err
		}
		for i := range part {
			if !have[i] {
				lacking = append(lacking, part[i])
			}
		}
	}
	return lacking, nil
}

// body reads a pack's records from the objects' own memory, as often as the put
// has to be repeated.
type body struct {
	parts [][]byte
	size  int64
	at    int64 // offset in all
	part  int   // the part at is in
	in    int   // offset in it
}

func newBody(objects []backup.Object) *body {
	b := &body{}
	heads := make([]byte, 0, len(objects)*64)
	for _, o := range objects {
		start := len(heads)
		heads = pack.AppendHead(heads, o.Kind, o.Ref.ID, len(o.Sealed))
		b.parts = append(b.parts, heads[start:], o.Sealed)
	}
	for _, p := range b.parts {
		b.size += int64(len(p))
	}
	return b
}

func (b *body) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if b.part == len(b.parts) {
			if n == 0 && len(p) > 0 {
				return 0, io.EOF
			}
			break
		}
		m := copy(p[n:], b.parts[b.part][b.in:])
		n += m
		b.in += m
		if b.in == len(b.parts[b.part]) {
			b.part, b.in = b.part+1, 0
		}
	}
	b.at += int64(n)
	return n, nil
}

// Seek goes to any place, by the way from the beginning.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 || offset > b.size {
		return b.at, fmt.Errorf("seeking to %d of %d bytes", offset, b.size)
	}
	b.at, b.part, b.in = offset, 0, int(offset)
	for b.part < len(b.parts) && b.in >= len(b.parts[b.part]) {
		b.in -= len(b.parts[b.part])
		b.part++
	}
	return offset, nil
}
