// Package proxytest runs Squid, a proxy that others wrote, for the tests of what
// passes through one.
package proxytest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Host is a name that stands for this computer at every proxy here, and nowhere
// else: who reaches it went through one.
const Host = "backup.test"

// WebHost is another, for which net/http/httptest has its certificate.
const WebHost = "example.com"

// The name and password of a proxy that asks for them.
const (
	Username = "ada"
	Password = "pa:ss wörd"
)

// hash is Password as Squid's helper keeps it.
const hash = "$apr1$squidtst$//C/l/waWMovolV6Z.a0l."

// Options say what a proxy is like.
type Options struct {
	Password bool // it asks for Username and Password
	Refuse   bool // it connects nobody
	// Cert and Key are files; with them it speaks TLS itself.
	Cert, Key string
}

// Proxy is a Squid that runs until the test ends.
type Proxy struct {
	Addr string // host:port
	dir  string
}

// Start runs a proxy.
func Start(t *testing.T, o Options) *Proxy {
	t.Helper()
	p := &Proxy{Addr: free(t), dir: folder(t)}
	files := map[string]string{
		"hosts": "127.0.0.1 " + Host + " " + WebHost + "\n", "users": Username + ":" + hash + "\n", "squid.conf": p.config(o),
	}
	for name, text := range files {
		if err := os.WriteFile(p.path(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program := "squid"
	if _, err := exec.LookPath(program); err != nil {
		program = "/usr/sbin/squid" // not in everybody's PATH
	}
	cmd := exec.Command(program, "-N", "-f", p.path("squid.conf"))
	cmd.Dir = p.dir
	out, err := os.Create(p.path("output"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	p.await(t)
	return p
}

func (p *Proxy) path(name string) string { return filepath.Join(p.dir, name) }

func (p *Proxy) config(o Options) string {
	lines := []string{
		"pid_filename none", "visible_hostname proxy.test", "cache deny all", "shutdown_lifetime 0 seconds",
		"access_log stdio:" + p.path("access.log"), "cache_log " + p.path("cache.log"), "coredump_dir " + p.dir,
		"hosts_file " + p.path("hosts"), "logfile_rotate 0", "max_filedescriptors 512",
	}
	if o.Cert == "" {
		lines = append(lines, "http_port "+p.Addr)
	} else {
		lines = append(lines, "https_port "+p.Addr+" tls-cert="+o.Cert+" tls-key="+o.Key)
	}
	if o.Password {
		lines = append(lines, "auth_param basic program /usr/lib/squid/basic_ncsa_auth "+p.path("users"),
			"auth_param basic children 1 startup=1", "auth_param basic utf8 off", "acl known proxy_auth REQUIRED", "http_access deny !known")
	}
	if o.Refuse {
		lines = append(lines, "http_access deny CONNECT")
	}
	return strings.Join(append(lines, "http_access allow all"), "\n") + "\n"
}

// folder is one that Squid can write to, which gives up root's rights: a test's
// own folder lies in one that is closed to everybody else.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "backstay-squid-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// free is an address that nobody listens at.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (p *Proxy) await(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", p.Addr); err == nil {
			conn.Close()
			return
		}
	}
	t.Fatalf("squid does not answer:\n%s\n%s", p.read("output"), p.read("cache.log"))
}

func (p *Proxy) read(name string) string {
	text, err := os.ReadFile(p.path(name))
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(text)
}

// Log is what the proxy noted of who went where.
func (p *Proxy) Log() string { return p.read("access.log") }
