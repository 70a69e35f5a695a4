package browser_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/web/webtest"
	"github.com/backstay/backstay/wire/proxytest"
)

// window is a running "backstay ui".
type window struct {
	link string
	cmd  *exec.Cmd
}

// window opens the window of the client's computer, with more of an
// environment if there is any.
func (c *client) window(env ...string) *window {
	c.t.Helper()
	args := []string{"ui", "--state", c.state}
	if os.Geteuid() == 0 {
		args = append(args, "--system-device")
	}
	cmd := exec.Command(c.bin, args...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C", "DISPLAY=", "WAYLAND_DISPLAY=", "HOME="+filepath.Dir(c.state),
		"BACKSTAY_SERVICE="+c.t.TempDir(), "BACKSTAY_EDITIONS="+filepath.Join(c.t.TempDir(), "none")), env...)
	said := &strings.Builder{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	w := &window{cmd: cmd}
	c.t.Cleanup(func() {
		w.close()
		if c.t.Failed() && said.Len() > 0 {
			c.t.Logf("backstay ui says:\n%s", said)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "http://") {
			w.link = lines.Text()
			go io.Copy(io.Discard, out)
			return w
		}
	}
	c.t.Fatal("backstay ui prints no link")
	return nil
}

// logsIn opens the window and goes as a user as far as the password of all tests,
// which is sent.
func (c *client) logsIn(b *webtest.Browser, s *servertest.Server, user string) {
	c.t.Helper()
	b.Enter(c.window().link)
	b.Arrive("/activate")
	c.reaches(b, s.URL, s.Fingerprint, user, "/password")
	b.Type(servertest.UserPassword)
	b.Submit("\r")
}

// close ends the window as a computer that is switched off would.
func (w *window) close() {
	w.cmd.Process.Kill()
	w.cmd.Wait()
}

// reaches fills in the first step and waits until the page at has come, or the
// one that says why it does not.
func (c *client) reaches(b *webtest.Browser, server, fingerprint, user, at string) {
	c.t.Helper()
	if fingerprint != "" {
		b.Click("details summary")
		b.Fill("#f-fingerprint", fingerprint)
	}
	b.Fill("#f-server", server)
	b.Fill("#f-user", user)
	b.Click("#submit")
	b.Arrive(at)
}

// settled waits until the page that shows the way to a server shows its end.
func settled(b *webtest.Browser) {
	b.Await(`document.querySelector('#way') && !document.querySelector('#way[data-live]')`)
}

// inEach does something in every language, chosen on the page of the window that
// the browser shows, and leaves it in English.
func inEach(b *webtest.Browser, do func(lang locale.Lang)) {
	for _, lang := range languages() {
		speak(b, lang)
		do(lang)
	}
	speak(b, locale.English)
}

func speak(b *webtest.Browser, lang locale.Lang) {
	b.Follow("header .languages button[value=" + string(lang) + "]")
}

// lookWindow looks at a page of the window in every language.
func lookWindow(t *testing.T, b *webtest.Browser, name string) {
	t.Helper()
	inEach(b, func(lang locale.Lang) { look(t, b, lang, name) })
}

// The first log-in of S0, step by step: an administrator makes an account, the
// mail has a temporary password, and the window leads from a server that cannot
// be reached to Ready for Backup.
func TestWindowFirstLogin(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	m := withMail(t, s, func(*settings.Settings) {})
	b := webtest.Open(t)
	b.Go(s.URL + "/admin/users/new")
	b.Type("admin\t" + servertest.AdminPassword)
	b.Submit("\r")
	b.Fill("#f-username", "cleo")
	b.Fill("#f-email", "cleo@example.org")
	b.Click("[name=no_mail]") // no mail has gone out yet, so that the console doubts that any does
	b.Follow("form.card button.btn-primary")
	want(t, b, "created user", "cleo")
	secret := m.Wait("cleo@example.org", mail.Activation).Secret()

	c := newClient(t, s)
	folder := filepath.Join(filepath.Dir(c.state), "Documents")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "letter.txt"), []byte("Dear Ada"), 0o644); err != nil {
		t.Fatal(err)
	}
	setFolders(t, s, "~/Documents")
	changeProfile(t, s, func(p *profile.Settings) { p.QuotaBytes = 5_000_000_000 })
	w := c.window()
	b.Enter(w.link)
	b.Arrive("/activate")
	want(t, b, "first step", "Activate Backup", "E-mail or username", "Continue", "Proxy settings", "New online account", "Recover lost password")
	lookWindow(t, b, "window-activate")

	b.Click("#submit")
	b.Await(`document.querySelector('.field-error')`)
	want(t, b, "nothing typed", "Enter the address of the server")
	b.Problems()
	c.reaches(b, "https://nowhere.invalid", "", "cleo", "/connect")
	settled(b)
	want(t, b, "no such server", "Unable to connect to the backup server. Check the internet connection or the proxy settings.", "There is no computer named nowhere.invalid.", "E1001", "Try again", "Proxy settings", "Connected: not checked")
	lookWindow(t, b, "window-unreachable")

	b.Follow("p.aside a")
	c.reaches(b, s.URL, "", "cleo", "/connect")
	settled(b)
	want(t, b, "self-signed", "The server security certificate is not trusted by this client. Contact your administrator.", "E1002",
		"The certificate was issued by an authority that this computer does not know: CN=Backstay server", "Certificate: CN=Backstay server", "Issued by: CN=Backstay server", "SHA-256 of the key (fingerprint)", s.Fingerprint)
	if page := strings.ToLower(b.Text()); strings.Contains(page, "continue") || strings.Contains(page, "anyway") {
		t.Errorf("there is a way on past an untrusted certificate:\n%s", page)
	}
	lookWindow(t, b, "window-untrusted")

	b.Follow("p.aside a")
	c.reaches(b, s.URL, s.Fingerprint, "cleo", "/password")
	want(t, b, "password", "Password", "Log in", "cleo", "Recover lost password")
	b.Type("wrong password")
	b.Submit("\r")
	want(t, b, "wrong password", "Authentication failed", "E1101")
	b.Problems()
	b.Shot(pictures, "window-password-wrong")
	b.Go(b.URL())
	lookWindow(t, b, "window-password")
	b.Fill("#f-password", secret)
	b.Follow("#submit")
	want(t, b, "first log-in", "Choose a new password", "New password", "Verify", "Continue", "A digit")
	b.Fill("#f-password", "password")
	b.Fill("#f-again", "password")
	b.Follow("#submit")
	want(t, b, "a password against the rules", "This password cannot be used")
	b.Problems()
	b.Shot(pictures, "window-new-password-wrong")
	b.Go(b.URL())
	lookWindow(t, b, "window-new-password")
	b.Fill("#f-password", "My-Own-Password-7")
	b.Fill("#f-again", "My-Own-Password-7")
	b.Follow("#submit")
	b.Arrive("/ready")
	b.Await(`!document.querySelector('#sizes[data-live]')`)
	want(t, b, "the end", "Ready for Backup", "Documents", "1 file", "Room left on the server", "The first backup begins now", "no Backstay service", "Start using Backstay")
	lookWindow(t, b, "window-ready")
	b.Follow("#submit")
	b.Shot(pictures, "window-home")
	// The window backs up by itself, since there is no service here.
	within(t, "the first backup", func() bool { return strings.Contains(c.run("status"), "Protected.") })
	b.Go(b.URL())
	want(t, b, "home", "Protected.")
}

// Who has devices chooses: a name that is taken, one more, another's place, and
// the same computer again with what that changes.
func TestWindowDevices(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	s.NewDevice(s.User, host)
	s.NewDevice(s.User, "OLD-LAPTOP")
	c := newClient(t, s)
	b := webtest.Open(t)
	w := c.window()
	b.Enter(w.link)
	b.Arrive("/activate")
	c.reaches(b, s.URL, s.Fingerprint, "user", "/password")
	b.Type(servertest.UserPassword)
	b.Submit("\r")
	want(t, b, "the same name", "Device with the same name is already configured", "Replace", "Add as "+host+"-2", "Cancel", "OLD-LAPTOP")
	lookWindow(t, b, "window-same-name")

	// The computer is switched off in the middle: the window opens where it was.
	w.close()
	w = c.window()
	b.Enter(w.link)
	b.Arrive("/devices")
	want(t, b, "after a restart", "Device with the same name is already configured")
	b.Follow("form:has(input[value=add]) button")
	b.Arrive("/ready")
	want(t, b, "one more", "Ready for Backup", host+"-2")

	// The device is deactivated, and activated again.
	b.Follow("#submit")
	id := deviceNamed(t, s, host+"-2")
	deactivate(t, s, id)
	w.close()
	c.unlink(s)
	w = c.window()
	b.Enter(w.link)
	b.Await(`document.querySelector('a[href$="/activate"]')`)
	b.Follow(`a[href$="/activate"]`)
	b.Click("#submit")
	b.Arrive("/password")
	b.Type(servertest.UserPassword)
	b.Submit("\r")
	want(t, b, "known by its key", "This computer was activated before, as "+host+"-2", "Reactivate")
	lookWindow(t, b, "window-reactivate")
	b.Follow("form.option-first button")
	want(t, b, "the preview", "Reactivate "+host+"-2", "no first backup, no full scan", "These folders come back", "Music", "Backup interval", "Bandwidth", "CPU priority")
	inEach(b, func(lang locale.Lang) {
		want(t, b, "the preview", map[locale.Lang]string{locale.English: "Low → Normal", locale.French: "Bas → Normal"}[lang])
		look(t, b, lang, "window-preview")
	})
	b.Follow("#submit")
	b.Arrive("/ready")
	want(t, b, "reactivated", "Ready for Backup", "again", "incremental", "no limit to what you may store")

	// Another computer takes the place of an old one. Only the organisation has a
	// limit.
	write(t, s, func(tx *db.Tx) error {
		return orgs.SetQuota(t.Context(), tx, access.System("test"), s.Org.ID, 3_000_000_000)
	})
	second := newClient(t, s)
	other := second.window()
	b.Enter(other.link)
	b.Arrive("/activate")
	second.reaches(b, s.URL, s.Fingerprint, "user", "/password")
	b.Type(servertest.UserPassword)
	b.Submit("\r")
	b.Follow(fmt.Sprintf("form:has(input[value='%s']):has(input[value=replace]) button", deviceNamed(t, s, "OLD-LAPTOP")))
	want(t, b, "the preview", "Replace OLD-LAPTOP", "the old computer backs up no more")
	lookWindow(t, b, "window-replace")
	b.Follow("#submit")
	b.Arrive("/ready")
	want(t, b, "replaced", "Ready for Backup", "taken the place", "Room left on the server: 3")
	b.Problems()
}

// New online account (S4): registration with a mailed code ends at Ready for
// Backup; and a lost password is recovered from the same window.
func TestWindowRegisters(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	m := withMail(t, s, func(x *settings.Settings) {
		x.Registration.Mode, x.Registration.Domains = settings.RegistrationOpen, []string{"example.org"}
		x.Registration.Org = s.Org.ID
	})
	c := newClient(t, s)
	b := webtest.Open(t)
	w := c.window()
	b.Enter(w.link)
	b.Arrive("/activate")
	b.Click("details summary")
	b.Fill("#f-server", s.URL)
	b.Fill("#f-fingerprint", s.Fingerprint)
	b.Fill("#f-user", "marie@example.org")
	b.Click(`button[value="/register"]`)
	b.Arrive("/register")
	want(t, b, "registration", "New online account", "E-mail", "Confirm password", "Register")
	lookWindow(t, b, "window-register")
	b.Fill("#f-password", "Radium-1898-Polonium")
	b.Fill("#f-again", "Radium-1898-Polonium")
	b.Follow("#submit")
	want(t, b, "the code", "Check your e-mail", "marie@example.org", "Confirm registration", "Resend registration code", "possible in")
	lookWindow(t, b, "window-code")
	paste(b, "[name=code]", "000000")
	b.Follow("#submit")
	want(t, b, "a wrong code", "That code is not correct", "E1108")
	b.Problems()
	code := m.Wait("marie@example.org", mail.RegistrationCode).Code
	// Somebody comes back later: the code is what is asked for.
	w.close()
	w = c.window()
	b.Enter(w.link)
	b.Arrive("/register/code")
	paste(b, "[name=code]", code)
	b.Click("#submit")
	b.Arrive("/password")
	b.Follow(`p.links a`)
	want(t, b, "recovery", "Recover lost password", "Send reset link")
	lookWindow(t, b, "window-forgot")
	b.Follow("#submit")
	want(t, b, "the mail", "Check your e-mail", "If what you entered is right")
	m.Wait("marie@example.org", mail.Reset)
	b.Follow("#submit")
	b.Click("#submit")
	b.Arrive("/password")
	b.Type("Radium-1898-Polonium")
	b.Submit("\r")
	b.Arrive("/ready")
	want(t, b, "the end", "Ready for Backup", "marie@example.org")
}

// A proxy that asks for a password: the step that fails is named, and the
// settings lead on.
func TestWindowProxy(t *testing.T) {
	t.Parallel()
	proxy := proxytest.Start(t, proxytest.Options{Password: true})
	s := servertest.New(t, func(cfg *server.Config) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		cfg.Listen = l.Addr().String()
		_, port, _ := net.SplitHostPort(cfg.Listen)
		cfg.PublicURL = "https://" + proxytest.Host + ":" + port
	})
	c := newClient(t, s)
	b := webtest.Open(t)
	w := c.window()
	b.Enter(w.link)
	b.Arrive("/activate")
	c.reaches(b, s.Config.PublicURL, s.Fingerprint, "user", "/connect")
	settled(b)
	want(t, b, "without it", "There is no computer named "+proxytest.Host, "E1001")
	b.Follow(`a[href$="/proxy"]`)
	want(t, b, "proxy settings", "Proxy settings", "As the system says", "No proxy")
	b.Click("input[value=manual]")
	b.Fill("#f-url", proxy.Addr)
	lookWindow(t, b, "window-proxy")
	b.Click("input[value=manual]")
	b.Fill("#f-url", proxy.Addr)
	b.Click("#submit")
	b.Arrive("/connect")
	settled(b)
	want(t, b, "without its password", "The proxy server requires a user name and password.", "asks for a user name and a password. E1003", "Connected")
	lookWindow(t, b, "window-proxy-refuses")
	b.Follow(`a[href$="/proxy"]`)
	b.Fill("#f-username", proxytest.Username)
	b.Fill("#f-password", proxytest.Password)
	b.Follow(`button[formaction$="/test"]`)
	want(t, b, "the test", "Proxy passed", "The server is reached with these settings.")
	b.Click("#submit") // what was typed for the test is not typed again
	b.Arrive("/password")
	b.Type(servertest.UserPassword)
	b.Submit("\r")
	b.Arrive("/ready")
	want(t, b, "the end", "Ready for Backup")
}

// The administrator's list of servers: with one there is nothing to choose, with
// two the first is meant and another may be typed.
func TestWindowEditions(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	c := newClient(t, s)
	list := func(more string) string {
		path := filepath.Join(t.TempDir(), "editions.toml")
		text := fmt.Sprintf("[[edition]]\nname = \"Headquarters\"\nurl = %q\nca_fingerprint = %q\n%s", s.URL, s.Fingerprint, more)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return "BACKSTAY_EDITIONS=" + path
	}
	b := webtest.Open(t)
	w := c.window(list("[[edition]]\nname = \"Government\"\nurl = \"https://gov.example.org\"\n"))
	b.Enter(w.link)
	b.Arrive("/activate")
	want(t, b, "two servers", "Headquarters", "Government", "Other server…")
	lookWindow(t, b, "window-editions")
	w.close()
	w = c.window(list(""))
	b.Enter(w.link)
	b.Arrive("/activate")
	if page := b.Text(); strings.Contains(page, "Headquarters") || strings.Contains(page, "address") {
		t.Errorf("with one server there is something to choose:\n%s", page)
	}
	b.Type("user") // the one field has the focus
	b.Type("\r")
	b.Arrive("/password")
	want(t, b, "reached", "Password")
}

// within waits until something has happened that nothing tells of.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.NewTimer(time.Minute)
	defer end.Stop()
	for !ok() {
		select {
		case <-end.C:
			t.Fatalf("%s does not happen", what)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// write does something behind the pages.
func write(t *testing.T, s *servertest.Server, do func(tx *db.Tx) error) {
	t.Helper()
	if err := s.DB.Write(t.Context(), do); err != nil {
		t.Fatal(err)
	}
}

// setFolders has the profile back folders up.
func setFolders(t *testing.T, s *servertest.Server, paths ...string) {
	t.Helper()
	write(t, s, func(tx *db.Tx) error {
		p, err := profiles.Default(t.Context(), tx, s.Org.ID)
		if err != nil {
			return err
		}
		p.Settings.Folders = nil
		for _, path := range paths {
			p.Settings.Folders = append(p.Settings.Folders, profile.Folder{Path: path})
		}
		_, err = profiles.Save(t.Context(), tx, access.System("test"), p.ID, p.Revision, profiles.Changes{Settings: &p.Settings})
		return err
	})
}

func deviceNamed(t *testing.T, s *servertest.Server, name string) (id devices.ID) {
	t.Helper()
	write(t, s, func(tx *db.Tx) error {
		return tx.QueryRow(t.Context(), "SELECT id FROM devices WHERE name = $1", name).Scan(&id)
	})
	return id
}

func deactivate(t *testing.T, s *servertest.Server, id devices.ID) {
	t.Helper()
	write(t, s, func(tx *db.Tx) error {
		return devices.SetState(t.Context(), tx, access.System("test"), id, devices.Deactivated, "")
	})
}

// unlink has the user take a folder of the profile off on this computer, and
// choose interval, bandwidth and priority.
func (c *client) unlink(s *servertest.Server) {
	c.t.Helper()
	setFolders(c.t, s, "~/Documents", "~/Music")
	st, err := state.Open(c.state)
	if err == nil {
		err = st.SetChoices(profile.Choices{IntervalMinutes: 480, UpKbps: 512, CPU: profile.CPULow, Unlinked: []string{"~/Music"}})
	}
	if err != nil {
		c.t.Fatal(err)
	}
}
