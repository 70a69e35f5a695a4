package chunk

import (
	"encoding/binary"

	"github.com/backstay/backstay/backup"
)

const bundleShift = 45

// BundleEnds reports whether a bundle ends after a file with the content hash
// and size given, when it holds length bytes with that file.
func (c *Chunker) BundleEnds(content [32]byte, size, length int) bool {
	if length < backup.MinBundle {
		return false
	}
	c.mac.Reset()
	c.mac.Write([]byte("backstay/v1/bundle-cut\x00"))
	c.mac.Write(content[:])
	v := binary.BigEndian.Uint64(c.mac.Sum(c.sum[:0]))
	return v>>bundleShift < uint64(size)
}

// BundleFull reports whether a bundle of length bytes ends before a file of
// size bytes.
func BundleFull(length, size int) bool { return length > 0 && length+size > backup.MaxChunk }

// PageEnds reports whether a page of level, whose encoding has n bytes, ends
// after the item with the path given.
func (c *Chunker) PageEnds(level uint8, path []byte, n int) bool {
	if n < backup.MinPage {
		return false
	}
	c.mac.Reset()
	c.mac.Write([]byte("backstay/v1/page-cut\x00"))
	c.mac.Write([]byte{level})
	c.mac.Write(path)
	sum := c.mac.Sum(c.sum[:0])
	return sum[len(sum)-1] == 0
}
