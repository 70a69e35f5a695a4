// Package acl says who gets into a folder on Windows: it makes folders that are
// closed to all but the system, the administrators and one owner, and finds out
// who else gets into one that is there.
package acl

import "slices"

// Those whom no folder can be closed to, since they can open it again.
const (
	System         = "S-1-5-18"
	Administrators = "S-1-5-32-544"
)

// owners stand for whoever owns the folder.
var owners = []string{"S-1-3-0", "S-1-3-4"}

// Grant is an entry of an access list that allows something, to the folder or to
// what is made in it.
type Grant struct {
	SID    string
	Rights uint32
}

// Strangers are those whom the entries let in and who are neither the owner, nor
// the system or its administrators. What an entry for them allows does not matter:
// names alone tell something, and whoever can write could plant.
func Strangers(owner string, grants []Grant) []string {
	var all []string
	for _, g := range grants {
		if g.Rights == 0 || g.SID == owner || g.SID == System || g.SID == Administrators || slices.Contains(owners, g.SID) {
			continue
		}
		if !slices.Contains(all, g.SID) {
			all = append(all, g.SID)
		}
	}
	return all
}
