package mailtest

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"regexp"
	"strings"

	"github.com/backstay/backstay/server/mail"
)

// Mail is a mail as its reader has it.
type Mail struct {
	From, FromName string
	To             string
	Subject        string
	Template       mail.Template
	Text, HTML     string
	Header         netmail.Header

	// What stands by itself in the text, in its order: links, codes, passwords,
	// commands.
	Shown []string
	Links []string // those of Shown that are links
	Code  string   // the one of six digits
}

func (m *Mail) String() string { return fmt.Sprintf("%s to %s", m.Template, m.To) }

// Link is the link that the mail is about: its first.
func (m *Mail) Link() string {
	if len(m.Links) == 0 {
		return ""
	}
	return m.Links[0]
}

// Secret is the temporary password of an activation: what is shown in one word
// and is no link.
func (m *Mail) Secret() string {
	for _, s := range m.Shown {
		if !link.MatchString(s) && !strings.Contains(s, " ") {
			return s
		}
	}
	return ""
}

var (
	link = regexp.MustCompile(`^https?://\S+$`)
	code = regexp.MustCompile(`^\d{6}$`)
)

// Parse reads a mail as it came. Both its forms must be there.
func Parse(raw []byte) (*Mail, error) {
	in, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	m := &Mail{Header: in.Header, Template: mail.Template(in.Header.Get("X-Backstay-Mail"))}
	if err := m.head(); err != nil {
		return nil, err
	}
	kind, params, err := mime.ParseMediaType(in.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		return nil, fmt.Errorf("it is %q: %w", kind, err)
	}
	if err := m.parts(multipart.NewReader(in.Body, params["boundary"])); err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(m.Text, "\n") {
		shown, ok := strings.CutPrefix(line, "    ")
		if !ok {
			continue
		}
		m.Shown = append(m.Shown, shown)
		if link.MatchString(shown) {
			m.Links = append(m.Links, shown)
		}
		if code.MatchString(shown) {
			m.Code = shown
		}
	}
	return m, nil
}

func (m *Mail) head() error {
	words := mime.WordDecoder{}
	subject, err := words.DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		return fmt.Errorf("its subject: %w", err)
	}
	m.Subject = subject
	for name, to := range map[string]*string{"From": &m.From, "To": &m.To} {
		list, err := m.Header.AddressList(name)
		if err != nil || len(list) != 1 {
			return fmt.Errorf("its %s is %q: %w", name, m.Header.Get(name), err)
		}
		*to = list[0].Address
		if name == "From" {
			m.FromName = list[0].Name
		}
	}
	return nil
}

func (m *Mail) parts(r *multipart.Reader) error {
	for {
		part, err := r.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		var body io.Reader = part
		switch encoding := part.Header.Get("Content-Transfer-Encoding"); encoding {
		case "quoted-printable":
			body = quotedprintable.NewReader(part)
		case "7bit", "8bit", "":
		default:
			return fmt.Errorf("a part is encoded by %q", encoding)
		}
		text, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		kind, params, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil || !strings.EqualFold(params["charset"], "utf-8") {
			return fmt.Errorf("a part is %q in %q: %w", kind, params["charset"], err)
		}
		switch said := strings.ReplaceAll(string(text), "\r\n", "\n"); kind {
		case "text/plain":
			m.Text = said
		case "text/html":
			m.HTML = said
		default:
			return fmt.Errorf("a part is %q", kind)
		}
	}
	if m.Text == "" || m.HTML == "" {
		return fmt.Errorf("it has %d bytes of text and %d of HTML", len(m.Text), len(m.HTML))
	}
	return nil
}
