package mail_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/mail/mailtest"
	"github.com/backstay/backstay/server/settings"
)

// openSMTPD runs Debian's mail server until the end of the test, on a port of
// its own; it passes mail for example.org on to a server of ours, and refuses
// any other. Its folders are fixed, so it gets them empty in a mount namespace,
// for which this must be root or may become it.
//
// Debian 12 links it with an OpenSSL that it cannot serve TLS with
// (https://github.com/OpenSMTPD/OpenSMTPD/issues/1171), so it speaks in the clear.
func openSMTPD(t *testing.T, next *mailtest.Server) settings.Mail {
	t.Helper()
	port := freePort(t)
	conf := filepath.Join(t.TempDir(), "smtpd.conf")
	err := os.WriteFile(conf, fmt.Appendf(nil, `listen on 127.0.0.1 port %d hostname mail.backstay.example
action "on" relay host "smtp://127.0.0.1:%d" helo mail.backstay.example
match from local for domain "example.org" action "on"
`, port, next.Settings.Port), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	run := []string{"unshare", "--mount", "--kill-child", "sh", "-c",
		`mount -t tmpfs none /var/spool && mkdir -m 711 /var/spool/smtpd && mount -t tmpfs none /run && exec /usr/sbin/smtpd -d -f "$0"`, conf}
	if os.Geteuid() != 0 {
		run = append([]string{"sudo", "-n"}, run...)
	}
	cmd := exec.Command(run[0], run[1:]...)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting OpenSMTPD (scripts/need test installs it): %v", err)
	}
	in.Close()
	said := make(chan string, 1)
	go func() {
		var all strings.Builder
		for lines := bufio.NewScanner(out); lines.Scan(); {
			all.WriteString(lines.Text() + "\n")
		}
		said <- all.String()
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		cmd.Wait()
		if text := <-said; t.Failed() {
			t.Logf("OpenSMTPD said:\n%s", text)
		}
		out.Close()
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("OpenSMTPD does not listen: %v", err)
		}
	}
	cfg := next.Settings
	cfg.Port = port
	return cfg
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// A mail server that others wrote takes our mails, and hands them on whole.
func TestOpenSMTPD(t *testing.T) {
	t.Parallel()
	f, end := newFixture(t), mailtest.New(t)
	f.use(&mailtest.Server{Settings: openSMTPD(t, end)})
	f.start(f.d, nil)
	taken := mail.Mail{To: "zoe@example.org", Language: "fr", Template: mail.Activation, Values: map[string]string{
		"username": "zoé", "link": resetLink, "secret": "tulip-84-copper-oak", "days": "7", "portal": "https://backup.example.org/"}}
	f.queue(taken)
	m := end.Wait(taken.To, mail.Activation)
	if m.Subject != "Votre compte de sauvegarde zoé" || m.Link() != resetLink || m.Secret() != "tulip-84-copper-oak" {
		t.Errorf("it came as %q with %q", m.Subject, m.Shown)
	}
	if by := m.Header.Get("Received"); !strings.Contains(by, "OpenSMTPD") {
		t.Errorf("it did not go through OpenSMTPD: %q", by)
	}
	if id := m.Header["Message-Id"]; len(id) != 1 || !strings.HasSuffix(id[0], "@backstay.example>") {
		t.Errorf("Message-ID: %q", id)
	}
	f.until("sent", is(mail.Sent))
	f.queue(reset("marie@elsewhere.example"))
	r := f.until("refused", is(mail.Failed))
	if r.Err == nil || r.Err.Key != "mail.error.recipient" || !strings.Contains(fmt.Sprint(r.Err.Args["answer"]), "Invalid recipient") {
		t.Errorf("it refuses with %v", r.Err)
	}
}
