package web

import "net/http"

// Pages are the links of a list that is shown part by part. The place in the
// list is the last entry seen, so that nothing is shown twice or left out when
// the list changes meanwhile. Everything else in the address, filters above
// all, stays.
type Pages struct {
	First string // address of the list's beginning, "" there
	Next  string // address of what follows, "" at the end
	Shown int
	Total int64 // 0 when it is not known
}

// After is where the part that r asks for begins, "" for the beginning.
func After(r *http.Request) string { return r.URL.Query().Get("after") }

// PagesOf makes the links for a request: after is where the next part begins,
// "" when this is the last.
func PagesOf(r *http.Request, shown int, total int64, after string) Pages {
	p := Pages{Shown: shown, Total: total}
	if After(r) != "" {
		p.First = at(r, "")
	}
	if after != "" {
		p.Next = at(r, after)
	}
	return p
}

// Needed reports whether the list has more than one part.
func (p Pages) Needed() bool { return p.First != "" || p.Next != "" }

func at(r *http.Request, after string) string {
	q := r.URL.Query()
	q.Del("after")
	if after != "" {
		q.Set("after", after)
	}
	if len(q) == 0 {
		return r.URL.Path
	}
	return r.URL.Path + "?" + q.Encode()
}
