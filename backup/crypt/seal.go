package crypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math/bits"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/backstay/backstay/backup"
)

// The encodings of format.md section 4, field comp.
const (
	compStored = 0
	compZstd   = 1
)

const (
	headSize = 4 // comp, plain_len
	keyLabel = "backstay/v1/chunk-key\x00"
	encLabel = "backstay/v1/chunk-enc"
	marker   = 0x80
)

// zeroNonce goes with keys that only ever see one message.
var zeroNonce [12]byte

// Sealer makes objects under one secret. It is safe for concurrent use, and
// holds about 16 MiB for each Seal call that runs at once.
type Sealer struct {
	secret  backup.Key
	scope   backup.UUID
	profile uint8

	mu   sync.Mutex
	idle []*worker
}

// NewSealer returns a Sealer for the scope and its secret S.
func NewSealer(secret backup.Key, scope backup.UUID, profile uint8) *Sealer {
	return &Sealer{secret: secret, scope: scope, profile: profile}
}

// Seal encodes plain, makes its key from the encoding, and encrypts it. Before
// it answers it opens the object again and compares every byte (R8): a fault
// of the compressor or of this computer's memory ends here, not in the vault.
// The same plaintext always gives the same object. plain is not kept.
func (s *Sealer) Seal(kind backup.Kind, plain []byte) (backup.Object, error) {
	if s.profile != Profile1 {
		return backup.Object{}, fmt.Errorf("sealing: profile %d is not known", s.profile)
	}
	if !kind.Valid() || len(plain) > backup.MaxPlain {
		return backup.Object{}, fmt.Errorf("sealing: %d bytes of kind %d are no object", len(plain), kind)
	}
	w := s.worker()
	defer s.done(w)
	o, err := w.seal(s.scope, kind, plain)
	if err != nil {
		return backup.Object{}, fmt.Errorf("sealing: %w", err)
	}
	return o, nil
}

// Release gives back the memory of an object from Seal, which is then gone. It
// need not be called.
func (s *Sealer) Release(o backup.Object) { putBuffer(o.Sealed) }

func (s *Sealer) worker() *worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.idle); n > 0 {
		w := s.idle[n-1]
		s.idle = s.idle[:n-1]
		return w
	}
	return &worker{enc: newEncoder(), dec: newDecoder(), mac: hmac.New(sha256.New, s.secret[:])}
}

func (s *Sealer) done(w *worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = append(s.idle, w)
}

// worker is what one Seal call needs, kept for the next.
type worker struct {
	enc     *zstd.Encoder
	dec     *zstd.Decoder
	mac     hash.Hash // HMAC under S
	encoded []byte
	back    []byte // what opening again gives
}

func (w *worker) seal(scope backup.UUID, kind backup.Kind, plain []byte) (backup.Object, error) {
	w.encode(plain)
	if len(w.encoded)+tagSize > backup.MaxSealed {
		return backup.Object{}, fmt.Errorf("%d bytes do not fit into an object", len(plain))
	}
	var o backup.Object
	o.Kind = kind
	o.Ref.Len = uint32(len(plain))
	o.Ref.Key = w.key(scope, kind)
	aead := objectGCM(o.Ref.Key)
	aad := objectAAD(scope, kind)
	o.Sealed = aead.Seal(getBuffer(len(w.encoded)+tagSize), zeroNonce[:], w.encoded, aad[:])
	o.Ref.ID = sha256.Sum256(o.Sealed)
	if err := w.verify(aead, aad[:], o, plain); err != nil {
		putBuffer(o.Sealed)
		return backup.Object{}, err
	}
	return o, nil
}

// encode fills w.encoded.
func (w *worker) encode(plain []byte) {
	if w.encoded == nil {
		w.encoded = make([]byte, 0, 2*samplePieces*samplePiece+4096)
	}
	head := [headSize]byte{compStored, byte(len(plain) >> 16), byte(len(plain) >> 8), byte(len(plain))}
	e := w.encoded[:0]
	if len(plain) > 0 && promising(w.enc, plain, e) {
		e = w.enc.EncodeAll(plain, append(e, head[:]...))
	}
	if n := len(e) - headSize; n > 0 && n < len(plain) {
		e[0] = compZstd
	} else {
		e = append(append(e[:0], head[:]...), plain...)
	}
	e = append(e, marker)
	n := len(e)
	e = slices.Grow(e, padme(n)-n)[:padme(n)]
	clear(e[n:])
	w.encoded = e
}

// key makes the object's key from the bytes that will be encrypted.
func (w *worker) key(scope backup.UUID, kind backup.Kind) (k backup.Key) {
	w.mac.Reset()
	aad := objectAAD(scope, kind)
	prefix := make([]byte, 0, len(keyLabel)+len(aad)+8)
	prefix = append(prefix, keyLabel...)
	prefix = append(prefix, aad[:]...)
	prefix = binary.BigEndian.AppendUint64(prefix, uint64(len(w.encoded)))
	w.mac.Write(prefix)
	w.mac.Write(w.encoded)
	w.mac.Sum(k[:0])
	return k
}

// verify opens o again from its sealed bytes. Its id is not computed twice:
// whoever stores the object does that.
func (w *worker) verify(aead cipher.AEAD, aad []byte, o backup.Object, plain []byte) error {
	encoded, err := aead.Open(w.encoded[:0], zeroNonce[:], o.Sealed, aad)
	if err != nil {
		return fmt.Errorf("opening again what was just sealed: %w", err)
	}
	w.encoded = encoded
	body, comp, err := strip(encoded, o.Ref.Len)
	if err != nil {
		return fmt.Errorf("opening again what was just sealed: %w", err)
	}
	if comp == compZstd {
		w.back = grow(w.back[:0], len(plain))
		if w.back, err = decompress(w.dec, w.back, body, len(plain)); err != nil {
			return fmt.Errorf("opening again what was just sealed: %w", err)
		}
		body = w.back
	}
	if !bytes.Equal(body, plain) {
		return errors.New("what was sealed opens to something else: memory or the compressor is faulty")
	}
	return nil
}

// Open appends to dst the plaintext of the object that ref names, sealed as
// kind in scope. It checks everything: id, key, kind, scope, padding, length.
// Any failure is E1506, and dst is then returned as it was. It is safe for
// concurrent use.
func Open(dst []byte, scope backup.UUID, kind backup.Kind, ref backup.Ref, sealed []byte) ([]byte, error) {
	if len(sealed) > backup.MaxSealed || len(sealed) < headSize+1+tagSize || ref.Len > backup.MaxPlain {
		return dst, mismatch("object", errors.New("length over its limits"))
	}
	if sha256.Sum256(sealed) != ref.ID {
		return dst, mismatch("object", errors.New("the bytes are not those of its id"))
	}
	aad := objectAAD(scope, kind)
	scratch := getBuffer(len(sealed))
	encoded, err := objectGCM(ref.Key).Open(scratch, zeroNonce[:], sealed, aad[:])
	if err != nil {
		putBuffer(scratch)
		return dst, mismatch("object", err)
	}
	defer putBuffer(encoded)
	body, comp, err := strip(encoded, ref.Len)
	if err != nil {
		return dst, mismatch("object", err)
	}
	if comp == compStored {
		return append(dst, body...), nil
	}
	dec := decoders.Get().(*zstd.Decoder)
	defer decoders.Put(dec)
	out, err := decompress(dec, grow(dst, int(ref.Len)), body, int(ref.Len))
	if err != nil {
		return dst, mismatch("object", err)
	}
	return out, nil
}

// strip takes padding and head off an encoding whose plaintext has n bytes,
// and checks them.
func strip(encoded []byte, n uint32) (body []byte, comp byte, err error) {
	end := len(encoded)
	for end > 0 && encoded[end-1] == 0 {
		end--
	}
	if end <= headSize || encoded[end-1] != marker || len(encoded) != padme(end) {
		return nil, 0, errors.New("wrong padding")
	}
	comp, body = encoded[0], encoded[headSize:end-1]
	if got := uint32(encoded[1])<<16 | uint32(encoded[2])<<8 | uint32(encoded[3]); got != n {
		return nil, 0, errors.New("another length than its ref says")
	}
	if comp > compZstd || comp == compStored && len(body) != int(n) {
		return nil, 0, errors.New("unknown encoding")
	}
	return body, comp, nil
}

func objectAAD(scope backup.UUID, kind backup.Kind) (aad [18]byte) {
	aad[0], aad[1] = backup.Suite, byte(kind)
	copy(aad[2:], scope[:])
	return aad
}

func objectGCM(k backup.Key) cipher.AEAD { return newGCM(Expand(k[:], encLabel, 32)) }

func newGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("crypt: " + err.Error()) // the key is always 32 bytes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("crypt: " + err.Error())
	}
	return aead
}

func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return append(make([]byte, 0, len(b)+n), b...)
}

// Buffers are kept by the power of two of their capacity. Small ones are not
// worth keeping.
const (
	minBuffer = 16
	maxBuffer = 24
)

var buffers [maxBuffer + 1]sync.Pool

// getBuffer returns an empty buffer with room for n bytes.
func getBuffer(n int) []byte {
	class := max(bits.Len(uint(n-1)), minBuffer)
	if class > maxBuffer || n < 1<<minBuffer/2 {
		return make([]byte, 0, n)
	}
	if b, ok := buffers[class].Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, 1<<class)
}

func putBuffer(b []byte) {
	class := bits.Len(uint(cap(b))) - 1
	if class < minBuffer || class > maxBuffer {
		return
	}
	b = b[:0]
	buffers[class].Put(&b)
}
