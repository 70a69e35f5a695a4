package crypt

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/bits"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
)

var (
	secretA = backup.Key{1}
	secretB = backup.Key{2}
	scopeA  = backup.UUID{1}
	scopeB  = backup.UUID{2}
)

func seal(t interface{ Fatal(...any) }, secret backup.Key, scope backup.UUID, kind backup.Kind, plain []byte) backup.Object {
	o, err := NewSealer(secret, scope, Profile1).Seal(kind, plain)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestSealOpen(t *testing.T) {
	t.Parallel()
	s := NewSealer(secretA, scopeA, Profile1)
	for _, n := range []int{0, 1, 2, 100, 4096, 65535, 65536, 1 << 20, 4<<20 + 3} {
		for name, plain := range map[string][]byte{"zeros": make([]byte, n), "noise": noise(uint64(n), n), "text": text(n)} {
			o, err := s.Seal(backup.Data, plain)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Open([]byte("before"), scopeA, backup.Data, o.Ref, o.Sealed)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, append([]byte("before"), plain...)) {
				t.Errorf("%d bytes of %s: opened to something else", n, name)
			}
			if len(o.Sealed) > backup.MaxSealed || o.Ref.Len != uint32(n) || o.Ref.ID != sha256.Sum256(o.Sealed) {
				t.Errorf("%d bytes of %s: object %v of %d bytes", n, name, o.Ref.ID, len(o.Sealed))
			}
		}
	}
}

func TestSealRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		profile uint8
		kind    backup.Kind
		size    int
	}{
		{"unknown profile", 2, backup.Data, 1},
		{"no kind", Profile1, backup.Missing, 1},
		{"unknown kind", Profile1, 5, 1},
		{"too long", Profile1, backup.Data, backup.MaxPlain + 1},
	}
	for _, tt := range tests {
		if _, err := NewSealer(secretA, scopeA, tt.profile).Seal(tt.kind, make([]byte, tt.size)); err == nil {
			t.Errorf("%s: sealed", tt.name)
		}
	}
	// The longest plaintext fits only when it compresses: its padding is wide.
	s := NewSealer(secretA, scopeA, Profile1)
	if _, err := s.Seal(backup.Page, make([]byte, backup.MaxPlain)); err != nil {
		t.Errorf("8 MiB of zeros: %v", err)
	}
	if _, err := s.Seal(backup.Page, noise(1, backup.MaxPlain)); err == nil {
		t.Error("8 MiB of noise were sealed into more than the limit")
	}
}

// C-02: the same input gives the same object, whatever was sealed before and
// whoever does it at the same time.
func TestSealIsDeterministic(t *testing.T) {
	t.Parallel()
	inputs := [][]byte{text(1), text(5000), text(200 << 10), text(1 << 20), noise(1, 100_000), make([]byte, 3<<20)}
	var want []backup.Ref
	for _, plain := range inputs {
		want = append(want, seal(t, secretA, scopeA, backup.Data, plain).Ref)
	}
	s := NewSealer(secretA, scopeA, Profile1)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for round := range 30 {
				i := (worker*7 + round*5) % len(inputs)
				o, err := s.Seal(backup.Data, inputs[i])
				if err != nil {
					t.Error(err)
					return
				}
				if o.Ref != want[i] {
					t.Errorf("input %d sealed to %v, and alone to %v", i, o.Ref.ID, want[i].ID)
				}
				s.Release(o)
			}
		})
	}
	wg.Wait()
}

// C-02: whatever changes the bytes that are encrypted, or what they are bound
// to, changes the key.
func TestKeysAreUnique(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 1, 3000).Draw(t, "plain")
		kind := backup.Kind(rapid.IntRange(1, 4).Draw(t, "kind"))
		o := seal(t, secretA, scopeA, kind, plain)
		if again := seal(t, secretA, scopeA, kind, plain); again.Ref != o.Ref {
			t.Fatal("the same input gave another object")
		}
		other := bytes.Clone(plain)
		i := rapid.IntRange(0, len(plain)-1).Draw(t, "at")
		other[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		for name, x := range map[string]backup.Object{
			"secret": seal(t, secretB, scopeA, kind, plain),
			"scope":  seal(t, secretA, scopeB, kind, plain),
			"kind":   seal(t, secretA, scopeA, kind%4+1, plain),
			"bytes":  seal(t, secretA, scopeA, kind, other),
			"length": seal(t, secretA, scopeA, kind, append(bytes.Clone(plain), 0)),
		} {
			if x.Ref.Key == o.Ref.Key || x.Ref.ID == o.Ref.ID {
				t.Fatalf("another %s gave the same key or id", name)
			}
		}
	})
}

// C-03, the two-time pad: a key never belongs to two ciphertexts, also when the
// compressor changes its mind about the same plaintext.
func TestNoKeyIsUsedTwice(t *testing.T) {
	t.Parallel()
	levels := []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression, zstd.SpeedBestCompression}
	seen := map[backup.Key]backup.ID{}
	n := 0
	for _, level := range levels {
		s := NewSealer(secretA, scopeA, Profile1)
		w := s.worker()
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
		if err != nil {
			t.Fatal(err)
		}
		w.enc = enc
		for i := range 2500 {
			o, err := w.seal(scopeA, backup.Data, text(200+i%1250))
			if err != nil {
				t.Fatal(err)
			}
			if id, ok := seen[o.Ref.Key]; ok && id != o.Ref.ID {
				t.Fatalf("level %v: a key has two ciphertexts", level)
			}
			seen[o.Ref.Key] = o.Ref.ID
			n++
		}
	}
	if len(seen) < 2000 || len(seen) == n {
		t.Errorf("%d keys of %d objects: the levels do not differ, or nothing was sealed twice", len(seen), n)
	}
}

// C-07: an object opens only as what it was sealed as, for whom it was sealed.
func TestOpenChecksEverything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		kind := backup.Kind(rapid.IntRange(1, 4).Draw(t, "kind"))
		plain := text(rapid.IntRange(0, 5000).Draw(t, "size"))
		o := seal(t, secretA, scopeA, kind, plain)
		ref := o.Ref
		tests := map[string]func() ([]byte, error){
			"kind":  func() ([]byte, error) { return Open(nil, scopeA, kind%4+1, ref, o.Sealed) },
			"scope": func() ([]byte, error) { return Open(nil, scopeB, kind, ref, o.Sealed) },
			"key": func() ([]byte, error) {
				r := ref
				r.Key[31] ^= 1
				return Open(nil, scopeA, kind, r, o.Sealed)
			},
			"id": func() ([]byte, error) {
				r := ref
				r.ID[0] ^= 1
				return Open(nil, scopeA, kind, r, o.Sealed)
			},
			"longer ref": func() ([]byte, error) {
				r := ref
				r.Len++
				return Open(nil, scopeA, kind, r, o.Sealed)
			},
			"shorter": func() ([]byte, error) { return Open(nil, scopeA, kind, ref, o.Sealed[:len(o.Sealed)-1]) },
			"bit": func() ([]byte, error) {
				b := bytes.Clone(o.Sealed)
				b[rapid.IntRange(0, len(b)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				return Open(nil, scopeA, kind, ref, b)
			},
			// The same with an id that fits: only the key can tell.
			"forged bit": func() ([]byte, error) {
				b := bytes.Clone(o.Sealed)
				b[rapid.IntRange(0, len(b)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				r := ref
				r.ID = sha256.Sum256(b)
				return Open(nil, scopeA, kind, r, b)
			},
		}
		for name, open := range tests {
			if got, err := open(); !errs.Is(err, errs.Mismatch) || len(got) != 0 {
				t.Fatalf("%s: opened to %d bytes, %v", name, len(got), err)
			}
		}
	})
}

// forge seals an encoding of the test's choice, as a hostile writer could.
func forge(encoded []byte, n int) backup.Object {
	s := NewSealer(secretA, scopeA, Profile1)
	w := s.worker()
	w.encoded = encoded
	var o backup.Object
	o.Kind = backup.Data
	o.Ref.Len = uint32(n)
	o.Ref.Key = w.key(scopeA, backup.Data)
	aad := objectAAD(scopeA, backup.Data)
	o.Sealed = objectGCM(o.Ref.Key).Seal(nil, zeroNonce[:], encoded, aad[:])
	o.Ref.ID = sha256.Sum256(o.Sealed)
	return o
}

func pad(b []byte) []byte {
	b = append(bytes.Clone(b), marker)
	return append(b, make([]byte, padme(len(b))-len(b))...)
}

func head(comp byte, n int) []byte { return []byte{comp, byte(n >> 16), byte(n >> 8), byte(n)} }

// There is one encoding for each value; all others are refused, though key and
// id are right.
func TestOpenRefusesOtherEncodings(t *testing.T) {
	t.Parallel()
	enc := newEncoder()
	frame := enc.EncodeAll(text(1000), nil)
	bomb := enc.EncodeAll(make([]byte, 4<<20), nil)
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}, frame...)
	tests := []struct {
		name    string
		encoded []byte
		n       int
		ok      bool
	}{
		{"stored", pad(append(head(0, 3), "abc"...)), 3, true},
		{"zstd", pad(append(head(1, 1000), frame...)), 1000, true},
		{"stored, another length", pad(append(head(0, 3), "abcd"...)), 3, false},
		{"stored, head lies", pad(append(head(0, 4), "abc"...)), 3, false},
		{"unknown comp", pad(append(head(2, 3), "abc"...)), 3, false},
		{"no padding", append(append(head(0, 300), text(300)...), marker), 300, false},
		{"more padding", append(pad(append(head(0, 300), text(300)...)), 0), 300, false},
		{"no marker", make([]byte, 64), 0, false},
		{"marker alone", []byte{marker, 0, 0, 0, 0, 0}, 0, false},
		{"garbage in the padding", append(pad(append(head(0, 300), text(300)...))[:318], 1, 0), 300, false},
		{"zstd, ref says more", pad(append(head(1, 1001), frame...)), 1001, false},
		{"zstd, ref says less", pad(append(head(1, 999), frame...)), 999, false},
		{"two frames", pad(append(head(1, 2000), append(bytes.Clone(frame), frame...)...)), 2000, false},
		{"a frame to skip", pad(append(head(1, 1000), skippable...)), 1000, false},
		{"rest after the frame", pad(append(head(1, 1000), append(bytes.Clone(frame), 7)...)), 1000, false},
		{"cut frame", pad(append(head(1, 1000), frame[:len(frame)-1]...)), 1000, false},
		{"no frame", pad(head(1, 0)), 0, false},
		{"bomb", pad(append(head(1, 100), bomb...)), 100, false},
	}
	for _, tt := range tests {
		o := forge(tt.encoded, tt.n)
		got, err := Open(nil, scopeA, backup.Data, o.Ref, o.Sealed)
		if tt.ok && (err != nil || len(got) != tt.n) {
			t.Errorf("%s: %d bytes and %v, want it opened", tt.name, len(got), err)
		}
		if !tt.ok && !errs.Is(err, errs.Mismatch) {
			t.Errorf("%s: %d bytes and %v, want E1506", tt.name, len(got), err)
		}
	}
}

// Other writers' frames are read, whatever their level, window or checksum.
func TestOpenTakesAnyFrame(t *testing.T) {
	t.Parallel()
	plain := text(3 << 20)
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBestCompression} {
		for _, crc := range []bool{false, true} {
			for _, single := range []bool{false, true} {
				enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderCRC(crc), zstd.WithSingleSegment(single), zstd.WithWindowSize(8<<20))
				if err != nil {
					t.Fatal(err)
				}
				o := forge(pad(enc.EncodeAll(plain, head(1, len(plain)))), len(plain))
				if got, err := Open(nil, scopeA, backup.Data, o.Ref, o.Sealed); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%v, checksum %v, single %v: %v", level, crc, single, err)
				}
			}
		}
	}
}

// R8: what the compressor or the memory spoilt does not leave.
func TestSealNoticesFaults(t *testing.T) {
	t.Parallel()
	s := NewSealer(secretA, scopeA, Profile1)
	w := s.worker()
	plain := text(100_000)
	o, err := w.seal(scopeA, backup.Data, plain)
	if err != nil {
		t.Fatal(err)
	}
	aad := objectAAD(scopeA, backup.Data)
	aead := objectGCM(o.Ref.Key)
	if err := w.verify(aead, aad[:], o, plain); err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(plain)
	other[50_000] ^= 1
	if err := w.verify(aead, aad[:], o, other); err == nil {
		t.Error("the compressor changed a byte, and nobody noticed")
	}
	o.Sealed[1000] ^= 1
	if err := w.verify(aead, aad[:], o, plain); err == nil {
		t.Error("a sealed byte changed, and nobody noticed")
	}
}

// The output of profile 1 is part of the format: the same bytes must give the
// same ids for years. When this test fails after an upgrade of the compressor,
// the new output becomes profile 2.
func TestProfile1Golden(t *testing.T) {
	t.Parallel()
	h := sha256.New()
	enc := newEncoder()
	for _, plain := range [][]byte{
		text(1), text(255), text(256), text(1000), text(65535), text(65536), text(65537), text(200_000), text(1 << 20), text(4 << 20),
		make([]byte, 100), make([]byte, 1<<20), noise(1, 1000), noise(2, 100_000),
		append(noise(3, 300_000), text(300_000)...), append(text(10_000), noise(4, 500_000)...),
		bytes.Repeat(noise(5, 70_000), 20),
	} {
		w := &worker{enc: enc}
		w.encode(plain)
		fmt.Fprintf(h, "%d ", len(w.encoded))
		h.Write(w.encoded)
	}
	const want = "cde3796b71bc6d385e326d97eb51f4ef78c336d9f18f4eae522caf977ab14ad0"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("the encodings hash to %s, want %s", got, want)
	}
}

func TestSampleRule(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		plain []byte
		want  bool
	}{
		{"short noise", noise(1, sampleFrom-1), true},
		{"noise", noise(1, sampleFrom), false},
		{"text", text(sampleFrom), true},
		{"noise with a compressible end", append(noise(1, 1<<20), make([]byte, 1<<18)...), true},
		// The price of a sample: what it does not see.
		{"a little text between", append(append(noise(1, 300_000), text(4000)...), noise(2, 700_000)...), false},
	}
	for _, tt := range tests {
		enc := newEncoder()
		if got := promising(enc, tt.plain, nil); got != tt.want {
			t.Errorf("%s: promising = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestPadme(t *testing.T) {
	t.Parallel()
	for n := 2; n < 5<<20; n += 1 + n/1000 {
		e := bits.Len(uint(n)) - 1
		s := 0
		for x := e; x > 0; x >>= 1 {
			s++
		}
		want := n
		for want%(1<<max(0, e-s)) != 0 {
			want++
		}
		got := padme(n)
		if got != want || padme(got) != got || float64(got-n) > 0.12*float64(n) {
			t.Fatalf("padme(%d) = %d, want %d", n, got, want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	enc := newEncoder()
	for _, b := range [][]byte{head(0, 0), append(head(0, 3), "abc"...), enc.EncodeAll(text(5000), head(1, 5000))} {
		f.Add(pad(b), uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3]))
	}
	f.Add([]byte{1, 0, 0, 0, 0x28, 0xb5, 0x2f, 0xfd, marker}, uint32(0))
	f.Fuzz(func(t *testing.T, encoded []byte, n uint32) {
		if len(encoded) > backup.MaxSealed-tagSize || n > backup.MaxPlain {
			return
		}
		o := forge(encoded, int(n))
		plain, err := Open(nil, scopeA, backup.Data, o.Ref, o.Sealed)
		if err != nil && !errs.Is(err, errs.Mismatch) {
			t.Fatalf("%v, want E1506", err)
		}
		if err == nil && len(plain) != int(n) {
			t.Fatalf("opened to %d bytes, want %d", len(plain), n)
		}
	})
}
