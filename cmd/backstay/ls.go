package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/wire"
)

// reading is what ls and restore have in common.
type reading struct {
	snapshot     string
	passwordFile string
	code         string // of the second factor
}

func (r *reading) flags(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.snapshot, "snapshot", "", a.say.T("cli.flag.snapshot"))
	cmd.Flags().StringVar(&r.passwordFile, "password-file", "", a.say.T("cli.flag.password_file"))
	cmd.Flags().StringVar(&r.code, "code", "", a.say.T("cli.flag.code"))
}

// open finds the snapshot, asks for the password and opens it.
func (r *reading) open(a *app, cmd *cobra.Command) (wire.Snapshot, *agent.Opened, error) {
	device, client, list, err := a.snapshots(cmd)
	if err != nil {
		return wire.Snapshot{}, nil, err
	}
	found, err := agent.Find(list, r.snapshot)
	if err != nil {
		return found, nil, err
	}
	password, err := a.password(cmd.Context(), r.passwordFile, device.Username)
	if err != nil {
		return found, nil, err
	}
	user, err := client.Login(cmd.Context(), password, a.askCode(r.code))
	if err != nil {
		return found, nil, err
	}
	opened, err := agent.Open(cmd.Context(), device, user, found.Hash)
	return found, opened, err
}

func (a *app) lsCommand() *cobra.Command {
	var r reading
	var long, deep bool
	cmd := a.command("ls [PATH]", "cli.ls.", func(cmd *cobra.Command, args []string) error {
		path := "/"
		if len(args) == 1 {
			var err error
			if path, err = snapshotPath(args[0]); err != nil {
				return err
			}
		}
		found, opened, err := r.open(a, cmd)
		if err != nil {
			return err
		}
		entries, err := list(cmd.Context(), opened.Catalog, path, deep)
		if err != nil {
			return err
		}
		return a.showEntries(found.Snapshot, path, entries, long, deep)
	})
	cmd.Args = maxArgs(1)
	r.flags(a, cmd)
	cmd.Flags().BoolVarP(&long, "long", "l", false, a.say.T("cli.ls.flag.long"))
	cmd.Flags().BoolVarP(&deep, "recursive", "R", false, a.say.T("cli.ls.flag.recursive"))
	return a.withJSON(cmd)
}

// snapshotPath is the path that arg has in snapshots: absolute and clean. Links
// on the way are not followed, since they may have changed since.
func snapshotPath(arg string) (string, error) {
	path, err := filepath.Abs(arg)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", arg, err)
	}
	return filepath.ToSlash(path), nil
}

type entries = iter.Seq2[*catalog.Entry, error]

// list returns what ls shows of path: the entries of a folder, or all below it,
// or the one entry that is no folder.
func list(ctx context.Context, r *catalog.Reader, path string, deep bool) (entries, error) {
	if path != "/" {
		e, err := r.Lookup(ctx, path)
		if err != nil {
			return nil, err
		}
		if e.Type != catalog.Folder {
			return func(yield func(*catalog.Entry, error) bool) { yield(e, nil) }, nil
		}
	}
	if deep {
		return r.Below(ctx, path), nil
	}
	return children(ctx, r, path), nil
}

func children(ctx context.Context, r *catalog.Reader, folder string) entries {
	return func(yield func(*catalog.Entry, error) bool) {
		for after, more := "", true; more; {
			var page []*catalog.Entry
			var err error
			if page, more, err = r.Folder(ctx, folder, after, 1000); err != nil {
				yield(nil, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
				after = e.Name
			}
			more = more && len(page) > 0
		}
	}
}

// entryJSON is an entry in JSON output.
type entryJSON struct {
	pathJSON
	Type       string    `json:"type"`
	Mode       string    `json:"mode"` // octal
	UID        uint32    `json:"uid"`
	GID        uint32    `json:"gid"`
	Owner      string    `json:"owner,omitempty"`
	Group      string    `json:"group,omitempty"`
	Size       uint64    `json:"size"`
	ModifiedAt string    `json:"modified_at"`
	SHA256     string    `json:"sha256,omitempty"`
	Target     *pathJSON `json:"target,omitempty"`
	Torn       bool      `json:"torn,omitempty"`
	Unreadable bool      `json:"unreadable,omitempty"`
	Deferred   bool      `json:"deferred,omitempty"`
}

func toEntryJSON(e *catalog.Entry) entryJSON {
	out := entryJSON{
		pathJSON: toJSON(e.Path()), Type: e.Type.String(), Mode: fmt.Sprintf("%04o", e.Mode),
		UID: e.UID, GID: e.GID, Owner: toJSON(e.Owner).Path, Group: toJSON(e.Group).Path,
		Size: e.Size, ModifiedAt: e.Mtime.Time().UTC().Format("2006-01-02T15:04:05.999999999Z07:00"),
		Torn: e.Flags&catalog.Torn != 0, Unreadable: e.Flags&catalog.Unreadable != 0,
		Deferred: e.Flags&catalog.Deferred != 0,
	}
	if e.Type == catalog.File {
		out.SHA256 = e.Hash.String()
	}
	if e.Type == catalog.Symlink {
		target := toJSON(e.Target)
		out.Target = &target
	}
	return out
}

func (a *app) showEntries(snapshot, path string, all entries, long, deep bool) error {
	if a.json {
		out, err := a.newJSONList(struct {
			Snapshot string `json:"snapshot"`
			pathJSON
		}{snapshot, toJSON(path)}, "entries")
		if err != nil {
			return err
		}
		for e, err := range all {
			if err != nil {
				return err
			}
			if err := out.add(toEntryJSON(e)); err != nil {
				return err
			}
		}
		return out.close()
	}
	lines := lineWriter{a: a, long: long, deep: deep}
	for e, err := range all {
		if err != nil {
			return err
		}
		if err := lines.add(e); err != nil {
			return err
		}
	}
	return nil
}

// lineWriter writes entries as lines. Columns of the long form grow as they
// must, so that a folder of a million files needs no memory.
type lineWriter struct {
	a           *app
	long, deep  bool
	owner, size int
}

func (l *lineWriter) add(e *catalog.Entry) error {
	name := e.Name
	if l.deep {
		name = e.Path()
	}
	if name = safe(name); e.Type == catalog.Symlink && l.long {
		name += " -> " + safe(e.Target)
	} else {
		name += mark(e)
	}
	switch {
	case e.Flags&catalog.Unreadable != 0:
		name += "  (" + l.a.say.T("cli.ls.unreadable") + ")"
	case e.Flags&catalog.Deferred != 0:
		name += "  (" + l.a.say.T("cli.ls.deferred") + ")"
	}
	if !l.long {
		_, err := io.WriteString(l.a.out, name+"\n")
		return err
	}
	owner := safe(named(e.Owner, e.UID)) + " " + safe(named(e.Group, e.GID))
	size := strconv.FormatUint(e.Size, 10)
	if e.Type != catalog.File {
		size = "-"
	}
	l.owner, l.size = max(l.owner, len([]rune(owner)), 13), max(l.size, len(size), 10)
	_, err := fmt.Fprintf(l.a.out, "%s %-*s %*s %s %s\n", modeText(e), l.owner, owner, l.size, size, l.a.time(e.Mtime.Time()), name)
	return err
}

func named(name string, id uint32) string {
	if name == "" {
		return strconv.FormatUint(uint64(id), 10)
	}
	return name
}

// mark is the sign behind a name that says what it is.
func mark(e *catalog.Entry) string {
	switch {
	case e.Type == catalog.Folder:
		return "/"
	case e.Type == catalog.Symlink:
		return "@"
	case e.Type == catalog.Fifo:
		return "|"
	case e.Type == catalog.Socket:
		return "="
	case e.Type == catalog.File && e.Mode&0o111 != 0:
		return "*"
	}
	return ""
}

// modeText is the type and the mode as ls writes them.
func modeText(e *catalog.Entry) string {
	kind := map[catalog.Type]byte{catalog.File: '-', catalog.Folder: 'd', catalog.Symlink: 'l', catalog.Fifo: 'p',
		catalog.Socket: 's', catalog.Char: 'c', catalog.Block: 'b'}[e.Type]
	text := []byte{kind}
	for i, c := range "rwxrwxrwx" {
		if e.Mode&(0o400>>i) == 0 {
			c = '-'
		}
		text = append(text, byte(c))
	}
	for _, special := range []struct {
		bit    uint32
		at     int
		letter string
	}{{0o4000, 3, "sS"}, {0o2000, 6, "sS"}, {0o1000, 9, "tT"}} {
		if e.Mode&special.bit == 0 {
			continue
		}
		if text[special.at] == 'x' {
			text[special.at] = special.letter[0]
		} else {
			text[special.at] = special.letter[1]
		}
	}
	return string(text)
}
