package scan

import (
	"os/user"
	"strconv"
	"sync"
)

// owners remembers the names of users and groups. One without a name has the
// empty one.
type owners struct {
	mu     sync.Mutex
	users  map[uint32]string
	groups map[uint32]string
}

func newOwners() *owners {
	return &owners{users: map[uint32]string{}, groups: map[uint32]string{}}
}

func (o *owners) user(id uint32) string {
	return o.name(o.users, id, func(id string) string {
		if u, err := user.LookupId(id); err == nil {
			return u.Username
		}
		return ""
	})
}

func (o *owners) group(id uint32) string {
	return o.name(o.groups, id, func(id string) string {
		if g, err := user.LookupGroupId(id); err == nil {
			return g.Name
		}
		return ""
	})
}

func (o *owners) name(known map[uint32]string, id uint32, look func(string) string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	name, ok := known[id]
	if !ok {
		name = look(strconv.FormatUint(uint64(id), 10))
		known[id] = name
	}
	return name
}
