package osservice

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// plist reads the top of a property list: keys and what stands after them.
func plist(t *testing.T, text string) map[string]string {
	t.Helper()
	values := map[string]string{}
	dec := xml.NewDecoder(strings.NewReader(text))
	key, at := "", ""
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return values
		}
		if err != nil {
			t.Fatalf("the property list is no XML: %v\n%s", err, text)
		}
		switch x := token.(type) {
		case xml.StartElement:
			at = x.Name.Local
			if at == "true" || at == "false" {
				values[key] = at
			}
		case xml.EndElement:
			at = ""
		case xml.CharData:
			switch at {
			case "key":
				key = string(x)
			case "string", "integer":
				values[key] = strings.TrimSpace(values[key] + " " + string(x))
			}
		}
	}
}

// launchd starts the service with the computer, and again whenever it ends; it
// gives it time to end its agents.
func TestLaunchd(t *testing.T) {
	t.Parallel()
	cfg := launchdDefinition("/Applications/R & D/{{backstay}}")
	text := cfg.Option["LaunchdConfig"].(string)
	got := plist(t, text)
	for key, want := range map[string]string{
		"Label": cfg.Name, "ProgramArguments": "/Applications/R & D/{{backstay}} service run",
		"RunAtLoad": "true", "KeepAlive": "true", "Umask": "63", "StandardErrorPath": "/var/log/backstay.log",
	} {
		if got[key] != want {
			t.Errorf("%s = %q, want %q", key, got[key], want)
		}
	}
	if end, err := time.ParseDuration(got["ExitTimeOut"] + "s"); err != nil || end <= grace {
		t.Errorf("ExitTimeOut = %q, less than agents may take", got["ExitTimeOut"])
	}
	if got["AbandonProcessGroup"] == "true" || strings.Contains(text, "{{") {
		t.Errorf("agents outlive the service, or the path is taken for a template:\n%s", text)
	}
}

// Windows starts the service with the computer, as the system, and again after it
// ended.
func TestWindowsDefinition(t *testing.T) {
	t.Parallel()
	cfg := windowsDefinition(`C:\Program Files\Backstay\backstay.exe`)
	if !slices.Equal(cfg.Arguments, []string{"service", "run"}) || cfg.UserName != "" {
		t.Errorf("arguments %q, user %q", cfg.Arguments, cfg.UserName)
	}
	for key, want := range map[string]any{"StartType": "automatic", "OnFailure": "restart", "OnFailureDelayDuration": "5s", "OnFailureResetPeriod": 86400} {
		if got := cfg.Option[key]; got != want {
			t.Errorf("%s = %v, want %v", key, got, want)
		}
	}
}

func TestInside(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		root, path string
		want       bool
	}{
		{`C:\Users\Ann`, `C:\Users\Ann\AppData\Local\Backstay`, true},
		{`C:\Users\Ann`, `c:\users\ann\x`, true},
		{`C:\Users\Ann\`, `C:\Users\Ann`, true},
		{`C:\Users\Ann`, `C:\Users\Annabel\x`, false},
		{`C:\Users\Ann`, `D:\Users\Ann\x`, false},
		{`C:\`, `C:\x`, true},
	} {
		if got := inside(c.root, c.path); got != c.want {
			t.Errorf("inside(%s, %s) = %v, want %v", c.root, c.path, got, c.want)
		}
	}
}
