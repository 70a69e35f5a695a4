package agent

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay/agent/state"
)

func maps(pairs ...string) (list []state.PathMap) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, state.PathMap{From: []byte(pairs[i]), To: []byte(pairs[i+1])})
	}
	return list
}

// Where folders of another computer go.
func TestMove(t *testing.T) {
	const aside = "/home/new/Restored-old-2026-11-22"
	linux := move{fromOS: "linux", fromHome: "/home/old", toOS: "linux", toHome: "/home/new", aside: aside,
		writable: func(path string) bool { return path != "/srv" }}
	windows := linux
	windows.fromOS, windows.fromHome = "windows", `C:\Users\old`
	mapped := windows
	mapped.maps = maps(`D:\Projects`, "/srv/projects", `C:\Users\old\Music`, "/music")
	for _, tt := range []struct {
		name  string
		move  move
		roots []string
		want  []rule
	}{
		{"the home has another name", linux, []string{"/home/old/Documents", "/home/old/a b"},
			[]rule{{"/home/old/Documents", "/home/new/Documents", false}, {"/home/old/a b", "/home/new/a b", false}}},
		{"the home itself", linux, []string{"/home/old"}, []rule{{"/home/old", "/home/new", false}}},
		{"no home at all, by a name that begins like it", linux, []string{"/home/older"}, []rule{{"/home/older", "/home/older", false}}},
		{"a folder that cannot be written", linux, []string{"/data", "/srv"}, []rule{{"/data", "/data", false}, {"/srv", aside + "/srv", true}}},
		{"a folder of the system", linux, []string{"/etc/nginx"}, []rule{{"/etc/nginx", aside + "/etc/nginx", true}}},
		{"folders in one another", linux, []string{"/home"}, []rule{{"/home", "/home", false}, {"/home/old", "/home/new", false}}},
		{"another system: the home alone has its place", windows, []string{"/C:/Users/old/Documents", "/D:/Projects"},
			[]rule{{"/C:/Users/old/Documents", "/home/new/Documents", false}, {"/D:/Projects", aside + "/D/Projects", true}}},
		{"another system, with maps", mapped, []string{"/C:/Users/old", "/D:/Projects"},
			[]rule{{"/C:/Users/old", "/home/new", false}, {"/C:/Users/old/Music", "/music", false}, {"/D:/Projects", "/srv/projects", false}}},
		{"a map of a folder above", mapped, []string{"/D:/Projects/a"}, []rule{{"/D:/Projects/a", "/srv/projects/a", false}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.move.parts(tt.roots); !slices.Equal(got, tt.want) {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
		})
	}
}

// Everything of a computer: the system's folders are not put over the new ones.
func TestMoveWholeComputer(t *testing.T) {
	m := move{fromOS: "linux", fromHome: "/root", toOS: "linux", toHome: "/root", aside: "/root/Restored-old-2026-11-22"}
	want := map[string]rule{"/": {"/", "/", false}, "/root": {"/root", "/root", false}, "/etc": {"/etc", "/root/Restored-old-2026-11-22/etc", true}}
	for _, r := range m.parts([]string{"/"}) {
		if w, ok := want[r.from]; ok && r != w {
			t.Errorf("got %v, want %v", r, w)
		}
		if r.from != "/" && r.from != "/root" && !r.aside {
			t.Errorf("%v would be put over what is there", r)
		}
	}
}

func TestOnSystem(t *testing.T) {
	for _, tt := range []struct{ system, path, want string }{
		{"linux", `/a\b`, `/a\b`}, {"windows", "/C:/Users/old", `C:\Users\old`}, {"windows", "/D:", `D:\`},
	} {
		if got := onSystem(tt.system, tt.path); got != tt.want || inCatalog(tt.system, got) != tt.path {
			t.Errorf("onSystem(%q) = %q and back %q, want %q", tt.path, got, inCatalog(tt.system, got), tt.want)
		}
	}
}

// The name of a device may hold what the name of a folder may not.
func TestAsideFolder(t *testing.T) {
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for device, want := range map[string]string{"laptop": "Restored-laptop-2026-11-22", `../a\b:`: "Restored--a-b--2026-11-22", "Büro 2": "Restored-Büro 2-2026-11-22"} {
		if got := asideFolder("/home/ada", device, at); got != filepath.Join("/home/ada", want) {
			t.Errorf("asideFolder(%q) = %q, want %q", device, got, want)
		}
	}
}
