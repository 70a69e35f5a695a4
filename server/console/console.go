// Package console is the pages of administrators: users, devices, profiles,
// the audit log, and what needs somebody.
package console

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
