package deploy

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/version"
)

// Source is what a computer needs to know to be deployed.
type Source struct {
	Server, Fingerprint string // the latter only of a certificate that no authority answers for
	Token               string
}

// TOML is the file that backstay deploy reads.
func (s Source) TOML() string {
	var b strings.Builder
	fmt.Fprintf(&b, "server = %q\n", s.Server)
	if s.Fingerprint != "" {
		fmt.Fprintf(&b, "ca_sha256 = %q\n", s.Fingerprint)
	}
	fmt.Fprintf(&b, "token = %q\nidentity = \"auto\"\n", s.Token)
	return b.String()
}

// Pin is the fingerprint as curl wants it.
func (s Source) Pin() string {
	sum, _ := hex.DecodeString(s.Fingerprint)
	return base64.StdEncoding.EncodeToString(sum)
}

// Clients is a folder of the server with the client's packages and programs, as
// make clients names them. Others of its files are nobody's business.
type Clients struct{ Dir string }

// Client is one of them.
type Client struct {
	Name   string
	Kind   string // deb, rpm, msi or darwin
	Arch   string // amd64 or arm64
	SHA256 string
}

var (
	clientName = regexp.MustCompile(`^backstay(?:_\d[\w.~+-]*_(amd64|arm64)\.(deb|msi)|-\d[\w.~+-]*\.(x86_64|aarch64)\.(rpm)|_(darwin)_(amd64|arm64))$`)
	archs      = map[string]string{"x86_64": "amd64", "aarch64": "arm64"}
)

// clientOf says by its name what a file of the folder is.
func clientOf(name string) (c Client, ok bool) {
	parts := clientName.FindStringSubmatch(name)
	if parts == nil {
		return Client{}, false
	}
	c.Name = name
	for _, part := range parts[1:] {
		switch part {
		case "":
		case "deb", "rpm", "msi", "darwin":
			c.Kind = part
		case "amd64", "arm64":
			c.Arch = part
		default:
			c.Arch = archs[part]
		}
	}
	return c, true
}

// Uname is what the computers call themselves that it is for.
func (c Client) Uname() string {
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[c.Arch]
	if c.Kind != "darwin" {
		return "Linux " + machine
	}
	if c.Arch == "arm64" {
		machine = "arm64"
	}
	return "Darwin " + machine
}

// Processor is what Windows calls the processor that it is for.
func (c Client) Processor() string { return strings.ToUpper(c.Arch) }

// Path is where the server offers it.
func (c Client) Path() string { return ClientsPath + c.Name }

// Needs is the program that installs it, "" when it needs none.
func (c Client) Needs() string { return map[string]string{"deb": "dpkg", "rpm": "rpm"}[c.Kind] }

// Name is the client of a kind for most computers, as the server has it, or else as
// make clients would name it.
func Name(list []Client, kind string) string {
	for _, c := range list {
		if c.Kind == kind && c.Arch == "amd64" {
			return c.Name
		}
	}
	if kind == "rpm" {
		return fmt.Sprintf("backstay-%s.0-1.x86_64.rpm", version.Number())
	}
	return fmt.Sprintf("backstay_%s.0_amd64.%s", version.Number(), kind)
}

// List returns the newest file of each kind and processor.
func (c Clients) List() ([]Client, error) {
	files, err := os.ReadDir(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the clients: %w", err)
	}
	var all []Client
	when := map[string]int64{}
	for _, f := range files {
		found, ok := clientOf(f.Name())
		info, err := f.Info()
		if !ok || err != nil || !info.Mode().IsRegular() {
			continue
		}
		same := func(x Client) bool { return x.Kind == found.Kind && x.Arch == found.Arch }
		at := slices.IndexFunc(all, same)
		switch when[found.Name] = info.ModTime().UnixNano(); {
		case at < 0:
			all = append(all, found)
		case when[all[at].Name] <= when[found.Name]:
			all[at] = found
		}
	}
	slices.SortFunc(all, func(a, b Client) int { return strings.Compare(a.Kind+a.Arch, b.Kind+b.Arch) })
	return all, nil
}

func (c Clients) sum(name string) (string, error) {
	f, err := os.Open(c.Dir + "/" + name)
	if err != nil {
		return "", fmt.Errorf("opening a client: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading the client %s: %w", name, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// ClientsPath is where clients are had.
const ClientsPath = "/clients/"

// ServeHTTP gives a client to whoever asks: it is no secret.
func (c Clients) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, ClientsPath)
	if _, ok := clientOf(name); !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeFileFS(w, r, os.DirFS(c.Dir), name)
}

//go:embed installers
var installers embed.FS

// The scripts that install a client and enrol a computer, by their names.
const (
	InstallUnix    = "install-backstay.sh"
	InstallWindows = "Install-Backstay.ps1"
)

var scripts = template.Must(template.New("").Funcs(template.FuncMap{
	"clients": func() string { return ClientsPath },
	"sh":      func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" },
	"ps":      func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" },
}).ParseFS(installers, "installers/*"))

// Installers names the scripts that can be made of the clients that are there.
func (c Clients) Installers() ([]string, error) {
	list, err := c.List()
	var names []string
	for _, name := range []string{InstallUnix, InstallWindows} {
		if slices.ContainsFunc(list, func(f Client) bool { return f.installer() == name }) {
			names = append(names, name)
		}
	}
	return names, err
}

func (c Client) installer() string {
	if c.Kind == "msi" {
		return InstallWindows
	}
	return InstallUnix
}

// Installer makes the script of that name. It holds the sums of the clients as
// they are now, and the token.
func (c Clients) Installer(name string, s Source) (string, error) {
	list, err := c.List()
	if err != nil {
		return "", err
	}
	data := struct {
		Source
		Files []Client
	}{Source: s}
	for _, f := range list {
		if f.installer() != name {
			continue
		}
		if f.SHA256, err = c.sum(f.Name); err != nil {
			return "", err
		}
		data.Files = append(data.Files, f)
	}
	if len(data.Files) == 0 {
		return "", errs.New(errs.Conflict, "deploy.installer.none")
	}
	var b strings.Builder
	if name == InstallWindows {
		err = scripts.ExecuteTemplate(&b, "install.ps1", data)
		return strings.ReplaceAll(b.String(), "\n", "\r\n"), err
	}
	err = scripts.ExecuteTemplate(&b, "install.sh", data)
	return b.String(), err
}

// Prove finds the token of an organisation that a secret belongs to, for somebody
// who puts it into an installer.
func Prove(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, token, installer string) (Token, error) {
	unknown := errs.New(errs.NotFound, "deploy.token.unknown")
	id, secret, ok := parse(token)
	if !ok {
		return Token{}, unknown
	}
	t, err := View(ctx, tx, by, id)
	if err != nil {
		return Token{}, err
	}
	if t.Org != org || subtle.ConstantTimeCompare(t.secret, secret) != 1 {
		return Token{}, unknown
	}
	return t, audit.Check(ctx, tx, by, access.Deploy, org, "", object(t.ID), audit.Note("installer", installer))
}
