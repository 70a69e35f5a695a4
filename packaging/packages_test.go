//go:build linux

// Package packaging holds what the .deb and .rpm packages are made of. Its test
// installs, uses, upgrades and removes them.
package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const nfpm = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0"

// tool runs a program in the repository's root and returns what it says.
func tool(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// pack makes packages of both programs in a folder below dir for each version.
func pack(t *testing.T, dir string) {
	t.Helper()
	tool(t, []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-o", dir+"/", "./cmd/backstay", "./cmd/backstay-server", "./cmd/backstay-tray")
	tool(t, []string{"GOBIN=" + dir}, "go", "install", nfpm)
	arch := strings.TrimSpace(tool(t, nil, "go", "env", "GOARCH"))
	for _, p := range []struct{ version, kind string }{{"0.1.0", "deb"}, {"0.1.1", "deb"}, {"0.1.0", "rpm"}} {
		to := filepath.Join(dir, p.version)
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"backstay", "backstay-server"} {
			tool(t, []string{"VERSION=" + p.version, "GOARCH=" + arch, "BIN=" + dir},
				dir+"/nfpm", "package", "--config", "packaging/"+name+".yaml", "--packager", p.kind, "--target", filepath.Join(to, name+"."+p.kind))
		}
	}
}

// The script has this computer's file system and a network to itself: what it
// writes is lost with it, its processes end with it, and all ports are free.
const apart = `set -e
ip link set lo up
root=$1
mount -t tmpfs -o mode=0755 tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/merged"
mount -t overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" overlay "$root/merged"
rm -rf "$root/merged/etc/backstay" "$root"/merged/var/lib/backstay* "$root/merged/root/.local/state/backstay"
mount --rbind /dev "$root/merged/dev"
mount -t proc proc "$root/merged/proc"
mount -t tmpfs tmpfs "$root/merged/run"
mount -t tmpfs tmpfs "$root/merged/tmp"
mkdir "$root/merged/tmp/pkg"
mount --bind "$2" "$root/merged/tmp/pkg"
exec chroot "$root/merged" /bin/sh -ex /tmp/pkg/deb.sh
`

func TestPackages(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("packages are installed by root: run this test as root")
	}
	dir := t.TempDir()
	pack(t, dir)
	t.Run("deb", func(t *testing.T) {
		for _, name := range []string{"deb.sh", "systemctl"} {
			data, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", apart, "apart", t.TempDir(), dir)
		cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "ADDRESS=127.0.0.1:8444"}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasSuffix(string(out), "\nall is well\n") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("rpm", func(t *testing.T) {
		for name, want := range map[string][]string{
			"backstay": {"/usr/bin/backstay", "/usr/bin/backstay-tray", "/etc/xdg/autostart/backstay-tray.desktop", "/usr/lib/systemd/system/backstay.service", "/etc/backstay",
				"/usr/lib/systemd/system/backstay-deploy.service", "/usr/lib/systemd/system/backstay-deploy.path",
				"/usr/share/applications/backstay.desktop", "/usr/share/icons/hicolor/scalable/apps/backstay.svg"},
			"backstay-server": {"/usr/bin/backstay-server", "/usr/lib/systemd/system/backstay-server.service", "/etc/backstay/server.yaml"},
		} {
			file := filepath.Join(dir, "0.1.0", name+".rpm")
			files := strings.Split(tool(t, nil, "rpm", "-qp", "--list", file), "\n")
			for _, path := range want {
				if !slices.Contains(files, path) {
					t.Errorf("%s lacks %s: %q", name, path, files)
				}
			}
			if got := tool(t, nil, "rpm", "-qp", "--queryformat", "%{NAME} %{VERSION} %{LICENSE}", file); got != name+" 0.1.0 Apache-2.0" {
				t.Errorf("%s says that it is %q", name, got)
			}
			scripts := tool(t, nil, "rpm", "-qp", "--scripts", file)
			for _, part := range []string{"postinstall scriptlet", "preuninstall scriptlet", "systemctl restart"} {
				if !strings.Contains(scripts, part) {
					t.Errorf("%s has no %s:\n%s", name, part, scripts)
				}
			}
		}
		if config := tool(t, nil, "rpm", "-qp", "--configfiles", filepath.Join(dir, "0.1.0", "backstay-server.rpm")); strings.TrimSpace(config) != "/etc/backstay/server.yaml" {
			t.Errorf("configuration files: %q", config)
		}
	})
}
