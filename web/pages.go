package web

import (
	"net/http"
	"net/url"
	"strconv"
)

// Pages is where a list stands that is shown page by page, with the links to
// its neighbours. Everything else in the address, filters above all, stays.
type Pages struct {
	Offset, Size, Total int
	url                 *url.URL
}

// PagesOf reads the place in a list from the address: ?from=N.
func PagesOf(r *http.Request, size int) Pages {
	n, err := strconv.Atoi(r.URL.Query().Get("from"))
	if err != nil || n < 0 || n > 1<<30 {
		n = 0
	}
	return Pages{Offset: n, Size: size, url: r.URL}
}

// Needed reports whether the list has more than one page.
func (p Pages) Needed() bool { return p.Total > p.Size || p.Offset > 0 }

// From is the number of the first entry shown, counted from one.
func (p Pages) From() int { return min(p.Offset+1, p.Total) }

// To is the number of the last entry shown.
func (p Pages) To() int { return min(p.Offset+p.Size, p.Total) }

// Previous is the address of the page before, or "".
func (p Pages) Previous() string {
	if p.Offset == 0 {
		return ""
	}
	return p.at(max(p.Offset-p.Size, 0))
}

// Next is the address of the page after, or "".
func (p Pages) Next() string {
	if p.Offset+p.Size >= p.Total {
		return ""
	}
	return p.at(p.Offset + p.Size)
}

func (p Pages) at(offset int) string {
	q := p.url.Query()
	q.Del("from")
	if offset > 0 {
		q.Set("from", strconv.Itoa(offset))
	}
	return p.url.Path + "?" + q.Encode()
}
