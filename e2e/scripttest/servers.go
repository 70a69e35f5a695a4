//go:build linux

package scripttest

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

type serversKey struct{}

// servers are the servers that a script has started, by name.
type servers struct {
	running map[string]*process
	address map[string]string
}

// process is a running backstay-server.
type process struct {
	cmd   *exec.Cmd
	ended chan error
	mu    sync.Mutex
	log   bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (s *servers) stopAll() {
	for name := range s.running {
		s.stop(name, syscall.SIGKILL)
	}
}

func (s *servers) stop(name string, signal os.Signal) error {
	p := s.running[name]
	if p == nil {
		return fmt.Errorf("no server %s runs", name)
	}
	delete(s.running, name)
	p.cmd.Process.Signal(signal)
	select {
	case err := <-p.ended:
		if signal == syscall.SIGKILL {
			return nil
		}
		return err
	case <-time.After(20 * time.Second):
		p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("server %s does not stop", name)
	}
}

// insecure talks to servers about which there is nothing to find out.
var insecure = &http.Client{
	Timeout:   5 * time.Second,
	Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
}

func get(url string) (string, error) {
	r, err := insecure.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, r.Status)
	}
	return string(body), err
}

// server runs servers:
//
//	server start [-name NAME] [FLAG...]
//	server stop [NAME]
//	server kill [NAME]
//
// The first start of a script makes an administrator, admin, and a user, ann,
// whose password is in the file password. A server's address is in $SERVER, its
// fingerprint in $FINGERPRINT; those of one with a name in $SERVER_NAME. It
// comes back at the same address.
func server(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: server start|stop|kill")
	}
	s := ts.Value(serversKey{}).(*servers)
	name := "server"
	rest := args[1:]
	if len(rest) > 1 && rest[0] == "-name" {
		name, rest = rest[1], rest[2:]
	} else if args[0] != "start" && len(rest) == 1 {
		name = rest[0]
	}
	var err error
	switch args[0] {
	case "start":
		err = startServer(ts, s, name, rest)
	case "stop":
		err = s.stop(name, syscall.SIGTERM)
	case "kill":
		err = s.stop(name, syscall.SIGKILL)
	default:
		ts.Fatalf("server cannot %s", args[0])
	}
	if neg {
		if err == nil {
			ts.Fatalf("it went well")
		}
		ts.Logf("%v", err)
		return
	}
	ts.Check(err)
}

func startServer(ts *testscript.TestScript, s *servers, name string, flags []string) error {
	if s.running == nil {
		s.running, s.address = map[string]*process{}, map[string]string{}
	}
	data := ts.MkAbs("server-data")
	if _, err := os.Stat(data); err != nil {
		if err := firstServer(ts, data, flags); err != nil {
			return err
		}
	}
	address := s.address[name]
	if address == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		address = l.Addr().String()
		l.Close()
		s.address[name] = address
	}
	p := &process{ended: make(chan error, 1)}
	p.cmd = exec.Command(filepath.Join(bin, "backstay-server"), append([]string{"serve", "--data", data, "--listen", address}, flags...)...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = p, p, environ(ts)
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() { p.ended <- p.cmd.Wait() }()
	s.running[name] = p
	url := "https://" + address
	up := within(20*time.Second, func() bool {
		_, err := get(url + "/healthz")
		return err == nil || len(p.ended) > 0
	})
	if len(p.ended) > 0 || !up {
		delete(s.running, name)
		p.cmd.Process.Kill()
		ts.Check(os.WriteFile(ts.MkAbs("server.log"), []byte(p.text()), 0o600))
		return fmt.Errorf("server %s does not come up:\n%s", name, p.text())
	}
	suffix := ""
	if name != "server" {
		suffix = "_" + strings.ToUpper(name)
	}
	ts.Setenv("SERVER"+suffix, url)
	ts.Setenv("FINGERPRINT"+suffix, fingerprint(p.text()))
	return nil
}

// fingerprint finds 64 hexadecimal digits in what a server says when it starts.
func fingerprint(text string) string {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\n' || r == '"' || r == '=' }) {
		if len(word) == 64 && strings.Trim(word, "0123456789abcdef") == "" {
			return word
		}
	}
	return ""
}

// firstServer makes the accounts.
func firstServer(ts *testscript.TestScript, data string, flags []string) error {
	if err := os.WriteFile(ts.MkAbs("password"), []byte("Correct-Horse-1\n"), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(ts.MkAbs("wrong-password"), []byte("Incorrect-Horse-1\n"), 0o644); err != nil {
		return err
	}
	var db []string
	for i, flag := range flags {
		if flag == "--db" || flag == "--vault" {
			db = append(db, flag, flags[i+1])
		}
	}
	for _, args := range [][]string{
		{"admin", "create", "--org", "Example", "--password-file", ts.MkAbs("password"), "admin"},
		{"user", "create", "--password-file", ts.MkAbs("password"), "ann"},
	} {
		at := len(args) - 1
		args = append(append(args[:at:at], append([]string{"--data", data}, db...)...), args[at])
		cmd := exec.Command(filepath.Join(bin, "backstay-server"), args...)
		cmd.Env = environ(ts)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("backstay-server %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// environ is the script's environment for a program that the driver starts.
func environ(ts *testscript.TestScript) []string {
	env := os.Environ()
	for _, name := range []string{"HOME", "LANG", "LC_ALL", "LANGUAGE", "XDG_DATA_HOME", "BACKSTAY_STATE", "BACKSTAY_EDITIONS", serverDB} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}

// received is how many bytes the server at url got in uploads.
func received(url string) (int64, error) {
	text, err := get(url + "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "backstay_received_bytes_total "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return int64(n), err
		}
	}
	return 0, fmt.Errorf("the server does not tell how many bytes it received")
}
