//go:build linux || windows

package main

import (
	"image"
	"image/color"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/mark"
)

const iconSize = 64

var dots = map[agent.Tone]color.NRGBA{
	agent.Good: {0x2f, 0xb3, 0x44, 0xff}, agent.Warn: {0xf7, 0x67, 0x07, 0xff}, agent.Bad: {0xd6, 0x39, 0x39, 0xff},
}

// draw is our mark with a dot in the colour of the tone.
func draw(tone agent.Tone) image.Image { return mark.Draw(iconSize, dots[tone]) }
