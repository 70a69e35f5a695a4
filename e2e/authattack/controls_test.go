package authattack_test

import (
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/server"
)

// weakness is a server with one protection less. What takes it away stands
// before the server, or changes what it has stored: the server has no switch
// for it.
type weakness struct {
	attack string // that must notice
	off    string // what is missing, in our words
	says   string // what the attack must say, as a regular expression

	config func(*server.Config)
	weaken func(*world) // when the server runs
	run    func(testing.TB)
}

// control is a test whose failure is what is hoped for. It ends with the first
// one that says what it must.
type control struct {
	testing.TB
	weakness
	want *regexp.Regexp

	mu    sync.Mutex
	said  []string
	found bool
	over  bool // what is said at the end of the test is not about the attack
}

func newControl(t testing.TB, says string) *control {
	return &control{TB: t, want: regexp.MustCompile(says)}
}

// tries runs the attack on the weak server.
func (c *control) tries(run func(testing.TB)) {
	done := make(chan struct{})
	go func() { // which a failure ends
		defer close(done)
		run(c)
	}()
	<-done
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
}

func (c *control) say(text string) (found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	c.said = append(c.said, text)
	c.found = c.found || c.want.MatchString(text)
	return c.found
}

func (c *control) Error(args ...any) { c.Errorf("%s", fmt.Sprint(args...)) }

func (c *control) Errorf(format string, args ...any) {
	if c.say(fmt.Sprintf(format, args...)) {
		runtime.Goexit()
	}
}

func (c *control) Fatal(args ...any) { c.Fatalf("%s", fmt.Sprint(args...)) }

func (c *control) Fatalf(format string, args ...any) {
	c.say(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (c *control) Log(...any)          {}
func (c *control) Logf(string, ...any) {}

// Every attack notices when what it is about is missing. An attack that passes
// says nothing otherwise: it may just not have looked.
func TestControls(t *testing.T) {
	attacks := map[string]attack{}
	each(func(name string, _ row, a attack) { attacks[name] = a })
	noticed := map[string]bool{}
	for _, weak := range weaknesses {
		noticed[weak.attack] = true
		a := attacks[weak.attack]
		if weak.run == nil {
			weak.run = a.run
		}
		if weak.run == nil {
			t.Errorf("there is no attack %s", weak.attack)
			continue
		}
		t.Run(weak.attack+"/"+strings.ReplaceAll(weak.off, "/", " "), func(t *testing.T) {
			if !a.alone {
				t.Parallel()
			}
			c := newControl(t, weak.says)
			c.weakness = weak
			c.tries(weak.run)
			if !c.found {
				t.Errorf("%s: the attack did not say %q, but: %.2000q", weak.off, weak.says, c.said)
			}
		})
	}
	for name := range attacks {
		if !noticed[name] && byHand[name] == "" {
			t.Errorf("nothing shows that %s can fail", name)
		}
	}
}

// byHand are attacks for which no weak server can be made from outside. They
// were seen to fail when the code was changed as it says.
var byHand = map[string]string{
	"A-36/no keys": "keys.Open makes a key file though there are keys that it does not open",
}

// frozen is a server whose time does not pass: nothing ends.
func frozen(cfg *server.Config) { cfg.Now = func() time.Time { return time.Now() } }
