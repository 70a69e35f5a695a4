package portal

import (
	"net/http"
	"time"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/restore"
	"github.com/backstay/backstay/web"
)

// serveFile answers with one file's content, or the ranges of it that were
// asked for. What does not verify breaks the answer off, so that half a file
// never looks like a whole one.
func serveFile(w http.ResponseWriter, r *http.Request, c *restore.Contents, e *catalog.Entry) error {
	web.SetDownloadHeaders(w.Header(), e.Name)
	w.Header().Set("ETag", `"`+e.Hash.String()+`"`)
	s := &seeker{ctx: r.Context(), c: c, entry: e}
	http.ServeContent(unstored{w}, r, "", time.Time{}, s)
	return s.Close()
}

// unstored keeps no-store on the refusals that http.ServeContent writes.
type unstored struct{ http.ResponseWriter }

func (w unstored) WriteHeader(status int) {
	w.Header().Set("Cache-Control", "no-store")
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w unstored) Unwrap() http.ResponseWriter { return w.ResponseWriter }
