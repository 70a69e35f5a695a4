package upload

import (
	"context"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
)

// A partial snapshot waits for what it needs, and not for what is read meanwhile:
// on a slow line something always is.
func TestFlushEndsWhileMoreIsTaken(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s := &sender{r: &run{Config: Config{PutBytes: 100}}, ctx: ctx, packs: make(chan *load), onWay: map[*load]bool{}}
	add := func(size int) {
		if err := s.add(ctx, backup.Object{Kind: backup.Data, Sealed: make([]byte, size)}); err != nil {
			t.Error(err)
		}
	}
	add(1)
	flushed := make(chan error, 1)
	go func() { flushed <- s.flush(ctx) }()
	gathered := <-s.packs
	go add(200)
	<-s.packs // on its way, for as long as the line takes
	if len(flushed) > 0 {
		t.Error("flush did not wait for what was gathered")
	}
	s.end(gathered)
	if err := <-flushed; err != nil {
		t.Errorf("flush waits for what came after it: %v", err)
	}
}
