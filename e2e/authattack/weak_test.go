package authattack_test

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/server/db"
)

// between stands between browsers and the server.
type between func(next http.RoundTripper, r *http.Request) (*http.Response, error)

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// put puts something between all browsers and the server.
func (w *world) put(f between) {
	next := w.wire
	w.wire = transport(func(r *http.Request) (*http.Response, error) { return f(next, r.Clone(r.Context())) })
}

// before does something to the database before each request.
func before(statements ...string) func(*world) {
	return func(w *world) {
		w.put(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			w.exec(statements...)
			return next.RoundTrip(r)
		})
	}
}

// exec runs statements. The database may be gone: then there is nothing to do.
func (w *world) exec(statements ...string) {
	w.DB.Write(w.Context(), func(tx *db.Tx) error {
		for _, s := range statements {
			if _, err := tx.Exec(w.Context(), s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	})
}

// kept has rows of a table come back when they were deleted. key is its primary
// key.
func kept(table, key string) func(*world) {
	return func(w *world) {
		copied := "kept_" + table
		w.exec("CREATE TABLE " + copied + " AS SELECT * FROM " + table)
		before(
			"INSERT INTO "+copied+" SELECT * FROM "+table+" WHERE "+key+" NOT IN (SELECT "+key+" FROM "+copied+")",
			"INSERT INTO "+table+" SELECT * FROM "+copied+" WHERE "+key+" NOT IN (SELECT "+key+" FROM "+table+")",
		)(w)
	}
}

// all weakens in several ways.
func all(list ...func(*world)) func(*world) {
	return func(w *world) {
		for _, f := range list {
			f(w)
		}
	}
}

// lent has the server take everybody for its administrator, or for its user:
// only who comes without a session, or everybody.
func lent(everybody bool) func(*world) {
	return func(w *world) {
		user, admin := w.browser().login("user").session(), w.console().login("admin").session()
		w.put(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/login") || strings.HasSuffix(r.URL.Path, "/logout") || strings.HasSuffix(r.URL.Path, "/end") {
				return next.RoundTrip(r) // what is lent is still needed
			}
			if everybody {
				r.Header.Del("Cookie")
			}
			if !strings.Contains(r.Header.Get("Cookie"), userCookie) && !strings.Contains(r.Header.Get("Cookie"), adminCookie) {
				r.AddCookie(&http.Cookie{Name: userCookie, Value: user})
				r.AddCookie(&http.Cookie{Name: adminCookie, Value: admin})
				r.AddCookie(&http.Cookie{Name: "__Host-backstay-check", Value: "1"})
			}
			return next.RoundTrip(r)
		})
	}
}

// asked changes requests.
func asked(change func(*http.Request)) func(*world) {
	return func(w *world) {
		w.put(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			change(r)
			return next.RoundTrip(r)
		})
	}
}

// answered changes answers.
func answered(change func(*http.Response)) func(*world) {
	return func(w *world) {
		w.put(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			answer, err := next.RoundTrip(r)
			if err == nil {
				change(answer)
			}
			return answer, err
		})
	}
}

// bodyOf is a request's body, which can be read again.
func bodyOf(r *http.Request) string {
	if r.Body == nil {
		return ""
	}
	body, _ := io.ReadAll(r.Body)
	r.Body.Close()
	r.Body = io.NopCloser(bytes.NewReader(body))
	return string(body)
}

// rewritten changes the body of an answer.
func rewritten(change func(string) string) func(*http.Response) {
	return func(a *http.Response) {
		body, _ := io.ReadAll(a.Body)
		a.Body.Close()
		text := change(string(body))
		a.Body, a.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		a.Header.Del("Content-Length")
	}
}

// ours makes every request one that a page of ours seems to have sent.
func ours(r *http.Request) {
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Origin", "https://"+r.URL.Host)
}

// told has answers say whether somebody has that name.
func told(w *world) {
	w.put(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		there := strings.Contains(bodyOf(r), "zebrafinch")
		answer, err := next.RoundTrip(r)
		if err == nil && there {
			answer.Header.Set("Content-Language", "known")
		}
		return answer, err
	})
}

// slower takes longer where a body has a text.
func slower(by time.Duration, where func(*http.Request) bool) func(*world) {
	return asked(func(r *http.Request) {
		if where(r) {
			time.Sleep(by)
		}
	})
}

// slowForDevices takes longer for devices that there are.
func slowForDevices(w *world) {
	slower(60*time.Millisecond, func(r *http.Request) (there bool) {
		id, ok := strings.CutPrefix(r.URL.Path, "/devices/")
		if ok {
			w.read(func(ctx context.Context, tx *db.Tx) error {
				var n int
				err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM devices WHERE id = $1", id).Scan(&n)
				there = n > 0
				return err
			})
		}
		return there
	})(w)
}

// hurried has the server do nothing about names that nobody has.
func hurried(w *world) {
	w.put(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if strings.Contains(bodyOf(r), "nobody") && r.Method == http.MethodPost {
			r.Method, r.Body, r.ContentLength = http.MethodGet, nil, 0
		}
		return next.RoundTrip(r)
	})
}

// gullible makes links from what a request calls the server.
func gullible(w *world) {
	var mu sync.Mutex
	host := w.Config.PublicURL
	w.Gate.URL = func() string {
		mu.Lock()
		defer mu.Unlock()
		return host
	}
	w.put(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if forged := r.Header.Get("X-Forwarded-Host"); forged != "" {
			mu.Lock()
			host = "https://" + forged
			mu.Unlock()
		}
		return next.RoundTrip(r)
	})
}

var given = regexp.MustCompile(`"token":"([^"]+)"`)

// prefixed compares tokens by their beginning: eight characters of one that was
// given out are as good as all of it.
func prefixed(w *world) {
	var mu sync.Mutex
	var good []string
	whole := func(token string) string {
		mu.Lock()
		defer mu.Unlock()
		for _, known := range good {
			begin := known[:min(len(known), 12)]
			if len(token) >= 8 && (strings.HasPrefix(token, begin) || strings.HasPrefix(begin, token)) {
				return known
			}
		}
		return token
	}
	w.put(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		for name, values := range r.Header {
			for i, value := range values {
				switch name {
				case "Cookie":
					if token, ok := strings.CutPrefix(value, userCookie+"="); ok {
						values[i] = userCookie + "=" + whole(token)
					}
				case "Authorization":
					values[i] = "Bearer " + whole(strings.TrimPrefix(value, "Bearer "))
				case "Backstay-User-Token":
					values[i] = whole(value)
				}
			}
		}
		answer, err := next.RoundTrip(r)
		if err != nil {
			return answer, err
		}
		rewritten(func(body string) string {
			mu.Lock()
			defer mu.Unlock()
			for _, c := range answer.Cookies() {
				if c.Name == userCookie && c.Value != "" {
					good = append(good, c.Value)
				}
			}
			for _, m := range given.FindAllStringSubmatch(body, -1) {
				good = append(good, m[1])
			}
			return body
		})(answer)
		return answer, nil
	})
}

// cached gives everybody what somebody has fetched, and goes on to do so when
// the server cannot.
func cached(w *world) {
	var mu sync.Mutex
	type page struct {
		header http.Header
		body   []byte
	}
	pages := map[string]page{}
	w.put(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		if p, ok := pages[r.URL.String()]; ok && r.Method == http.MethodGet {
			return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", Header: p.header, Body: io.NopCloser(bytes.NewReader(p.body)), Request: r}, nil
		}
		answer, err := next.RoundTrip(r)
		if err == nil && r.Method == http.MethodGet && answer.StatusCode == http.StatusOK {
			var body []byte
			rewritten(func(text string) string { body = []byte(text); return text })(answer)
			pages[r.URL.String()] = page{answer.Header.Clone(), body}
		}
		return answer, err
	})
}

// shortened changes the passwords of forms.
func shortened(change func(string) string) func(*http.Request) {
	return func(r *http.Request) {
		form, err := url.ParseQuery(bodyOf(r))
		if err != nil || len(form) == 0 {
			return
		}
		for _, name := range []string{"password", "again", "old"} {
			for i, value := range form[name] {
				form[name][i] = change(value)
			}
		}
		text := form.Encode()
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		r.GetBody = nil
	}
}

// chatty logs what people send.
func chatty(w *world) {
	w.put(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		fmt.Fprintf(w.logs, "{\"time\":1,\"body\":%q}\n", bodyOf(r))
		return next.RoundTrip(r)
	})
}

// naive serves files by whatever path comes after /static/.
func naive(w *world) {
	w.front = func(_, asked string) (answer, bool) {
		name, ok := strings.CutPrefix(asked, "/static/")
		if !ok {
			return answer{}, false
		}
		name, err := url.PathUnescape(name)
		if err != nil {
			return answer{}, false
		}
		text, err := os.ReadFile(path.Clean("/" + name))
		if err != nil {
			return answer{}, false
		}
		return answer{&http.Response{StatusCode: http.StatusOK, Status: "200 OK"}, string(text)}, true
	}
}

// overridden takes a method from a header, as some frameworks do.
func overridden(r *http.Request) {
	for _, name := range []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		if method := r.Header.Get(name); method != "" {
			r.Method = method
			ours(r)
		}
	}
}

// unescaped writes texts as they came.
var unescaped = rewritten(html.UnescapeString)

// without takes a header away from every answer.
func without(name string) func(*world) {
	return answered(func(a *http.Response) { a.Header.Del(name) })
}

// assigned sets a role that a form asks for.
func assigned(w *world) {
	w.put(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if strings.Contains(bodyOf(r), "role=server_admin") {
			w.exec("UPDATE users SET role = 'server_admin' WHERE username = 'viewer'")
		}
		return next.RoundTrip(r)
	})
}

// scripted lets scripts read cookies.
func scripted(a *http.Response) {
	for i, c := range a.Header["Set-Cookie"] {
		a.Header["Set-Cookie"][i] = strings.ReplaceAll(c, "; HttpOnly", "")
	}
}

// sticky keeps the token that a browser came with.
func sticky(w *world) {
	w.put(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		had := strings.Contains(r.Header.Get("Cookie"), userCookie)
		answer, err := next.RoundTrip(r)
		if err == nil && had {
			answer.Header["Set-Cookie"] = slices.DeleteFunc(answer.Header["Set-Cookie"], func(c string) bool { return strings.HasPrefix(c, userCookie) })
		}
		return answer, err
	})
}

// linked does by a link what needs a form.
func linked(w *world) {
	w.put(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if err == nil && r.Method == http.MethodGet && (answer.StatusCode == http.StatusMethodNotAllowed || answer.StatusCode == http.StatusNotFound) {
			answer.Body.Close()
			r.Method = http.MethodPost
			ours(r)
			return next.RoundTrip(r)
		}
		return answer, err
	})
}
