package wire

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"golang.org/x/net/idna"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/version"
)

// Config says whom a Client talks to, and as whom.
type Config struct {
	// Server is the address people type: https://backup.example.org, with a
	// port and a path if need be. Without a scheme, https is meant.
	Server string
	// Fingerprint, when set, is the hex SHA-256 of the SubjectPublicKeyInfo of
	// a certificate in the server's chain. It takes the place of the system's
	// trusted roots; name and dates are checked all the same.
	Fingerprint string
	// Proxy is how proxies are passed.
	Proxy Proxy
	// FindProxy asks the proxy script at an address which ways lead to target,
	// and returns what the script says: "PROXY a:3128; DIRECT". The mode pac
	// needs it.
	FindProxy func(ctx context.Context, script string, target *url.URL) (string, error)
	// DeviceID and Sign make device tokens; both are empty before activation.
	// Sign signs a challenge as protocol.md, POST token, has it.
	DeviceID string
	Sign     func(challenge []byte) ([]byte, error)
	// Patience is how long a call that fails for reasons that may pass is
	// tried again; 20 seconds when zero. Until the first answer of all it is
	// at most five seconds, since an address may simply be wrong.
	Patience time.Duration
	// Silence is how long a connection may stand still in the middle of a call
	// before it counts as dead; 30 seconds when zero.
	Silence time.Duration
	// Limits says how fast backups and restores may go; it is asked once a
	// minute. No limits hold when nil.
	Limits func() Limits
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Log hears of calls that are tried again; nothing when nil.
	Log *slog.Logger
}

func (cfg *Config) setDefaults() {
	if cfg.Patience == 0 {
		cfg.Patience = 20 * time.Second
	}
	if cfg.Silence == 0 {
		cfg.Silence = 30 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
}

// Client is the device's side of the protocol. It is safe for use by several
// goroutines.
//
// Failures come back with an *errs.Error in their chain: what the server said,
// by its code and key, or E1001 to E1005 for what lies between. A call that can
// be repeated is, with growing pauses, for as long as Config.Patience.
type Client struct {
	cfg       Config
	base      *url.URL
	http      *http.Client
	transport *http.Transport
	proxy     atomic.Pointer[Proxy]
	answered  atomic.Bool // the server has been reached once
	up, down  *brake      // for what backups send and restores receive

	avoidMu sync.Mutex
	avoided map[string]time.Time // ways that failed, and until when they come last

	mu    sync.Mutex // held while a token is fetched, so that only one is
	token Token
}

// New makes a client. It does not connect.
func New(cfg Config) (*Client, error) {
	cfg.setDefaults()
	base, err := parseServer(cfg.Server)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := trust(base.Hostname(), cfg.Fingerprint, cfg.Now)
	if err != nil {
		return nil, err
	}
	proxy, err := cfg.Proxy.Check()
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, base: base}
	c.up, c.down = brakes(cfg.Limits, cfg.Now)
	c.proxy.Store(&proxy)
	c.transport = &http.Transport{
		// The server is all that is called, and always by TLS: what proxies do is
		// pass bytes on, and dial sees to that.
		Proxy:               nil,
		DialContext:         c.dial,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: 10 * time.Second,
		// HTTP/1.1 only: a stream has its connection for itself, with no window
		// that the other side must open, and packs go a fifth faster than by Go's
		// HTTP/2 (BenchmarkPut: 1.75 and 1.45 GB/s on loopback). What gains by
		// HTTP/2, many small calls at a time, does not occur here.
		Protocols:             http1(),
		WriteBufferSize:       256 << 10,
		ReadBufferSize:        256 << 10,
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       50 * time.Second,
		ExpectContinueTimeout: 2 * time.Second,
		DisableCompression:    true, // what is large is sealed
	}
	c.http = &http.Client{
		Transport: c.transport,
		// A redirect would carry the token to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func http1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}

// Server is the address in the form that New understood.
func (c *Client) Server() string { return c.base.String() }

// Close ends idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// parseServer reads a server's address. Plain HTTP is refused: the token would
// go in clear.
func parseServer(s string) (*url.URL, error) {
	bad := func() error { return errs.New(errs.Invalid, "server.url.invalid", "url", s) }
	if s == "" {
		return nil, bad()
	}
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, bad()
	}
	if u.Scheme != "https" {
		return nil, errs.New(errs.Invalid, "server.url.https", "url", s)
	}
	if u.Host, err = asciiHost(u); err != nil {
		return nil, bad()
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

// asciiHost is the host and port of an address as certificates and the name
// service have it: bücher.example is xn--bcher-kva.example there.
func asciiHost(u *url.URL) (string, error) {
	if !strings.ContainsFunc(u.Host, func(r rune) bool { return r > unicode.MaxASCII }) {
		return u.Host, nil
	}
	host, err := idna.Lookup.ToASCII(u.Hostname())
	if err != nil || u.Port() == "" {
		return host, err
	}
	return net.JoinHostPort(host, u.Port()), nil
}

// ParseServer brings a server's address into the form that New works with, or
// says what is wrong with it.
func ParseServer(s string) (string, error) {
	u, err := parseServer(s)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// maxSkew is how far the clocks may be apart.
const maxSkew = 5 * time.Minute

// checkAnswer looks at what every answer carries: the server's clock, and that
// it is one of ours.
func (c *Client) checkAnswer(r *http.Response) error {
	date, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil || r.Header.Get(HeaderVersion) == "" {
		return nil
	}
	skew := c.cfg.Now().Sub(date).Abs()
	if skew > maxSkew {
		return errs.Of(errs.ClockSkew, "n", int64((skew+30*time.Second)/time.Minute))
	}
	return nil
}

func header(h http.Header) {
	h.Set(HeaderVersion, version.Number())
	h.Set("User-Agent", "backstay/"+version.Number())
}
