package connection

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/wire"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// The functions, each as browsers have it.
func TestFunctions(t *testing.T) {
	t.Parallel()
	// A Wednesday, 18 February 2026, 14:30:15, where the computer is.
	now := time.Date(2026, time.February, 18, 14, 30, 15, 0, time.Local)
	for expression, want := range map[string]string{
		`isPlainHostName("www")`:                                              "true",
		`isPlainHostName("www.example.org")`:                                  "false",
		`isPlainHostName("::1")`:                                              "false",
		`dnsDomainIs("www.example.org", ".example.org")`:                      "true",
		`dnsDomainIs("www", ".example.org")`:                                  "false",
		`localHostOrDomainIs("www", "www.example.org")`:                       "true",
		`localHostOrDomainIs("www.example.org", "www.example.org")`:           "true",
		`localHostOrDomainIs("home.example.org", "www.example.org")`:          "false",
		`isResolvable("127.0.0.1")`:                                           "true",
		`isResolvable("nowhere.invalid")`:                                     "false",
		`isInNet("127.0.0.1", "127.0.0.0", "255.0.0.0")`:                      "true",
		`isInNet("localhost", "127.0.0.0", "255.0.0.0")`:                      "true",
		`isInNet("10.1.2.3", "10.1.0.0", "255.255.0.0")`:                      "true",
		`isInNet("10.2.2.3", "10.1.0.0", "255.255.0.0")`:                      "false",
		`isInNet("nowhere.invalid", "10.1.0.0", "255.255.0.0")`:               "false",
		`isInNet("10.1.2.3", "ten", "255.255.0.0")`:                           "false",
		`dnsResolve("localhost")`:                                             "127.0.0.1",
		`dnsResolve("nowhere.invalid")`:                                       "null",
		`/^\d+\.\d+\.\d+\.\d+$/.test(myIpAddress())`:                          "true",
		`dnsDomainLevels("www")`:                                              "0",
		`dnsDomainLevels("www.example.org")`:                                  "2",
		`shExpMatch("http://a.example.org/x", "*/x")`:                         "true",
		`shExpMatch("a.example.org", "*.example.org")`:                        "true",
		`shExpMatch("a.example.org", "?.example.*")`:                          "true",
		`shExpMatch("a.example.org", "b*")`:                                   "false",
		`shExpMatch("aXexample.org", "a.example.org")`:                        "false",
		`shExpMatch("", "*")`:                                                 "true",
		`weekdayRange("WED")`:                                                 "true",
		`weekdayRange("TUE")`:                                                 "false",
		`weekdayRange("MON", "FRI")`:                                          "true",
		`weekdayRange("FRI", "MON")`:                                          "false",
		`weekdayRange("SAT", "WED")`:                                          "true",
		`weekdayRange("Wednesday")`:                                           "false",
		`dateRange(18)`:                                                       "true",
		`dateRange(19)`:                                                       "false",
		`dateRange(1, 20)`:                                                    "true",
		`dateRange("FEB")`:                                                    "true",
		`dateRange("NOV", "FEB")`:                                             "true",
		`dateRange("MAR", "OCT")`:                                             "false",
		`dateRange(2026)`:                                                     "true",
		`dateRange(2024, 2025)`:                                               "false",
		`dateRange(24, "DEC", 28, "FEB")`:                                     "true",
		`dateRange(1, "FEB", 17, "FEB")`:                                      "false",
		`dateRange("JAN", 2026, "MAR", 2026)`:                                 "true",
		`dateRange(19, "FEB", 2026, 1, "MAR", 2026)`:                          "false",
		`dateRange(18, "FEB", 2026, 18, "FEB", 2026)`:                         "true",
		`dateRange(1, "FEB")`:                                                 "false",
		`timeRange(14)`:                                                       "true",
		`timeRange(15)`:                                                       "false",
		`timeRange(8, 17)`:                                                    "true",
		`timeRange(22, 6)`:                                                    "false",
		`timeRange(22, 15)`:                                                   "true",
		`timeRange(14, 0, 14, 30)`:                                            "true",
		`timeRange(14, 31, 15, 0)`:                                            "false",
		`timeRange(14, 30, 15, 14, 30, 15)`:                                   "true",
		`timeRange(14, 30, 16, 14, 30, 20)`:                                   "false",
		fmt.Sprintf(`timeRange(%d, "GMT")`, now.UTC().Hour()):                 "true",
		fmt.Sprintf(`weekdayRange(%q, "GMT")`, weekdays[now.UTC().Weekday()]): "true",
		`alert("hello")`:                                                      "undefined",
	} {
		r := run(t.Context(), question{Source: "function FindProxyForURL() { return String(" + expression + ") }", Now: now})
		if r.Answer != want || r.Error != "" {
			t.Errorf("%s = %q (%s), want %s", expression, r.Answer, r.Error, want)
		}
	}
}

// script writes a proxy script and returns its address.
func script(t *testing.T, source string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "proxy.pac")
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file://" + path
}

var target = &url.URL{Scheme: "https", Host: "Backup.example.org:8443", Path: "/"}

func TestFindProxy(t *testing.T) {
	t.Parallel()
	var s Scripts
	got, err := s.FindProxy(t.Context(), script(t, `function FindProxyForURL(url, host) { return "PROXY " + host + ":1; " + url }`), target)
	if want := "PROXY backup.example.org:1; https://Backup.example.org:8443/"; got != want || err != nil {
		t.Errorf("FindProxy = %q, %v; want %q", got, err, want)
	}
}

// Whatever a script does, it ends soon and takes nothing else with it.
func TestHostileScripts(t *testing.T) {
	t.Parallel()
	in := func(body string) string { return "function FindProxyForURL(url, host) { " + body + " }" }
	for name, source := range map[string]string{
		"for ever":            in(`for (;;);`),
		"for ever while read": `for (;;);`,
		"a slow pattern":      in(`return String(/^(a+)+\1$/.test("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"))`),
		"all memory":          in(`var a = []; for (;;) a.push("x".repeat(1e6) + a.length)`),
		"one large string":    in(`var s = "x"; for (;;) s += s`),
		"brackets":            strings.Repeat("(", maxScript-10),
		"signs":               strings.Repeat("- ", maxScript/2-10) + "1",
		"calls":               in(`function f() { return f() + 1 } return f()`),
		"a throw":             in(`throw "no"`),
		"no function":         `var x = 1`,
		"no JavaScript":       `<html>`,
		"too large":           strings.Repeat(" ", maxScript+1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s Scripts
			began := time.Now()
			got, err := s.FindProxy(t.Context(), script(t, source), target)
			if err == nil || errors.Is(err, wire.ErrNoScript) {
				t.Errorf("FindProxy = %q, %v; want an error of the script", got, err)
			}
			if took := time.Since(began); took > childTime+2*time.Second {
				t.Errorf("it took %v", took)
			}
			t.Log(err)
		})
	}
}

// A script is fetched once, and again when it may have changed; one that cannot
// be had is asked for again soon, but not at once.
func TestScriptsAreKept(t *testing.T) {
	t.Parallel()
	fetched, status := 0, http.StatusOK
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetched++
		w.WriteHeader(status)
		fmt.Fprintf(w, `function FindProxyForURL() { return "PROXY p:%d" }`, fetched)
	}))
	defer web.Close()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s := Scripts{Now: func() time.Time { return now }}
	find := func() (string, error) { return s.FindProxy(context.Background(), web.URL+"/proxy.pac", target) }
	for _, want := range []string{"PROXY p:1", "PROXY p:1"} {
		if got, err := find(); got != want || err != nil {
			t.Errorf("FindProxy = %q, %v; want %q", got, err, want)
		}
	}
	now = now.Add(keepScript)
	if got, err := find(); got != "PROXY p:2" || err != nil {
		t.Errorf("after %v FindProxy = %q, %v", keepScript, got, err)
	}
	now, status = now.Add(keepScript), http.StatusNotFound
	for range 2 {
		if _, err := find(); !errors.Is(err, wire.ErrNoScript) {
			t.Errorf("without a script FindProxy = %v", err)
		}
	}
	if fetched != 3 {
		t.Errorf("it was fetched %d times, want 3", fetched)
	}
	now, status = now.Add(keepMissing), http.StatusOK
	if got, err := find(); got != "PROXY p:4" || err != nil {
		t.Errorf("when it is back FindProxy = %q, %v", got, err)
	}
	if _, err := s.FindProxy(t.Context(), "file:///nowhere/proxy.pac", target); !errors.Is(err, wire.ErrNoScript) {
		t.Errorf("a file that is not there: %v", err)
	}
}
