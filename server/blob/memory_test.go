package blob_test

import (
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/blob"
	"github.com/backstay/backstay/server/blob/blobtest"
)

func TestMemory(t *testing.T) {
	blobtest.Conformance(t, func(*testing.T) blob.Store { return new(blob.Memory) })
}

func TestMemoryFull(t *testing.T) {
	s := &blob.Memory{Capacity: 10}
	if err := blob.Write(t.Context(), s, "a", make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := blob.Write(t.Context(), s, "a", make([]byte, 9)); err != nil {
		t.Errorf("replacing a blob: %v", err)
	}
	if err := blob.Write(t.Context(), s, "b", make([]byte, 2)); !errs.Is(err, errs.StorageFull) {
		t.Errorf("Put = %v, want E1601", err)
	}
}
