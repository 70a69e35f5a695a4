// Load asks whether people can still work while everybody logs in at once, as
// `make load` does: a real server with password hashes of the usual cost, 100
// log-ins at a time, and beside them one visitor who opens pages. It prints how
// long each kind of page took and how much memory the server had at most, and
// fails above a second for the 99th percentile of any page, above 512 MiB, or
// when a log-in got another answer than the portal or a 503 that says when to
// come back.
//
// The environment sets DURATION, how long (15), and LOGINS, how many at a time
// (100).
package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	password  = "Load-Password-1"
	accounts  = 20
	maxMemory = 512 << 20
	maxPage   = time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	seconds, err := number("DURATION", 15)
	if err != nil {
		return err
	}
	logins, err := number("LOGINS", 100)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "backstay-load-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := start(ctx, dir)
	if err != nil {
		return err
	}
	defer s.stop()
	user, err := s.loggedIn(ctx, "", "user-0")
	if err != nil {
		return err
	}
	admin, err := s.loggedIn(ctx, "/admin", "admin")
	if err != nil {
		return err
	}

	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
	defer cancel()
	var r results
	var wg sync.WaitGroup
	for i := range logins {
		wg.Go(func() { r.storm(ctx, s, fmt.Sprintf("user-%d", i%accounts)) })
	}
	wg.Go(func() { r.visit(ctx, s, newBrowser(), "/healthz", "/login", "/admin/login") })
	wg.Go(func() { r.visit(ctx, s, user, "/", "/account") })
	wg.Go(func() { r.visit(ctx, s, admin, "/admin/", "/admin/users", "/admin/devices") })
	wg.Wait()
	memory, err := s.peak()
	if err != nil {
		return err
	}
	return r.report(logins, memory)
}

func number(name string, otherwise int) (int, error) {
	n, err := strconv.Atoi(cmp.Or(os.Getenv(name), strconv.Itoa(otherwise)))
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s must be a number above 0", name)
	}
	return n, nil
}

// server is the program under load.
type server struct {
	url string
	cmd *exec.Cmd
}

var address = regexp.MustCompile(`https://[^\s/]+`)

// start makes an administrator and the users and serves.
func start(ctx context.Context, dir string) (*server, error) {
	program, data := filepath.Join("bin", "backstay-server"), filepath.Join(dir, "data")
	create := func(args ...string) error {
		cmd := exec.CommandContext(ctx, program, append(args, "--data", data, "--password-file", "-")...)
		cmd.Stdin = strings.NewReader(password + "\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := create("admin", "create", "--org", "Load", "admin"); err != nil {
		return nil, err
	}
	for i := range accounts {
		if err := create("user", "create", fmt.Sprintf("user-%d", i)); err != nil {
			return nil, err
		}
	}
	s := &server{cmd: exec.CommandContext(ctx, program, "serve", "--data", data, "--listen", "127.0.0.1:0")}
	s.cmd.Env = append(os.Environ(), "LC_ALL=C")
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd.Stderr = log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(out); s.url == "" && lines.Scan(); {
		s.url = strings.TrimRight(address.FindString(lines.Text()), ".")
	}
	if s.url == "" {
		text, _ := os.ReadFile(log.Name())
		return nil, errors.Join(fmt.Errorf("the server ended before it listened:\n%s", text), s.cmd.Wait())
	}
	go io.Copy(io.Discard, out)
	return s, nil
}

func (s *server) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.cmd.Wait()
}

var peakLine = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB`)

// peak is the most memory that the server has held so far.
func (s *server) peak() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("the server has gone: %w", err)
	}
	found := peakLine.FindSubmatch(status)
	if found == nil {
		return 0, errors.New("this system does not say how much memory a program used")
	}
	n, err := strconv.ParseInt(string(found[1]), 10, 64)
	return n << 10, err
}

// newBrowser keeps cookies, follows no redirect, and trusts the server: it is
// on this computer and made its certificate a moment ago.
func newBrowser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // it takes no options that could be wrong
	}
	return &http.Client{
		Jar:           jar,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// loggedIn is a browser with a session at a portal.
func (s *server) loggedIn(ctx context.Context, base, username string) (*http.Client, error) {
	c := newBrowser()
	status, _, err := s.login(ctx, c, base, username)
	if err == nil && status != http.StatusSeeOther {
		err = fmt.Errorf("logging %s in: %d", username, status)
	}
	return c, err
}

func (s *server) login(ctx context.Context, c *http.Client, base, username string) (int, http.Header, error) {
	if _, err := s.get(ctx, c, base+"/login"); err != nil {
		return 0, nil, err
	}
	form := url.Values{"username": {username}, "password": {password}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+base+"/login", strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", s.url)
	answer, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, answer.Header, err
}

func (s *server) get(ctx context.Context, c *http.Client, path string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		return 0, err
	}
	answer, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// results is what the load found out.
type results struct {
	mu     sync.Mutex
	pages  map[string][]time.Duration
	logins map[int]int // by status
	wrong  []string
}

func (r *results) add(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pages == nil {
		r.pages, r.logins = map[string][]time.Duration{}, map[int]int{}
	}
	change()
}

// storm logs somebody in, again and again, each time from a new browser.
func (r *results) storm(ctx context.Context, s *server, username string) {
	for ctx.Err() == nil {
		c := newBrowser()
		status, header, err := s.login(ctx, c, "", username)
		c.CloseIdleConnections()
		if ctx.Err() != nil {
			return
		}
		r.add(func() {
			switch {
			case err != nil:
				r.wrong = append(r.wrong, "log-in: "+err.Error())
			case status == http.StatusServiceUnavailable && header.Get("Retry-After") == "":
				r.wrong = append(r.wrong, "log-in: 503 without Retry-After")
			case status != http.StatusSeeOther && status != http.StatusServiceUnavailable:
				r.wrong = append(r.wrong, fmt.Sprintf("log-in: %d", status))
			}
			r.logins[status]++
		})
		if status == http.StatusServiceUnavailable {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

// visit opens pages one after the other, ten in a second.
func (r *results) visit(ctx context.Context, s *server, c *http.Client, paths ...string) {
	for ctx.Err() == nil {
		for _, path := range paths {
			began := time.Now()
			status, err := s.get(ctx, c, path)
			took := time.Since(began)
			if ctx.Err() != nil {
				return
			}
			r.add(func() {
				r.pages[path] = append(r.pages[path], took)
				if err != nil || status != http.StatusOK {
					r.wrong = append(r.wrong, fmt.Sprintf("%s: %d %v", path, status, err))
				}
			})
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// report prints what was found and fails when it is not good enough.
func (r *results) report(logins int, memory int64) error {
	fmt.Printf("%d log-ins at a time: %d let in, %d told to come back\n\n", logins, r.logins[http.StatusSeeOther], r.logins[http.StatusServiceUnavailable])
	fmt.Printf("%-16s %8s %8s %8s %8s\n", "page", "opened", "median", "99 %", "longest")
	var slow []string
	for _, path := range slices.Sorted(maps.Keys(r.pages)) {
		took := r.pages[path]
		slices.Sort(took)
		last := took[len(took)*99/100]
		ms := func(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
		fmt.Printf("%-16s %8d %8s %8s %8s\n", path, len(took), ms(took[len(took)/2]), ms(last), ms(took[len(took)-1]))
		if last > maxPage {
			slow = append(slow, path)
		}
	}
	fmt.Printf("\nthe server's memory, at most: %d MiB\n", memory>>20)
	switch {
	case len(r.wrong) > 0:
		return fmt.Errorf("%d wrong answers, the first: %s", len(r.wrong), r.wrong[0])
	case r.logins[http.StatusSeeOther] == 0:
		return errors.New("nobody was let in")
	case len(slow) > 0:
		return fmt.Errorf("the 99th percentile is above %s for %s", maxPage, strings.Join(slow, ", "))
	case memory > maxMemory:
		return fmt.Errorf("above %d MiB of memory", maxMemory>>20)
	}
	return nil
}
