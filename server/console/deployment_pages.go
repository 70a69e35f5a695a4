package console

import (
	"path"
	"strings"
	"time"

	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/web"
)

type deployFrame struct {
	web.Frame
	Sections []web.Link
}

type deployPage struct {
	deployFrame
	Tokens    []tokenItem
	FirstOnly bool
	Blocked   int64 // computers that FirstOnly kept out in the last days
}

type tokenItem struct {
	deploy.Token
	Href, Shown string
	State       web.State
	Works       bool
}

type systemItem struct {
	Name, Text string
	Chosen     bool
}

type newTokenPage struct {
	deployFrame
	Form                                  web.Form
	Name, Networks, Hosts, Domains        string
	Profile                               string
	Days, Uses                            int
	Hours                                 bool // Days counts hours
	Forever, Approve, CreateUsers, Prompt bool
	Chosen                                []string
	Systems                               []systemItem
	Profiles                              []option
}

type madeTokenPage struct {
	deployFrame
	Token      deploy.Token
	Secret     string
	Installers []string // that can be made
	Folder     string   // of the clients
	Clients    []deploy.Client
	Lines      []readyLine
}

type tokenPage struct {
	deployFrame
	Token       tokenItem
	Profile     string
	Systems     []string
	Figures     []count
	Rules       []web.Sign
	Stages      []stageItem
	Quarantined []device // the first
	Held        int      // in quarantine
}

type revokePage struct {
	deployFrame
	Form    web.Form
	Token   tokenItem
	Since   string
	Devices int64
}

type waitingDevice struct {
	device
	Token, Hostname, IP string
	Since               time.Time
}

type approvalsPage struct {
	deployFrame
	Filter  deploy.Filter
	Tokens  []option
	Systems []option
	Devices []waitingDevice
	Total   int
}

type knockItem struct {
	deploy.Knock
	System, Why string
}

type knocksPage struct {
	deployFrame
	Knocks []knockItem
	More   int64 // that are not listed
}

type stageItem struct {
	Text  string
	Count int64
	Bar   []bar
}

// funnel is how far some computers are.
type funnel struct {
	Name     string
	Counts   []int64 // at each stage or further
	Laggards int64
	Export   string // where they are had as a file
}

type rolloutPage struct {
	deployFrame
	Token, By string
	Tokens    []option
	Stages    []stageItem
	Bys       []choice
	Groups    []funnel
	Laggards  int64
	Export    string
}

type mapPage struct {
	deployFrame
	Form     web.Form
	Rows     []deploy.Mapping
	Total    int64
	Restores []option // what a row may bring back
}

// mappingPage is one row of the map.
type mappingPage struct {
	deployFrame
	Form     web.Form
	Action   string
	Values   map[string]string // by the columns of a file
	Types    []option
	Restores []option
}

type mapRow struct {
	Line              int64
	Email, ID, Reason string
}

type mapCheckedPage struct {
	deployFrame
	Text              string // of the file, for the second step
	Good, Exists, Bad int64
	Rows              []mapRow // the first that are bad
}

// readyLine is what an administrator pastes into a tool. Hint is the key of what to
// know about it, "" for nothing.
type readyLine struct{ ID, Name, Hint, Text string }

// msi installs the package for Windows where it lies.
func msi(s deploy.Source, file string) string {
	text := "msiexec /i " + file + " /qn /norestart SERVER=" + s.Server + " TOKEN=" + s.Token
	if s.Fingerprint != "" {
		text += " CA_SHA256=" + s.Fingerprint
	}
	return text + " IDENTITY=auto"
}

// readyLines are the ways to bring a token to computers, with the clients that the
// server has.
func readyLines(s deploy.Source, clients []deploy.Client) []readyLine {
	const file = "/etc/backstay/deploy.toml"
	indent := func(n int) string {
		return strings.Repeat(" ", n) + strings.ReplaceAll(strings.TrimSpace(s.TOML()), "\n", "\n"+strings.Repeat(" ", n))
	}
	write := "install -d -m 0755 /etc/backstay\n(umask 077; cat > " + file + " <<'END'\n" + s.TOML() + "END\n)\n"
	deb, rpm, windows := deploy.Name(clients, "deb"), deploy.Name(clients, "rpm"), deploy.Name(clients, "msi")
	// The packages start what tries until it succeeds.
	return []readyLine{
		{"toml", "deploy.toml", "deploy.line.toml", s.TOML()},
		{"command", "backstay deploy", "", write + "backstay deploy --config " + file},
		{"deb", ".deb", "", write + "apt-get install -y ./" + deb},
		{"rpm", ".rpm", "", write + "dnf install -y ./" + rpm},
		{"ansible", "Ansible", "", "- name: Backstay, the folder of its settings\n  ansible.builtin.file:\n    path: " + path.Dir(file) + "\n    state: directory\n    mode: \"0755\"\n" +
			"- name: Backstay, what it needs to know\n  ansible.builtin.copy:\n    dest: " + file + "\n    mode: \"0600\"\n    force: false\n    content: |\n" + indent(6) +
			"\n  no_log: true\n- name: Backstay, the package\n  ansible.builtin.copy:\n    src: " + deb + "\n    dest: /root/" + deb +
			"\n- name: Backstay\n  ansible.builtin.apt:\n    deb: /root/" + deb},
		{"intune", "Intune", "deploy.line.intune", msi(s, windows)},
		{"sccm", "SCCM", "", msi(s, windows)},
		{"gpo", "GPO", "deploy.line.gpo", "if not exist \"%ProgramFiles%\\Backstay\\backstay.exe\" " + msi(s, `\\SERVER\SHARE\`+windows)},
		{"jamf", "Jamf", "deploy.line.jamf", ""},
	}
}
