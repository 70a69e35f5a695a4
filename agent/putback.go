package agent

import (
	"context"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/restore"
)

// Wanted is what somebody wants back of a snapshot.
type Wanted struct {
	Paths []string // in the snapshot, as the catalog has them
	// Target is the folder they go to; "" is where each was. In it they keep their
	// places to each other, below the folder that they have in common.
	Target string
}

// batch is what one restore.Run does.
type batch struct {
	base, target string
	paths        []string
}

// PutBack restores what is wanted with the rights of this process. What is in
// the way gets another name. The result is good even when there is an error.
func PutBack(ctx context.Context, o *Opened, w Wanted, progress func(restore.Progress)) (*restore.Result, error) {
	privileged := os.Geteuid() == 0
	total := &restore.Result{}
	for _, b := range w.batches(o.Private.Roots, privileged, isFolder) {
		before := total.Progress
		r, err := restore.Run(ctx, restore.Config{
			Catalog: o.Catalog, Base: b.base, Target: b.target, Paths: b.paths, Privileged: privileged,
			Progress: func(now restore.Progress) { progress(added(before, now)) },
		})
		add(total, r)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// batches divides what is wanted by the folders that it goes to. is reports
// whether a folder is there.
func (w Wanted) batches(roots []string, privileged bool, is func(path string) bool) []batch {
	paths := meant(roots, w.Paths)
	if w.Target != "" {
		return []batch{{base: common(paths), target: w.Target, paths: paths}}
	}
	var all []batch
	for _, p := range paths {
		// What is there already, of the folders above it, stays as it is. But in a
		// folder of somebody else the way there could be bent by a link while this
		// program, which may write everywhere, goes it: then each step is looked at.
		base, _ := catalog.Split(p)
		for privileged && base != "/" || top(base) != base && !is(onSystem(runtime.GOOS, base)) {
			base, _ = catalog.Split(base)
		}
		i := slices.IndexFunc(all, func(b batch) bool { return b.base == base })
		if i < 0 {
			i, all = len(all), append(all, batch{base: base, target: onSystem(runtime.GOOS, base)})
		}
		all[i].paths = append(all[i].paths, p)
	}
	return all
}

// top is the outermost folder around a path that can be on this system.
func top(path string) string {
	if runtime.GOOS != "windows" {
		return "/"
	}
	drive, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return "/" + drive
}

// meant is what is meant by paths: of a folder above those that are backed up,
// these. It leaves out what lies in another.
func meant(roots, paths []string) (list []string) {
	for _, p := range paths {
		inside := slices.DeleteFunc(slices.Clone(roots), func(root string) bool { return root == p || !catalog.Inside(p, root) })
		if len(inside) == 0 {
			inside = []string{p}
		}
		list = append(list, inside...)
	}
	return catalog.Outermost(list)
}

// common is the deepest folder that all paths are in.
func common(paths []string) string {
	folder, _ := catalog.Split(paths[0])
	for _, p := range paths {
		for in, _ := catalog.Split(p); !catalog.Inside(folder, in); {
			folder, _ = catalog.Split(folder)
		}
	}
	return folder
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func added(a, b restore.Progress) restore.Progress {
	return restore.Progress{Folders: a.Folders + b.Folders, Files: a.Files + b.Files, Others: a.Others + b.Others, Bytes: a.Bytes + b.Bytes, Failed: a.Failed + b.Failed}
}

// add puts what another run did to what those before it did.
func add(total, r *restore.Result) {
	total.Progress = added(total.Progress, r.Progress)
	total.Kept += r.Kept
	total.WarningCount += r.WarningCount
	total.RenamedCount += r.RenamedCount
	total.Failed = slices.Concat(total.Failed, r.Failed)
	total.Warnings = slices.Concat(total.Warnings, r.Warnings)
	total.Renamed = slices.Concat(total.Renamed, r.Renamed)
}

// Size counts the files that are wanted of a snapshot.
func (w Wanted) Size(ctx context.Context, o *Opened) (files, bytes int64, err error) {
	count := func(e *catalog.Entry) {
		if e.Type == catalog.File {
			files++
			bytes += int64(e.Size)
		}
	}
	for _, p := range meant(nil, w.Paths) {
		if p != "/" {
			e, err := o.Catalog.Lookup(ctx, p)
			if err != nil {
				return 0, 0, err
			}
			count(e)
		}
		for e, err := range o.Catalog.Below(ctx, p) {
			if err != nil {
				return 0, 0, err
			}
			count(e)
		}
	}
	return files, bytes, nil
}

// Search finds what has a text in its name, in a folder of a snapshot or below,
// until it has found n or ctx ends; then more is true.
func Search(ctx context.Context, r *catalog.Reader, folder, text string, n int) (found []*catalog.Entry, more bool, err error) {
	text = strings.ToLower(strings.TrimSpace(text))
	for e, err := range r.Below(ctx, folder) {
		switch {
		case err != nil && ctx.Err() != nil:
			return found, true, nil
		case err != nil:
			return nil, false, err
		case !strings.Contains(strings.ToLower(e.Name), text):
			continue
		case len(found) == n:
			return found, true, nil
		}
		found = append(found, e)
	}
	return found, false, nil
}
