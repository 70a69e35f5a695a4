// Package portal is the pages of users: their devices, the snapshots of each,
// the files in them, and their account.
package portal

import (
	"embed"
	"io/fs"
)

//go:embed templates/*.html
var templates embed.FS

func pages() fs.FS {
	sub, err := fs.Sub(templates, "templates")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	return sub
}
