package crypt

import "math/bits"

// padme rounds n up so that only the upper bits of its floating-point form
// tell, an overhead of at most 12 per cent for small objects and 3 per cent at
// 1 MiB (Nikitin et al., PETS 2019). n is at least 2.
func padme(n int) int {
	e := bits.Len(uint(n)) - 1
	s := bits.Len(uint(e))
	mask := 1<<(e-s) - 1
	return (n + mask) &^ mask
}
