// Package mark draws our mark where no SVG is shown: beside the clock, and among
// the programs of Windows.
package mark

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"math"
)

// fine is how many points are looked at in each direction of a pixel.
const fine = 4

var (
	teal  = color.NRGBA{0x0b, 0x6e, 0x7f, 0xff}
	light = color.NRGBA{0x8f, 0xe3, 0xee, 0xff}
	white = color.NRGBA{0xff, 0xff, 0xff, 0xff}
)

// Draw is our mark, size pixels wide and high, with a dot in its corner unless
// that has no colour.
func Draw(size int, dot color.NRGBA) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, size, size))
	for y := range size {
		for x := range size {
			var r, g, b, a int
			for n := range fine * fine {
				at := point{(float64(x) + (float64(n%fine)+.5)/fine) * 32 / float64(size), (float64(y) + (float64(n/fine)+.5)/fine) * 32 / float64(size)}
				if c := colour(at, dot); c.A > 0 {
					r, g, b, a = r+int(c.R), g+int(c.G), b+int(c.B), a+1
				}
			}
			if a > 0 {
				img.SetNRGBA(x, y, color.NRGBA{uint8(r / a), uint8(g / a), uint8(b / a), uint8(a * 255 / (fine * fine))})
			}
		}
	}
	return img
}

// PNG is a picture as a file.
func PNG(picture image.Image) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		panic(err) // memory takes everything
	}
	return b.Bytes()
}

// ICO is pictures of at most 256 pixels as Windows wants them, in one file.
func ICO(pictures ...image.Image) []byte {
	const head, entry = 6, 16
	list := binary.LittleEndian.AppendUint16([]byte{0, 0, 1, 0}, uint16(len(pictures)))
	var data []byte
	for _, p := range pictures {
		file := PNG(p)
		list = append(list, byte(p.Bounds().Dx()), byte(p.Bounds().Dy()), 0, 0, 1, 0, 32, 0) // 256 is 0
		list = binary.LittleEndian.AppendUint32(list, uint32(len(file)))
		list = binary.LittleEndian.AppendUint32(list, uint32(head+entry*len(pictures)+len(data)))
		data = append(data, file...)
	}
	return append(list, data...)
}

type point struct{ x, y float64 }

// colour is what is at a point of the mark, which is 32 wide and high.
func colour(p point, dot color.NRGBA) color.NRGBA {
	switch from := math.Hypot(p.x-25, p.y-25); {
	case dot.A == 0:
	case from < 6:
		return dot
	case from < 8: // it stands off from the mark
		return color.NRGBA{}
	}
	switch {
	case within(p, point{13, 9}, point{7, 19}, point{13, 19}), within(p, point{6, 21}, point{26, 21}, point{20, 27}, point{11, 27}):
		return white
	case within(p, point{15, 6}, point{24.5, 19}, point{15, 19}):
		return light
	case math.Hypot(max(8-p.x, p.x-24, 0), max(8-p.y, p.y-24, 0)) < 8:
		return teal
	}
	return color.NRGBA{}
}

// within reports whether p lies in the polygon.
func within(p point, corners ...point) (in bool) {
	for i, a := range corners {
		b := corners[(i+1)%len(corners)]
		if (a.y > p.y) != (b.y > p.y) && p.x < a.x+(p.y-a.y)*(b.x-a.x)/(b.y-a.y) {
			in = !in
		}
	}
	return in
}
