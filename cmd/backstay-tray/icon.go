//go:build linux || windows

package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"

	"github.com/backstay/backstay/agent"
)

const (
	iconSize = 64
	fine     = 4 // points that are looked at in each direction of a pixel
)

var (
	teal  = color.NRGBA{0x0b, 0x6e, 0x7f, 0xff}
	light = color.NRGBA{0x8f, 0xe3, 0xee, 0xff}
	white = color.NRGBA{0xff, 0xff, 0xff, 0xff}

	dots = map[agent.Tone]color.NRGBA{
		agent.Good: {0x2f, 0xb3, 0x44, 0xff}, agent.Warn: {0xf7, 0x67, 0x07, 0xff}, agent.Bad: {0xd6, 0x39, 0x39, 0xff},
	}
)

type point struct{ x, y float64 }

// draw is our mark with a dot in the colour of the tone.
func draw(tone agent.Tone) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, iconSize, iconSize))
	for y := range iconSize {
		for x := range iconSize {
			var r, g, b, a int
			for n := range fine * fine {
				at := point{(float64(x) + (float64(n%fine)+.5)/fine) * 32 / iconSize, (float64(y) + (float64(n/fine)+.5)/fine) * 32 / iconSize}
				if c := colour(at, dots[tone]); c.A > 0 {
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

// colour is what is at a point of the mark, which is 32 wide and high.
func colour(p point, dot color.NRGBA) color.NRGBA {
	switch from := math.Hypot(p.x-25, p.y-25); {
	case from < 6:
		return dot
	case from < 8: // it stands off from the mark
		return color.NRGBA{}
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

func encode(tone agent.Tone) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, draw(tone)); err != nil {
		panic(err) // memory takes everything
	}
	return b.Bytes()
}
