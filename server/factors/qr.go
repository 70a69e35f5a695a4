package factors

import (
	"fmt"
	"image"
	"strings"

	"github.com/pquerna/otp"
)

// QR is a QR code as an SVG draws it: a square of Size units with a margin, in
// which Path is what is dark. Our pages allow no images but those with an
// address of their own, and this is to have none: it holds a secret.
type QR struct {
	Size int
	Path string
}

const (
	smallestQR = 21 // modules of version 1
	largestQR  = 177
	quiet      = 4 // modules of margin that readers need
)

func drawQR(key *otp.Key) (QR, error) {
	// The picture cannot be smaller than one pixel for each module: the first
	// size that works is the code itself.
	for n := smallestQR; n <= largestQR; n += 4 {
		if img, err := key.Image(n, n); err == nil {
			return QR{Size: n + 2*quiet, Path: path(img)}, nil
		}
	}
	return QR{}, fmt.Errorf("drawing a QR code: the text is too long")
}

// path draws each run of dark modules in a row as one line of height 1.
func path(img image.Image) string {
	var b strings.Builder
	bounds := img.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			begin := x
			for x < bounds.Max.X && dark(img, x, y) {
				x++
			}
			if x > begin {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", begin+quiet, y+quiet, x-begin, x-begin)
			}
		}
	}
	return b.String()
}

func dark(img image.Image, x, y int) bool {
	r, _, _, _ := img.At(x, y).RGBA()
	return r < 0x8000
}
