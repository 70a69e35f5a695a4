package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/version"
)

// Step is one of the things that must go well on the way to a server.
type Step string

// The steps, in their order.
const (
	StepName        Step = "name"        // the server's name, or its proxy's, has an address
	StepConnection  Step = "connection"  // a connection to it opens
	StepProxy       Step = "proxy"       // the proxy passes it on
	StepCertificate Step = "certificate" // the server is who it says
	StepClock       Step = "clock"       // both clocks agree
	StepVersion     Step = "version"     // it is a Backstay server that takes this client
	StepRealm       Step = "realm"       // it says how the user signs in
)

// Steps are all of them.
var Steps = []Step{StepName, StepConnection, StepProxy, StepCertificate, StepClock, StepVersion, StepRealm}

// How a step went.
const (
	CheckPassed  = "passed"
	CheckFailed  = "failed"
	CheckSkipped = "skipped"
)

// Check is how a step went.
type Check struct {
	Step    Step          `json:"step"`
	Outcome string        `json:"outcome"`
	Took    time.Duration `json:"took"`
	// Err is why it failed, an *errs.Error of E1001 to E1005, or of what the
	// server said no by.
	Err error `json:"-"`
	// Details are what was found, in this order, by names that have a text.
	Details []Detail `json:"details,omitempty"`
}

// Detail is one thing that a step found: the value of the name, such as
// "addresses" or "issuer".
type Detail struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Report is what a diagnosis found.
type Report struct {
	Server string     `json:"server"`
	At     time.Time  `json:"at"`
	Client string     `json:"client"` // this program's version
	Checks []Check    `json:"checks"` // one for each step
	Hello  Hello      `json:"hello"`  // what the server said it is, when it did
	Method Discovered `json:"method"` // how the user signs in, when it said so
}

// Err is why the first step that failed did, nil when none has.
func (r Report) Err() error {
	if c := r.Failed(); c != nil {
		return c.Err
	}
	return nil
}

// Failed is the step that failed, nil when none has.
func (r Report) Failed() *Check {
	for i := range r.Checks {
		if r.Checks[i].Outcome == CheckFailed {
			return &r.Checks[i]
		}
	}
	return nil
}

// The time that a diagnosis may take.
const (
	stepBudget     = 5 * time.Second
	diagnoseBudget = 20 * time.Second
)

// Diagnose goes the way to a server step by step and stops at the first that
// fails; tell, when not nil, hears of each as it ends. A step takes at most five
// seconds, all of them twenty. identifier is who wants to sign in there; without
// one the last step is skipped.
func Diagnose(ctx context.Context, cfg Config, identifier string, tell func(Check)) Report {
	if tell == nil {
		tell = func(Check) {}
	}
	ctx, cancel := context.WithTimeout(ctx, diagnoseBudget)
	defer cancel()
	d := &diagnosis{ctx: ctx, tell: tell, report: Report{Server: cfg.Server, Client: version.Number()}}
	cfg.setDefaults()
	d.report.At = cfg.Now()
	client, err := New(cfg)
	if err != nil {
		d.failed(StepName, err)
		return d.end()
	}
	defer client.Close()
	d.client = client
	d.report.Server = client.Server()
	if conn := d.opens(); conn != nil {
		d.speaks(conn, identifier)
	}
	return d.end()
}

// diagnosis is a diagnosis under way.
type diagnosis struct {
	ctx    context.Context
	client *Client
	tell   func(Check)
	report Report
	began  time.Time // of the step
}

// step is the context of a step that begins now.
func (d *diagnosis) step() (context.Context, context.CancelFunc) {
	d.began = time.Now()
	return context.WithTimeout(d.ctx, stepBudget)
}

// add notes how a step went. Those before it that nothing was said of were
// passed over.
func (d *diagnosis) add(check Check) {
	for _, step := range Steps[len(d.report.Checks):] {
		if step == check.Step {
			break
		}
		d.note(Check{Step: step, Outcome: CheckSkipped})
	}
	d.note(check)
}

func (d *diagnosis) note(check Check) {
	d.report.Checks = append(d.report.Checks, check)
	d.tell(check)
}

func (d *diagnosis) passed(step Step, details ...Detail) {
	d.add(Check{Step: step, Outcome: CheckPassed, Took: time.Since(d.began), Details: details})
}

func (d *diagnosis) failed(step Step, err error, details ...Detail) {
	e := errs.Find(err)
	if e == nil {
		e = stopped(step, "connection.lost", err, "server", d.report.Server)
	}
	d.add(Check{Step: step, Outcome: CheckFailed, Took: time.Since(d.began), Err: e, Details: details})
}

// end skips what is left.
func (d *diagnosis) end() Report {
	for _, step := range Steps[len(d.report.Checks):] {
		d.note(Check{Step: step, Outcome: CheckSkipped})
	}
	return d.report
}

// opens finds a way to the server and goes it: name, connection, proxy. It
// returns nil when there is none.
func (d *diagnosis) opens() net.Conn {
	ctx, cancel := d.step()
	ways, missing, err := d.client.ways(ctx)
	cancel()
	if err != nil {
		d.failed(StepProxy, err)
		return nil
	}
	var before []Detail // of the ways that failed
	if missing != nil {
		before = append(before, Detail{"script", missing.Error()})
	}
	for i, w := range ways {
		// Of a way that is not the last one nothing is told before it has been
		// gone: the next one may begin anew.
		t := trial{diagnosis: d, way: w, last: i == len(ways)-1, details: before}
		conn, err := t.goes()
		if conn != nil || t.last {
			return conn
		}
		before = append(before, Detail{"tried", w.String() + ": " + err.Error()})
	}
	return nil
}

// trial is one way to the server, tried.
type trial struct {
	*diagnosis
	way     way
	last    bool
	details []Detail // for the first step that is told
	waiting []func()
}

// tells has something told: at once when no other way would be tried.
func (t *trial) tells(f func()) {
	if t.last {
		f()
		return
	}
	t.waiting = append(t.waiting, f)
}

func (t *trial) fails(step Step, err error, details ...Detail) error {
	if e := errs.Find(err); e != nil && e.Code != errs.CannotConnect {
		t.last = true // there is one, and it is not to be gone around
		for _, f := range t.waiting {
			f()
		}
	}
	if t.last {
		t.failed(step, err, append(t.details, details...)...)
	}
	return err
}

func (t *trial) goes() (net.Conn, error) {
	addr := hostPort(t.client.base)
	isProxy := t.way.proxy != nil
	next := addr
	if isProxy {
		next = t.way.proxy.Host
		t.details = append(t.details, Detail{"proxy", t.way.String()})
	}
	if err := t.finds(next, isProxy); err != nil {
		return nil, err
	}
	ctx, cancel := t.step()
	defer cancel()
	conn, err := t.client.reach(ctx, next, isProxy)
	if err != nil {
		return nil, t.fails(StepConnection, err)
	}
	remote := Detail{"address", conn.RemoteAddr().String()}
	t.tells(func() { t.passed(StepConnection, remote) })
	if isProxy {
		ctx, cancel := t.step()
		defer cancel()
		if conn, err = t.client.pass(ctx, conn, t.way.proxy, addr); err != nil {
			return nil, t.fails(StepProxy, err)
		}
		t.tells(func() { t.passed(StepProxy) })
	}
	for _, f := range t.waiting {
		f()
	}
	return conn, nil
}

// finds looks a name up. That of the server behind a proxy is the proxy's to
// look up.
func (t *trial) finds(addr string, isProxy bool) error {
	host, _, _ := net.SplitHostPort(addr)
	ctx, cancel := t.step()
	defer cancel()
	found, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return t.fails(StepName, unreached(addr, isProxy, err), Detail{"name", host})
	}
	details := append(t.details, Detail{"name", host}, Detail{"addresses", strings.Join(found, ", ")})
	t.details = nil
	t.tells(func() { t.passed(StepName, details...) })
	return nil
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// speaks goes on over an open connection: certificate, clock, version, realm.
func (d *diagnosis) speaks(conn net.Conn, identifier string) {
	defer conn.Close()
	ctx, cancel := d.step()
	defer cancel()
	layer := tls.Client(conn, d.client.transport.TLSClientConfig)
	if err := layer.HandshakeContext(ctx); err != nil {
		e := d.untrusted(ctx, err)
		d.failed(StepCertificate, e, certDetails(e.Args)...)
		return
	}
	cert := layer.ConnectionState().PeerCertificates[0]
	d.passed(StepCertificate, certDetails(certArgs(cert))...)
	d.client.use(layer)
	if d.greets() && identifier != "" {
		d.asks(identifier)
	}
}

// untrusted is why no secure connection came about.
func (d *diagnosis) untrusted(ctx context.Context, err error) *errs.Error {
	if e := errs.Find(err); e != nil {
		return e
	}
	if e := d.client.certError(err, d.client.base.Hostname()); e != nil {
		return e
	}
	why := "certificate.broken"
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &record):
		why = "certificate.none"
	case ctx.Err() != nil:
		why = "certificate.silent"
	}
	return stopped(StepCertificate, why, err, "server", d.client.base.Host)
}

// greets asks the server who it is and what time it has.
func (d *diagnosis) greets() bool {
	ctx, cancel := d.step()
	defer cancel()
	c := d.client
	ctx, w := watchCall(ctx, stepBudget, nil, nil)
	defer w.stop()
	r, err := c.request(ctx, call{method: http.MethodGet, path: "hello"}, "", w)
	if err != nil {
		d.failed(StepVersion, err)
		return false
	}
	answer, err := c.http.Do(r)
	if err != nil {
		d.failed(StepVersion, d.silent(ctx, StepVersion, err))
		return false
	}
	defer answer.Body.Close()
	return d.agrees(answer) && d.accepts(ctx, answer, w)
}

// silent is why a question got no answer: its step's time was over, or err.
func (d *diagnosis) silent(ctx context.Context, step Step, err error) error {
	if ctx.Err() != nil {
		return stopped(step, string(step)+".silent", err, "server", d.client.base.Host)
	}
	return d.client.broken(ctx, err)
}

// agrees looks at the clocks. What no server of ours answered has none that
// matters.
func (d *diagnosis) agrees(answer *http.Response) bool {
	date, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil || answer.Header.Get(HeaderVersion) == "" {
		return true
	}
	now := d.client.cfg.Now()
	details := []Detail{
		{"clock", now.UTC().Format(instant)},
		{"server_clock", date.UTC().Format(instant)},
		{"difference", now.Sub(date).Round(time.Second).String()},
	}
	if err := d.client.checkAnswer(answer); err != nil {
		d.failed(StepClock, err, details...)
		return false
	}
	d.passed(StepClock, details...)
	return true
}

// accepts reads what the server says of itself and of who may talk to it.
func (d *diagnosis) accepts(ctx context.Context, answer *http.Response, w *watch) bool {
	body := w.receiving(answer.Body)
	if answer.StatusCode != http.StatusOK {
		err := d.client.refused(answer, body)
		if answer.StatusCode == http.StatusMisdirectedRequest {
			err = stopped(StepVersion, "version.name", err, "name", d.client.base.Hostname())
		}
		d.failed(StepVersion, err, Detail{"answer", answer.Status})
		return false
	}
	hello, err := d.client.readHello(body)
	if ctx.Err() != nil {
		err = d.silent(ctx, StepVersion, err)
	}
	details := []Detail{{"client_version", version.Number()}, {"server_version", hello.Version}, {"min_client", hello.MinClient}}
	switch {
	case err == nil:
		d.report.Hello = hello
		d.passed(StepVersion, details...)
	case errs.Is(err, errs.ClientTooOld):
		d.failed(StepVersion, err, details...)
	default:
		d.failed(StepVersion, err)
	}
	return err == nil
}

// asks has the server say how somebody signs in.
func (d *diagnosis) asks(identifier string) {
	ctx, cancel := d.step()
	defer cancel()
	method, err := d.client.Discover(ctx, identifier)
	if ctx.Err() != nil {
		err = d.silent(ctx, StepRealm, err)
	}
	if err != nil {
		d.failed(StepRealm, err)
		return
	}
	d.report.Method = method
	d.passed(StepRealm, Detail{"method", method.Method})
}
