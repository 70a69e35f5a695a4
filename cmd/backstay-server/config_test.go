package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/servertest"
)

// command runs a command line as main would.
func command(t *testing.T, environ []string, args ...string) (status int, out, err string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	p := &program{in: nil, out: &stdout, err: &stderr, environ: environ, hasher: servertest.Hasher}
	status = p.run(t.Context(), args)
	return status, stdout.String(), stderr.String()
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// row is the line of a key in what `config` prints, single-spaced.
func row(out, key string) string {
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, key+":") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return ""
}

func TestConfigSources(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "server.yaml", "data: /srv/a\ndb: postgres://u:geheim@h/a\nlisten: 8444\nplain_http: false\ntrusted_proxies:\n  - 10.0.0.1\n  - 10.1.0.0/16\n")
	for _, c := range []struct {
		name    string
		environ []string
		args    []string
		key     string
		want    string
	}{
		{"default", nil, nil, "listen", "listen: :8443 # default"},
		{"derived default", nil, []string{"--data", "/srv/x"}, "vault", "vault: /srv/x/vault # default"},
		{"derived database", nil, []string{"--data", "/srv/x"}, "db", "db: sqlite:/srv/x/backstay.db # default"},
		{"file", nil, []string{"--config", file}, "data", "data: /srv/a # " + file},
		{"file named by the environment", []string{"BACKSTAY_SERVER_CONFIG=" + file}, nil, "data", "data: /srv/a # " + file},
		{"a number", nil, []string{"--config", file}, "listen", "listen: 8444 # " + file},
		{"a list", nil, []string{"--config", file}, "trusted_proxies", "trusted_proxies: 10.0.0.1, 10.1.0.0/16 # " + file},
		{"environment over file", []string{"BACKSTAY_SERVER_DATA=/srv/b"}, []string{"--config", file}, "data", "data: /srv/b # BACKSTAY_SERVER_DATA"},
		{"flag over environment", []string{"BACKSTAY_SERVER_DATA=/srv/b"}, []string{"--config", file, "--data", "/srv/c"}, "data", "data: /srv/c # --data"},
		{"a flag that says no", []string{"BACKSTAY_SERVER_HIDE_BUILD=true"}, []string{"--hide-build=false"}, "hide_build", "hide_build: false # --hide-build"},
		{"a flag without a value", nil, []string{"--hide-build"}, "hide_build", "hide_build: true # --hide-build"},
		{"the password is masked", nil, []string{"--config", file}, "db", "db: postgres://u:xxxxx@h/a # " + file},
		{"a password in the query too", nil, []string{"--db", "postgres://h/a?password=geheim&user=u"}, "db", "db: postgres://h/a?password=xxxxx&user=u # --db"},
		{"what cannot be read is masked whole", nil, []string{"--db", "postgres://u:geheim@h:x/a"}, "db", "db: xxxxx # --db"},
	} {
		status, out, err := command(t, c.environ, append([]string{"config"}, c.args...)...)
		if got := row(out, c.key); status != 0 || got != c.want {
			t.Errorf("%s: %s (status %d, %s), want %s", c.name, got, status, err, c.want)
		}
		if strings.Contains(out, "geheim") {
			t.Errorf("%s: the output holds the password", c.name)
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file string
		args       []string
		status     int
		want       string
	}{
		{"unknown key", "dta: /srv\n", nil, 1, "dta"},
		{"nested key", "tls:\n  key: x\n", nil, 1, "tls"},
		{"no YAML", "a: [\n", nil, 1, "server.yaml"},
		{"bad address", "listen: nowhere\n", nil, 1, "listen"},
		{"bad network", "trusted_proxies: [10.0.0.0/99]\n", nil, 1, "10.0.0.0/99"},
		{"bad boolean", "plain_http: perhaps\n", nil, 1, "plain_http"},
		{"bad level", "log_level: loud\n", nil, 1, "log_level"},
		{"old TLS", "tls_min_version: 1.1\n", nil, 1, "tls_min_version"},
		{"plain HTTP without a proxy", "plain_http: true\n", nil, 1, "public_url"},
		{"plain HTTP without its address", "plain_http: true\npublic_url: https://b.example.org\n", nil, 1, "trusted_proxies"},
		{"certificate without key", "tls_certificate: /x\n", nil, 1, "tls_key"},
		{"plain public URL", "public_url: http://b.example.org\n", nil, 1, "public_url"},
		{"public URL with a path", "public_url: https://b.example.org/backstay\n", nil, 1, "public_url"},
		{"a console without an address", "admin_listen: :8444\n", nil, 1, "public_url"},
		{"a bad address for the console", "admin_listen: nowhere\n", nil, 1, "admin_listen"},
		{"an address without a console", "admin_url: https://a.example.org\n", nil, 1, "admin_listen"},
		{"a plain console", "public_url: https://b.example.org\nadmin_listen: :8444\nadmin_url: http://a.example.org\n", nil, 1, "admin_url"},
		{"a console behind a proxy", "plain_http: true\ntrusted_proxies: 127.0.0.1\npublic_url: https://b.example.org\nadmin_listen: :8444\n", nil, 1, "admin_url"},
		{"missing file", "", []string{"--config", "/nowhere/server.yaml"}, 1, "/nowhere/server.yaml"},
		{"unknown flag", "", []string{"--dta", "x"}, 2, "dta"},
		{"argument", "", []string{"x"}, 2, "x"},
	} {
		args := append([]string{"config"}, c.args...)
		if c.file != "" {
			args = append(args, "--config", writeFile(t, "server.yaml", c.file))
		}
		status, out, err := command(t, nil, args...)
		if status != c.status || !strings.Contains(err, c.want) {
			t.Errorf("%s: status %d, %q, %q; want %d and %q", c.name, status, out, err, c.status, c.want)
		}
	}
}

func TestStrangersInTheEnvironment(t *testing.T) {
	t.Parallel()
	// Kubernetes sets such variables for a service of this name.
	status, _, err := command(t, []string{"BACKSTAY_SERVER_SERVICE_HOST=10.0.0.1"}, "config", "--data", "/srv/x")
	if status != 0 || !strings.Contains(err, "BACKSTAY_SERVER_SERVICE_HOST") {
		t.Errorf("status %d, %q, want a warning", status, err)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args   []string
		status int
		out    string
	}{
		{nil, 2, "Commands:"},
		{[]string{"--help"}, 0, "Examples:"},
		{[]string{"serve", "--help"}, 0, "Examples:"},
		{[]string{"nonsense"}, 2, ""},
		{[]string{"version"}, 0, "backstay-server "},
		{[]string{"version", "x"}, 2, ""},
	} {
		status, out, err := command(t, nil, c.args...)
		if status != c.status || !strings.Contains(out, c.out) || strings.HasPrefix(c.out, "Examples") && !strings.HasPrefix(out, c.out) {
			t.Errorf("%q: status %d, %q, %q; want %d and %q", c.args, status, out, err, c.status, c.out)
		}
	}
}

// What the library would say in English is said in the reader's language.
func TestUsageInFrench(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"quickstart":                 "Il manque quelque chose. Utilisation : backstay-server quickstart FOLDER",
		"quickstart a b":             "Un argument de trop : b",
		"org x":                      "Il n’y a pas de commande x.",
		"completion bash":            "Il n’y a pas de commande completion.",
		"help nothing":               "Il n’y a pas de commande nothing.",
		"serve -x":                   "Il n’y a pas d’option -x ici.",
		"serve --data":               "--data demande une valeur.",
		"quickstart --exit=maybe .":  "--exit n’admet pas la valeur maybe.",
		"admin create --=x somebody": "--=x n’est pas une option",
	} {
		status, _, err := command(t, []string{"LC_ALL=fr_FR.UTF-8"}, strings.Fields(line)...)
		plain := strings.ReplaceAll(err, "\u00a0", " ")
		if status != exitUsage || !strings.Contains(plain, want) || !strings.Contains(plain, "Voyez : backstay-server --help") {
			t.Errorf("%s: status %d, %q; want %q", line, status, err, want)
		}
	}
}

var update = flag.Bool("update", false, "write docs/admin/configuration.md")

// The documentation is made from the table of keys:
// go test ./cmd/backstay-server -run TestDocumentation -update
func TestDocumentation(t *testing.T) {
	t.Parallel()
	const path = "../../docs/admin/configuration.md"
	want := documentation()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the table of keys says; run this test with -update", path)
	}
}

func documentation() string {
	var b strings.Builder
	b.WriteString(documentationHead)
	say := locale.For(locale.English)
	for _, k := range configKeys() {
		b.WriteString("### `" + k.name + "`\n\n" + say.T(k.text()) + "\n\n")
		def := k.shownDefault(say)
		if def == "" {
			def = "empty"
		} else if k.shown == "" {
			def = "`" + def + "`"
		}
		b.WriteString("Default: " + def + ". Environment: `" + k.env() + "`. Flag: `--" + k.flag() + "`.\n\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

const documentationHead = `# Configuration

<!-- Made from the table in cmd/backstay-server/keys.go by its test; and its texts in locale/en.json; edit there. -->

` + "`backstay-server`" + ` needs no configuration to start: it then keeps everything in one folder, with SQLite and a
self-signed certificate. What you set stands in a YAML file, in the environment, or on the command line. Flags win over the
environment, the environment over the file. A list may be written as YAML list or with commas.

The file is the one named by ` + "`--config`" + `, else by ` + "`BACKSTAY_SERVER_CONFIG`" + `, else ` + "`/etc/backstay/server.yaml`" + ` when it is there. A key that
does not exist is an error, so a slip of the pen is found at once. ` + "`backstay-server config`" + ` prints what is in force and where each
value came from, with passwords hidden, and the fingerprint of the certificate.

` + "```yaml" + `
data: /srv/backstay
db: postgres://backstay:secret@db.example.org/backstay
listen: :443
public_url: https://backup.example.org
tls_certificate: /etc/letsencrypt/live/backup.example.org/fullchain.pem
tls_key: /etc/letsencrypt/live/backup.example.org/privkey.pem
` + "```" + `

## The certificate

Without ` + "`tls_certificate`" + ` the server makes a certificate of its own in ` + "`DATA/tls`" + `, for ` + "`localhost`" + `, this computer's name, the address in
` + "`listen`" + ` and the name in ` + "`public_url`" + `. It is renewed with the same key, so its fingerprint stays. Devices trust it by
` + "`backstay activate --ca-fingerprint F`" + `; the fingerprint is printed at every start and by ` + "`backstay-server config`" + `. Name and dates are checked all the same: set
` + "`public_url`" + ` to what devices will type.

Certificate files are read again within a minute after they changed; nothing needs a restart.

## Behind a proxy

A proxy that has TLS may pass requests on over plain HTTP. Three keys belong together:

` + "```yaml" + `
plain_http: true
listen: 127.0.0.1:8080
public_url: https://backup.example.org
trusted_proxies: 127.0.0.1
` + "```" + `

The proxy must pass on the ` + "`Host`" + ` header, append the client's address to ` + "`X-Forwarded-For`" + `, let a request wait for an answer for
at least 90 seconds, not buffer uploads, and allow bodies of 64 MiB and more. For nginx:

` + "```nginx" + `
location / {
	proxy_pass http://127.0.0.1:8080;
	proxy_http_version 1.1;
	proxy_set_header Host $host;
	proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
	proxy_request_buffering off;
	proxy_buffering off;
	proxy_read_timeout 120s;
	client_max_body_size 0;
}
` + "```" + `

## The console at an address of its own

Portal and console answer at one address, the console under ` + "`/admin`" + `. To keep the console off the network that users come from, give it an
address of its own:

` + "```yaml" + `
listen: :443
public_url: https://backup.example.org
admin_listen: 10.0.0.5:8444
` + "```" + `

Administrators then go to ` + "`https://backup.example.org:8444/admin/`" + `, and links in mails to them lead there; under ` + "`https://backup.example.org/admin`" + ` nothing is
found any more. Set ` + "`admin_url`" + ` when they type something else, such as ` + "`https://backup-admin.example.org`" + `, and name both in the certificate.
Passkeys belong to a name: administrators make theirs again after ` + "`admin_url`" + ` got another name. Behind a proxy ` + "`admin_url`" + ` is needed.

## Watching it

` + "`/healthz`" + ` answers 200 when the database and the store can be reached, else 503, as JSON. ` + "`/metrics`" + ` shows figures for Prometheus to the
networks in ` + "`metrics_allowed`" + `; they name no user and no device. Logs go to standard error, one line for each event; a request's line and
everything it caused share the ` + "`request`" + ` that the answer carried as ` + "`Backstay-Request-Id`" + `.

## Keys

`
