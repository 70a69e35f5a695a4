package crypt

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/backstay/backstay/backup"
)

// Profile1 is the only compression profile there is; see the package comment.
const Profile1 = 1

const (
	sampleFrom   = 64 << 10 // shorter plaintext is always tried
	samplePieces = 8
	samplePiece  = 4 << 10
	sampleLimit  = 31457 // a sample that comes out shorter promises something
)

func newEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(backup.MaxChunk),
		zstd.WithAllLitEntropyCompression(true),
		zstd.WithEncoderCRC(false),
		zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true),
	)
	if err != nil {
		panic("crypt: " + err.Error()) // options that the library refuses
	}
	return e
}

func newDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(16<<20),
		zstd.WithDecoderMaxWindow(16<<20),
		zstd.WithDecodeAllCapLimit(true),
	)
	if err != nil {
		panic("crypt: " + err.Error())
	}
	return d
}

// promising reports whether compression is worth trying, by the sample rule of
// profile 1. It looks at the plaintext alone, never at time or load.
func promising(enc *zstd.Encoder, plain, scratch []byte) bool {
	if len(plain) < sampleFrom {
		return true
	}
	scratch = scratch[:0]
	for i := range samplePieces {
		at := i * (len(plain) - samplePiece) / (samplePieces - 1)
		scratch = append(scratch, plain[at:at+samplePiece]...)
	}
	return len(enc.EncodeAll(scratch, scratch[len(scratch):])) < sampleLimit
}

// decoders are kept for all Open calls; there are as many as calls at once.
var decoders = sync.Pool{New: func() any { return newDecoder() }}

// decompress appends the n bytes that body, one zstd frame, holds.
func decompress(dec *zstd.Decoder, dst, body []byte, n int) ([]byte, error) {
	if err := oneFrame(body); err != nil {
		return dst, err
	}
	end := len(dst) + n
	out, err := dec.DecodeAll(body, dst[:len(dst):end])
	if err != nil {
		return dst, fmt.Errorf("decompressing: %w", err)
	}
	if len(out) != end {
		return dst, errors.New("decompresses to another length")
	}
	return out, nil
}

var errFrame = errors.New("is not one zstd frame")

// oneFrame checks that body is one frame to its last byte: the decoder would
// take several, and skip some, so that many encodings had the same meaning.
func oneFrame(body []byte) error {
	var h zstd.Header
	if err := h.Decode(body); err != nil || h.Skippable || h.DictionaryID != 0 {
		return errFrame
	}
	rest := body[h.HeaderSize:]
	for last := false; !last; {
		if len(rest) < 3 {
			return errFrame
		}
		head := uint32(rest[0]) | uint32(rest[1])<<8 | uint32(rest[2])<<16
		last = head&1 == 1
		size := int(head >> 3)
		if head>>1&3 == 1 { // a run: one byte, repeated
			size = 1
		}
		if size > len(rest)-3 {
			return errFrame
		}
		rest = rest[3+size:]
	}
	if h.HasCheckSum {
		if len(rest) < 4 {
			return errFrame
		}
		rest = rest[4:]
	}
	if len(rest) != 0 {
		return errFrame
	}
	return nil
}
