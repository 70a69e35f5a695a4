package restore

import (
	"context"
	"path"
	"strings"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/errs"
)

// selection checks that the snapshot has all the paths, and returns them in the
// order of a walk, without those that lie below others. Nothing means everything.
func selection(ctx context.Context, c *catalog.Reader, paths []string) ([]string, error) {
	var clean []string
	for _, p := range paths {
		if !strings.HasPrefix(p, "/") {
			return nil, errs.Of(errs.NoSuchSnapshot, "what", p)
		}
		if p = path.Clean(p); p == "/" {
			return nil, nil
		}
		if _, err := c.Lookup(ctx, p); err != nil {
			return nil, sourceError(err)
		}
		clean = append(clean, p)
	}
	return catalog.Outermost(clean), nil
}

// each calls do for every selected entry, a folder always before what is in it:
// for everything in catalog order, for paths with the folders above them.
func (r *restorer) each(ctx context.Context, paths []string, do func(*catalog.Entry) error) error {
	base := r.cfg.Base
	if len(paths) == 0 {
		return r.within(ctx, base, do)
	}
	above := "" // the last path whose ancestors are done
	for _, p := range paths {
		for i := 1; i < len(p); i++ {
			if p[i] != '/' || catalog.Inside(p[:i], above) || catalog.Inside(p[:i], base) {
				continue
			}
			if err := r.one(ctx, p[:i], do); err != nil {
				return err
			}
		}
		above = p
		e, err := r.cfg.Catalog.Lookup(ctx, p)
		if err != nil {
			return sourceError(err)
		}
		if err := do(e); err != nil {
			return err
		}
		if e.Type != catalog.Folder {
			continue
		}
		if err := r.within(ctx, p, do); err != nil {
			return err
		}
	}
	return nil
}

func (r *restorer) one(ctx context.Context, p string, do func(*catalog.Entry) error) error {
	e, err := r.cfg.Catalog.Lookup(ctx, p)
	if err != nil {
		return sourceError(err)
	}
	return do(e)
}

// within calls do for the entries in folder or below it: in catalog order they
// stand together.
func (r *restorer) within(ctx context.Context, folder string, do func(*catalog.Entry) error) error {
	for e, err := range r.cfg.Catalog.Below(ctx, folder) {
		if err != nil {
			return sourceError(err)
		}
		if err := do(e); err != nil {
			return err
		}
	}
	return nil
}
