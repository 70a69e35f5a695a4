package crypt

import (
	"bytes"
	"testing"

	"github.com/backstay/backstay/backup"
)

func TestSealOpen(t *testing.T) {
	t.Parallel()
	s := NewSealer(backup.Key{1}, backup.UUID{2}, Profile1)
	for _, n := range []int{0, 1, 2, 100, 4096, 65535, 65536, 1 << 20, 4<<20 + 3} {
		for name, plain := range map[string][]byte{"zeros": make([]byte, n), "noise": noise(uint64(n), n), "text": text(n)} {
			o, err := s.Seal(backup.Data, plain)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Open([]byte("before"), backup.UUID{2}, backup.Data, o.Ref, o.Sealed)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, append([]byte("before"), plain...)) {
				t.Errorf("%d bytes of %s: opened to something else", n, name)
			}
		}
	}
}
