package main

import (
	"encoding/binary"

	"github.com/backstay/backstay/agent"
)

const program = "backstay.exe"

func session() error { return nil }

// icon is a file of one picture, as Windows wants it.
func icon(tone agent.Tone) []byte {
	picture := encode(tone)
	const head = 6 + 16
	b := []byte{0, 0, 1, 0, 1, 0, iconSize, iconSize, 0, 0, 1, 0, 32, 0}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(picture)))
	b = binary.LittleEndian.AppendUint32(b, head)
	return append(b, picture...)
}
