package main

import (
	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/mark"
)

const program = "backstay.exe"

func session() error { return nil }

// icon is a file of one picture, as Windows wants it.
func icon(tone agent.Tone) []byte { return mark.ICO(draw(tone)) }
