package upload

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
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
	onWay   map[*load]bool     // packs that are not acknowledged
	err     error              // the first failure
}

var _ archive.Sink = (*sender)(nil)

// load is a pack on its way to the server.
type load struct {
	class   backup.Class
	objects []backup.Object
	bytes   int
	over    chan struct{} // closed when it is sent, or never will be
}

func newSender(ctx context.Context, r *run) *sender {
	s := &sender{
		// Both packs that are being filled, and one object more, leave room for
		// a pack on its way.
		r: r, room: semaphore.NewWeighted(int64(2*r.PutBytes + backup.MaxSealed)),
		packs: make(chan *load), taken: map[backup.ID]bool{}, onWay: map[*load]bool{},
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
		s.filling[class] = &load{class: class, over: make(chan struct{})}
	}
	l := s.filling[class]
	l.objects = append(l.objects, o)
	l.bytes += len(o.Sealed)
	full := l.bytes >= s.limit(class) || len(l.objects) >= wire.MaxHave
	if full {
		s.filling[class] = nil
		s.onWay[l] = true
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
		s.end(l)
		return context.Cause(ctx)
	case <-s.ctx.Done():
		s.end(l)
		return context.Cause(s.ctx)
	}
}

// end says that a pack is not on its way any more.
func (s *sender) end(l *load) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.onWay, l)
	close(l.over)
}

// flush sends what is gathered, and returns when the server has acknowledged
// everything that Put had taken when flush began. What Put takes meanwhile is not
// waited for: on a slow line there would be no end.
func (s *sender) flush(ctx context.Context) error {
	s.mu.Lock()
	var gathered []*load
	for _, class := range []backup.Class{backup.ClassData, backup.ClassMetadata} {
		if l := s.filling[class]; l != nil {
			s.filling[class], s.onWay[l] = nil, true
			gathered = append(gathered, l)
		}
	}
	waiting := slices.Collect(maps.Keys(s.onWay))
	s.mu.Unlock()
	for _, l := range gathered {
		if err := s.dispatch(ctx, l); err != nil {
			return err
		}
	}
	for _, l := range waiting {
		select {
		case <-l.over:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
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
			s.end(l)
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
	answer, err := s.put(l.class, lacking)
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

// errArrived says that a put need not be repeated: all of it has arrived.
var errArrived = errors.New("all of the put has arrived")

// put sends objects. After a connection that was cut it goes on behind what has
// arrived.
func (s *sender) put(class backup.Class, objects []backup.Object) (answer wire.PutAnswer, err error) {
	var random [16]byte
	rand.Read(random[:])
	name := hex.EncodeToString(random[:])
	body := func() (io.Reader, int64) { return records(objects) }
	again := func(ctx context.Context) (err error) {
		all := len(objects)
		objects, err = s.without(objects, func(ids []backup.ID) ([]bool, error) {
			return s.r.Client.Arrived(ctx, s.r.session.SessionID, name, ids)
		})
		if err != nil {
			return fmt.Errorf("asking the server what has arrived: %w", err)
		}
		s.r.Log.Info("a put was cut off", "objects", all, "left", len(objects))
		if len(objects) == 0 {
			return errArrived
		}
		return nil
	}
	err = s.r.inTurn(s.ctx, func() (err error) {
		answer, err = s.r.Client.Put(s.ctx, s.r.session.SessionID, name, class, s.r.progress.Size.Load(), body, again)
		return err
	})
	if errors.Is(err, errArrived) {
		err = nil
	}
	return answer, err
}

// lacking asks which objects the server does not have.
func (s *sender) lacking(objects []backup.Object) ([]backup.Object, error) {
	if !s.r.session.Known {
		return objects, nil
	}
	return s.without(objects, func(ids []backup.ID) ([]bool, error) { return s.r.have(s.ctx, ids) })
}

// without is objects without those that the server has, as ask finds out.
func (s *sender) without(objects []backup.Object, ask func([]backup.ID) ([]bool, error)) ([]backup.Object, error) {
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
		have, err := ask(ids)
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

// records are objects as a put has them, in the objects' own memory, and how many
// bytes they are.
func records(objects []backup.Object) (io.Reader, int64) {
	var parts net.Buffers
	size := 0
	heads := make([]byte, 0, len(objects)*pack.RecordHead)
	for _, o := range objects {
		start := len(heads)
		heads = pack.AppendHead(heads, o.Kind, o.Ref.ID, len(o.Sealed))
		parts = append(parts, heads[start:], o.Sealed)
		size += pack.RecordHead + len(o.Sealed)
	}
	return &parts, int64(size)
}
