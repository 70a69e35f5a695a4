package localui

import (
	"context"
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/control"
)

// sizes are what folders hold, counted on the side and kept while the window is
// open.
type sizes struct {
	counting bool
	list     []agent.FolderSize
}

// count counts, unless it is doing so.
func (w *Window) count() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sizes.counting {
		return
	}
	w.sizes.counting = true
	go func() {
		err := agent.FolderSizes(context.Background(), w.cfg.State, func(list []agent.FolderSize) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.sizes.list = list
		})
		if err != nil {
			w.cfg.Log.Warn("folders cannot be counted", "err", err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sizes.counting = false
	}()
}

type folderRow struct {
	agent.Folder
	Shown string // the path, as from home
	Token string // of the path, which may have any name
	Why   string // what there is to say of it, as Remark has it
	Size  agent.FolderSize
}

type foldersPage struct {
	page
	Rows     []folderRow
	MayAdd   bool
	Counting bool
	Home     string
	Barred   barred
}

func (w *Window) foldersPage(rw http.ResponseWriter, r *http.Request, p page, s agent.Standing) {
	f := &foldersPage{page: p, MayAdd: s.Settings.Settings.UserMay.Folders, Home: homeFolder()}
	w.mu.Lock()
	counted, counting := slices.Clone(w.sizes.list), w.sizes.counting
	w.mu.Unlock()
	known := true
	listed := agent.Listed(s.Settings)
	f.Barred = barredIn(listed)
	for _, l := range listed {
		row := folderRow{Folder: l, Shown: fromHome(l.Here), Token: token(l.Here), Why: l.Remark(p.Printer())}
		i := slices.IndexFunc(counted, func(c agent.FolderSize) bool { return c.Path == l.Here })
		if i >= 0 {
			row.Size = counted[i]
		}
		if l.Backed() && !l.Missing && i < 0 {
			known = false
		}
		f.Rows = append(f.Rows, row)
	}
	if !known && !counting {
		w.count()
		counting = true
	}
	f.Counting = counting
	w.site.Render(rw, r, http.StatusOK, "folders", f)
}

func token(path string) string { return base64.RawURLEncoding.EncodeToString([]byte(path)) }

// untoken is the path of a token, "" when it is none.
func untoken(text string) string {
	path, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return string(path)
}

func homeFolder() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return string(filepath.Separator)
	}
	return home
}

// fromHome is a path as people write it.
func fromHome(path string) string {
	if rest, ok := strings.CutPrefix(path, homeFolder()); ok && (rest == "" || rest[0] == filepath.Separator) {
		return "~" + rest
	}
	return path
}

// typed is the path that somebody means: one that begins nowhere begins at home.
func typed(path string) string {
	path = strings.TrimSpace(path)
	if rest, ok := strings.CutPrefix(path, "~"); ok {
		path = homeFolder() + rest
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(homeFolder(), path)
	}
	return filepath.Clean(path)
}

func (w *Window) addFolder(rw http.ResponseWriter, r *http.Request) {
	path := untoken(r.PostFormValue("token"))
	if path == "" {
		path = typed(r.PostFormValue("path"))
	}
	real, err := agent.FindFolder(path)
	if err != nil {
		w.refuse(rw, r, "/folders", err)
		return
	}
	w.wants(rw, r, control.Change{Add: [][]byte{[]byte(real)}}, "/folders", "window.folders.added")
}

func (w *Window) removeFolder(rw http.ResponseWriter, r *http.Request) {
	path := untoken(r.PostFormValue("token"))
	w.wants(rw, r, control.Change{Remove: [][]byte{[]byte(path)}}, "/folders", "window.folders.removed")
}

type place struct {
	Name, Token string
}

// browsePage shows the folders of a folder, to choose one of them.
type browsePage struct {
	page
	Path, Token string
	Up          string // token of the folder above, "" at home
	Folders     []place
	Post        string // where the choice goes, below the base
	Choose      string // key of the button's text
}

// maxShown is how many folders of one folder are shown.
const maxShown = 1000

// browse shows the folders of one of the user's home. What lies elsewhere is
// typed.
func (w *Window) browse(rw http.ResponseWriter, r *http.Request, b *browsePage) {
	if err := b.read(untoken(r.FormValue("in"))); err != nil {
		w.refuse(rw, r, b.Back, err)
		return
	}
	w.site.Render(rw, r, http.StatusOK, "browse", b)
}

func (b *browsePage) read(path string) error {
	home := homeFolder()
	if path == "" || path != home && !strings.HasPrefix(path, strings.TrimSuffix(home, "/")+string(filepath.Separator)) {
		path = home
	}
	path, err := agent.FindFolder(filepath.Clean(path))
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	b.Path, b.Token = fromHome(path), token(path)
	if path != home {
		b.Up = token(filepath.Dir(path))
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && len(b.Folders) < maxShown {
			b.Folders = append(b.Folders, place{e.Name(), token(filepath.Join(path, e.Name()))})
		}
	}
	return nil
}

func (w *Window) chooseFolder(rw http.ResponseWriter, r *http.Request, p page, _ agent.Standing) {
	p.Title, p.Back = p.Printer().T("window.folders.add"), "/folders"
	w.browse(rw, r, &browsePage{page: p, Post: "/folders/add", Choose: "window.browse.choose"})
}
