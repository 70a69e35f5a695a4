package wire

import (
	"context"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
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
	Proxy  Proxy      `json:"-"`
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

// Text is all of the report in the reader's language, to be copied and sent to
// somebody who can help. It holds no secret.
func (r Report) Text(say *locale.Printer) string { return "" }

// Diagnose goes the way to a server step by step and stops at the first that
// fails; tell, when not nil, hears of each as it ends. A step takes at most five
// seconds, all of them twenty. identifier is who wants to sign in there; without
// one the last step is skipped.
func Diagnose(ctx context.Context, cfg Config, identifier string, tell func(Check)) Report {
	c, err := New(cfg)
	r := Report{Server: cfg.Server, Proxy: cfg.Proxy}
	if err == nil {
		defer c.Close()
		r.At = c.cfg.Now()
		r.Hello, err = c.Hello(ctx)
	}
	for _, step := range Steps {
		check := Check{Step: step, Outcome: CheckSkipped}
		if step == StepConnection {
			if check.Outcome = CheckPassed; err != nil {
				check.Outcome, check.Err = CheckFailed, err
				if errs.Find(err) == nil {
					check.Err = connectError(cfg.Server, err)
				}
			}
		}
		r.Checks = append(r.Checks, check)
		if tell != nil {
			tell(check)
		}
	}
	return r
}
