package entry

import (
	"net/http"

	"github.com/backstay/backstay/server/access"
)

// Guarded is a handler that has been put behind a guard. In and its like make
// them, and nothing else can be mounted: a route that nobody guards does not
// compile.
type Guarded struct {
	by    access.Guard
	serve http.HandlerFunc
}

// Open is a handler for everybody.
func Open(h http.HandlerFunc) Guarded { return Guarded{access.Anyone, h} }

// Mux is the routes of a portal.
type Mux struct {
	mux    *http.ServeMux
	routes []access.Route
}

// HandleFunc mounts a handler at a pattern of http.ServeMux.
func (m *Mux) HandleFunc(pattern string, g Guarded) {
	m.mux.HandleFunc(pattern, g.serve)
	m.routes = append(m.routes, access.Route{Pattern: pattern, Guard: g.by})
}
