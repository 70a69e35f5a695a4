package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
)

func TestNextTry(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	for _, tc := range []struct {
		failed int
		err    error
		spread float64
		want   time.Duration
	}{
		{1, down, 1, time.Minute},
		{2, down, 0, 2 * time.Minute},
		{3, down, 0, 5 * time.Minute},
		{4, errs.New(errs.Forbidden, "device.waiting"), 0, 10 * time.Minute},
		{5, down, 0, 24 * time.Minute},
		{99, down, 1, 36 * time.Minute},
		{7, errs.Of(errs.NoDeviceMapping), 0.5, 30 * time.Minute}, // an administrator may say whose it is
		{1, errs.Of(errs.BadDeployToken), 0.5, 24 * time.Hour},
		{1, errs.Of(errs.BadDeployToken), 0, 24 * time.Hour * 4 / 5}, // of a fleet whose token was revoked not all come at once
		{3, errs.Of(errs.AddDeviceNotAllowed), 1, 24 * time.Hour * 6 / 5},
	} {
		if got := NextTry(tc.failed, tc.err, tc.spread); got != tc.want {
			t.Errorf("after %d, %v: %s, want %s", tc.failed, tc.err, got, tc.want)
		}
	}
}

// What a sign-in settles, and what it does not: an administrator's decision, a
// token that is over, a server that is away.
func TestOwnerless(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errs.New(errs.Forbidden, "deploy.prompt"), errs.Of(errs.NoDeviceMapping), errs.Of(errs.AmbiguousAccount), errs.Of(errs.FirstDeviceOnly)} {
		if !Ownerless(err) {
			t.Errorf("Ownerless(%v) = false", err)
		}
	}
	for _, err := range []error{nil, errors.New("down"), errs.New(errs.Forbidden, "device.waiting"), errs.Of(errs.BadDeployToken), errs.Of(errs.CannotConnect)} {
		if Ownerless(err) {
			t.Errorf("Ownerless(%v) = true", err)
		}
	}
}

func TestDeployFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deploy.toml")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	none := func(string) string { return "" }
	good := "# fleet\nserver = \"https://b.example\"\ntoken = \"bsd1.a.b.c\"\nidentity = \"auto\"\nsystem = true\n"
	write(good, 0o600)
	f, err := ReadDeployFile(path, none)
	if err != nil || f.Server != "https://b.example" || f.Token != "bsd1.a.b.c" || f.System == nil || !*f.System {
		t.Errorf("ReadDeployFile = %+v, %v", f, err)
	}
	for name, tc := range map[string]struct {
		text string
		mode os.FileMode
		key  string
	}{
		"others may read it": {good, 0o640, "deploy.file.open"},
		"no TOML":            {"token = \"secret-secret", 0o600, "deploy.file.wrong"},
		"no text":            {"token = 5", 0o600, "deploy.file.kind"},
		"an unknown key":     {good + "tokne = \"x\"\n", 0o600, "deploy.file.key"},
		"no server":          {"token = \"x\"\n", 0o600, "deploy.file.missing"},
	} {
		write(tc.text, tc.mode)
		_, err := ReadDeployFile(path, none)
		if e := errs.Find(err); e == nil || e.Key != tc.key || strings.Contains(err.Error(), "secret-secret") {
			t.Errorf("%s: %v, want %s", name, err, tc.key)
		}
	}
}

// The token leaves the file however management wrote it, and nothing else does.
func TestForgetToken(t *testing.T) {
	t.Parallel()
	const rest = "# fleet\nserver = \"https://b.example\" # token = none\nidentity = \"auto\"\nsystem = true\n"
	for name, tc := range map[string]struct{ file, want string }{
		"a line":              {"token = \"bsd1.a.b.c\" # ours\n" + rest, rest},
		"capitals":            {strings.ToUpper("token") + " = 'bsd1.a.b.c'\n" + rest, rest},
		"a key in quotes":     {rest + "\"token\" = \"bsd1.a.b.c\"", rest},
		"what Notepad writes": {"\ufeffTOKEN = \"bsd1.a.b.c\"\r\n" + rest, rest},
		"a comment":           {rest + "token = \"bsd1.a.b.c\"\n# it was bsd1.a.b.c\n", rest},
		"an empty one":        {rest + "token = \"\"\n", rest + "token = \"\"\n"},
		"none":                {rest, rest},
		"several lines":       {rest + "token = \"\"\"\nbsd1.a.b.c\"\"\"\n", ""},
		"escaped":             {rest + "token = \"\\u0062sd1.a.b.c\"\n", ""},
	} {
		path := filepath.Join(t.TempDir(), "deploy.toml")
		if err := os.WriteFile(path, []byte(tc.file), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := ForgetToken(path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		left, err := os.ReadFile(path)
		if err != nil || tc.want != "" && string(left) != tc.want || strings.Contains(string(left), "sd1.a.b.c") {
			t.Errorf("%s: left is %q, %v", name, left, err)
		}
		f, err := ReadDeployFile(path, func(string) string { return "" })
		if err != nil || f.Server != "https://b.example" || f.Identity != "auto" || f.Token != "" || f.System == nil || !*f.System {
			t.Errorf("%s: it says %+v, %v", name, f, err)
		}
	}
}

// What an installer is told stands in a file that is the owner's alone, and reads
// back as it was; what cannot be right changes nothing.
func TestWriteDeployFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "etc", "deploy.toml")
	none := func(string) string { return "" }
	said := DeployFile{Server: "https://b.example", CASHA256: strings.Repeat("0f", 32), Token: "bsd1.a.b.c", Proxy: "proxy.example:3128", Identity: "email:\"ann\"@b.example"}
	if err := WriteDeployFile(path, said, none); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadDeployFile(path, none); err != nil || got != said {
		t.Errorf("ReadDeployFile = %+v, %v", got, err)
	}
	before, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(before), "edition") {
		t.Errorf("the file says what nobody said: %v\n%s", err, before)
	}
	for name, change := range map[string]func(*DeployFile){
		"no server":          func(f *DeployFile) { f.Server = "" },
		"a server that's no": func(f *DeployFile) { f.Server = "ftp://b.example" },
		"an unknown edition": func(f *DeployFile) { f.Server, f.Edition = "", "Elsewhere" },
		"half a fingerprint": func(f *DeployFile) { f.CASHA256 = "0f0f" },
		"no token":           func(f *DeployFile) { f.Token = " " },
		"a proxy that's no":  func(f *DeployFile) { f.Proxy = "ftp://proxy.example" },
	} {
		f := said
		change(&f)
		if err := WriteDeployFile(path, f, none); errs.Find(err) == nil {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != string(before) {
			t.Errorf("%s: the file changed: %v\n%s", name, err, now)
		}
	}
	if err := ForgetToken(path); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(path); err != nil || strings.Contains(string(now), "bsd1") || !strings.Contains(string(now), "b.example") {
		t.Errorf("after ForgetToken: %v\n%s", err, now)
	}
}
