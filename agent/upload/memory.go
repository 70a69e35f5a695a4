package upload

import (
	"math"
	"runtime/debug"
)

// A backup's memory is mostly buffers of a fixed number; left alone, Go's
// collector lets as much garbage gather beside them: 210 MB where 105 do at no
// measurable cost. What grows is a table entry or two for each object.
const (
	memoryBase      = 120 << 20
	memoryPerObject = 512
	memoryStep      = 1 << 16 // objects after which the limit is raised
)

// limitMemory holds the process to what a backup of so many objects needs, by
// collecting garbage earlier. It is no hard limit. One that is set from outside
// (GOMEMLIMIT) stays. The function returned ends it.
func limitMemory(objects int) (end func()) {
	before := debug.SetMemoryLimit(-1)
	if before < memoryBase {
		return func() {}
	}
	debug.SetMemoryLimit(memoryBase + int64(objects)*memoryPerObject)
	return func() { debug.SetMemoryLimit(before) }
}

// raiseMemory makes room for n more objects.
func raiseMemory(n int) {
	if now := debug.SetMemoryLimit(-1); now >= memoryBase && now < math.MaxInt64 {
		debug.SetMemoryLimit(now + int64(n)*memoryPerObject)
	}
}
