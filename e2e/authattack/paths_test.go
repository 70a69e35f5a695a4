package authattack_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
)

// Paths mean one thing, however they are written.
func paths(t testing.TB) {
	w := newWorld(t)
	user, stranger := w.browser().login("user"), w.browser()
	device := w.NewDevice(w.User, "laptop").DeviceID
	before := w.dump()
	for _, path := range []string{
		"/admin/../account", "/static/../account", "/static/%2e%2e/account", "/static/..%2faccount", "/static/..%5caccount", "/..;/account", "/account;/",
		"//account", "/./account", "/%61ccount/..%2f..%2fadmin/users", "/login/../account", "/login/..%2faccount", "/login%2f..%2faccount", "/account%00",
		"/static/..%252f..%252fetc/passwd", "/static/../../../../etc/passwd", "/static/..%2f..%2f..%2fetc%2fpasswd", "/static//etc/passwd", "/static/%00",
		"/devices/..%2f..%2fadmin%2fusers", "/devices/" + device + "%2f..%2f..%2fx", "/devices/%2e%2e/", "/devices/" + strings.Repeat("a", 5000), "/ACCOUNT", "/Admin/users",
		"/agent/v1/../../account", "/agent/v1/..%2fprofile", "/agent%2fv1%2fprofile", "/.%00./account",
	} {
		for _, b := range []*browser{user, stranger} {
			a := b.raw("GET", path)
			if a.StatusCode >= 500 || strings.Contains(a.body, "root:") {
				t.Errorf("GET %s = %s", path, a.Status)
			}
			if b == stranger && a.StatusCode == http.StatusOK && !strings.Contains(path, "/login") {
				t.Errorf("GET %s as nobody = %s", path, a.Status)
			}
			if strings.Contains(path, "users") && a.StatusCode == http.StatusOK {
				t.Errorf("GET %s as a user = %s", path, a.Status)
			}
		}
	}
	// A name is a name, whatever stands in it.
	for i, name := range []string{"a/b", "../admin", "a%2fb", "..", "<script>"} {
		u, err := w.NewAccount(t.Context(), system, accounts.New{Org: w.Org.ID, Kind: access.UserKind, Username: name}, "User-Password-1")
		if err != nil {
			continue // refused, which is fine
		}
		d := w.NewDevice(u, fmt.Sprintf("laptop %d", i))
		b := w.browser().login(name)
		if a := b.get("/devices/" + d.DeviceID); a.StatusCode != http.StatusOK {
			t.Errorf("%q sees their device = %s", name, a.Status)
		}
		if a := b.get("/devices/" + device); a.StatusCode != http.StatusNotFound {
			t.Errorf("%q sees another's device = %s", name, a.Status)
		}
	}
	for _, line := range lost(before, w.dump()) {
		t.Errorf("changed: %s", line)
	}
}

// raw asks for a path exactly as it is written, which no client of ours does.
func (b *browser) raw(method, path string) answer {
	b.w.Helper()
	if b.w.front != nil {
		if a, ok := b.w.front(method, path); ok {
			return a
		}
	}
	if b.conn == nil {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(b.w.URL, "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			b.w.Fatal(err)
		}
		b.w.Cleanup(func() { conn.Close() })
		b.conn, b.reader = conn, bufio.NewReader(conn)
	}
	fmt.Fprintf(b.conn, "%s %s HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: %s\r\nCookie: %s=%s\r\n\r\n",
		method, path, b.home().Host, b.ip, userCookie, b.session())
	response, err := http.ReadResponse(b.reader, nil)
	if err != nil {
		b.w.Fatalf("%s %.100s: %v", method, path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.w.Fatal(err)
	}
	if response.Close {
		b.conn.Close()
		b.conn = nil
	}
	return answer{response, string(body)}
}

// No method is another, and none takes away what is stored.
func methods(t testing.TB) {
	w := newWorld(t)
	user := w.browser().login("user")
	d := w.NewDevice(w.User, "laptop")
	device, made := d.DeviceID, w.backUp(d)
	for _, method := range []string{"PUT", "DELETE", "PATCH", "MOVE", "COPY", "MKCOL", "LOCK", "LINK"} {
		for _, path := range []string{"/account", "/devices/" + device, "/", "/static/x.js"} {
			if a := user.do(user.request(method, path, strings.NewReader("x"))); a.StatusCode < 400 || a.StatusCode >= 500 {
				t.Errorf("%s %s = %s", method, path, a.Status)
			}
		}
	}
	// What a device has sent, it can neither change nor take away.
	token, kept := w.deviceToken(d), w.about(d)
	for _, method := range []string{"PUT", "DELETE", "PATCH", "MOVE", "COPY", "LOCK"} {
		for _, call := range []string{"snapshots", "snapshots/" + made.hash, "sessions", "profile", "next", "sessions/x/packs/" + putID()} {
			if a := w.device(method, call, token, "", []byte("x")); a.StatusCode < 400 || a.StatusCode >= 500 {
				t.Errorf("a device, %s %s = %s", method, call, a.Status)
			}
		}
	}
	for _, line := range lost(kept, w.about(d)) {
		t.Errorf("changed by its device: %s", line)
	}
	for _, header := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
		r := user.request("GET", "/logout", nil)
		r.Header.Set(header, "POST")
		if user.do(r); !user.in() {
			t.Errorf("%s made a GET a POST", header)
		}
	}
	if a := user.do(user.request("GET", "/logout?_method=POST", nil)); a.StatusCode < 400 || !user.in() {
		t.Error("_method made a GET a POST")
	}
}
