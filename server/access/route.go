package access

// Guard says who gets to a route at all. What they may do behind it is for
// Allow to say, beside the data.
type Guard string

// The guards that are no portal's own.
const (
	Anyone      Guard = "anyone"      // nobody has to be known
	AnyDevice   Guard = "device"      // a computer that proved its key
	PresentUser Guard = "user"        // a user who is at their computer
	ByToken     Guard = "API token"   // a program with a token, of whatever scope
	Known       Guard = "known"       // any of those, or whoever logged in with all that was asked
	Monitor     Guard = "monitor"     // an address that may read the metrics
	AnySession  Guard = "any session" // whoever logged in, whatever their session still asks of them
	WholeLogin  Guard = "login"       // whoever logged in, with all that was asked
)

// Route is an address of the server and who gets to it. Every route has one:
// what mounts routes takes no handler without a guard.
type Route struct {
	Pattern string // of http.ServeMux
	Guard   Guard
}
