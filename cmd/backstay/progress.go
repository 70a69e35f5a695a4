package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/backstay/backstay/wire"
)

// progress shows how far a long command is: on a terminal one line that is
// written over and over, elsewhere a line now and then.
type progress struct {
	a       *app
	tty     *os.File // nil when the error stream is none
	quiet   time.Duration
	mu      sync.Mutex
	began   time.Time
	last    time.Time // when something was written
	drawn   bool
	waits   bool // the server is busy, and that was shown
	samples []sample
}

// sample is what had been done at a time.
type sample struct {
	at    time.Time
	bytes int64
}

// The rhythm of the lines, and over how long a speed is measured.
const (
	redraw     = 100 * time.Millisecond
	quietEvery = 30 * time.Second
	speedOver  = 10 * time.Second
)

func (a *app) newProgress() *progress {
	p := &progress{a: a, began: a.now(), quiet: quietEvery}
	p.last = p.began
	if f, ok := terminal(a.errOut); ok && a.getenv("TERM") != "dumb" {
		p.tty = f
	}
	return p
}

// show tells of the progress, not more often than is useful. It may be called
// from several goroutines.
func (p *progress) show(now wire.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Files count when they are done; a large one moves by what is sent of it.
	now.Bytes = max(now.Bytes, now.Sent)
	at := p.a.now()
	every := p.quiet
	if p.tty != nil {
		every = redraw
	}
	turned := p.waits != (now.Waits > 0)
	if at.Sub(p.last) < every && !turned {
		return
	}
	p.last, p.waits = at, now.Waits > 0
	p.samples = append(p.samples, sample{at, now.Bytes})
	for len(p.samples) > 2 && at.Sub(p.samples[0].at) > speedOver {
		p.samples = p.samples[1:]
	}
	if p.tty == nil {
		fmt.Fprintln(p.a.errOut, p.facts(now))
		return
	}
	width, _, err := term.GetSize(int(p.tty.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	p.drawn = true
	fmt.Fprintf(p.tty, "\r\x1b[K%s", p.line(now, width-1))
}

// done takes the line away.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.tty, "\r\x1b[K")
	}
	p.drawn = false
}

// speed is bytes a second over the last seconds.
func (p *progress) speed() float64 {
	if len(p.samples) == 0 {
		return 0
	}
	from, to := sample{at: p.began}, p.samples[len(p.samples)-1]
	if len(p.samples) > 1 {
		from = p.samples[0]
	}
	passed := to.at.Sub(from.at).Seconds()
	if passed <= 0 {
		return 0
	}
	return float64(to.bytes-from.bytes) / passed
}

// facts are files, bytes, speed and the time that is left, or that the server
// lets this wait.
func (p *progress) facts(now wire.Progress) string {
	say := p.a.say
	if now.Waits > 0 {
		return say.N("cli.status.busy", now.Waits)
	}
	var parts []string
	if now.TotalFiles > now.Files {
		parts = append(parts, say.T("cli.progress.files_of", "n", now.Files, "total", now.TotalFiles))
	} else {
		parts = append(parts, say.N("cli.progress.files", now.Files))
	}
	if now.TotalBytes > now.Bytes {
		parts = append(parts, say.Bytes(now.Bytes)+" / "+say.Bytes(now.TotalBytes))
	} else {
		parts = append(parts, say.Bytes(now.Bytes))
	}
	speed := p.speed()
	parts = append(parts, say.T("cli.progress.speed", "bytes", say.Bytes(int64(speed))))
	if left := now.TotalBytes - now.Bytes; left > 0 && speed > 0 {
		parts = append(parts, say.T("cli.progress.left", "time", time.Duration(float64(left)/speed*float64(time.Second))))
	}
	if now.Errors > 0 {
		parts = append(parts, say.N("cli.progress.errors", now.Errors))
	}
	return strings.Join(parts, "  ")
}

// line is the whole line for a terminal: bar, facts, and as much of the folder
// as there is room for.
func (p *progress) line(now wire.Progress, width int) string {
	facts := p.facts(now)
	text, plain := facts, utf8.RuneCountInString(facts)
	if bar := p.bar(now); bar != "" && plain+barWidth+2 <= width {
		text, plain = bar+"  "+facts, plain+barWidth+2
	}
	if plain > width {
		return string([]rune(facts)[:width])
	}
	if folder := shorten(safe(now.Folder), width-plain-2); folder != "" {
		text += "  " + p.a.paint(dim, folder)
	}
	return text
}

const barWidth = 20

// bar is empty while nobody knows how much there is.
func (p *progress) bar(now wire.Progress) string {
	var share float64
	switch {
	case now.TotalBytes > 0:
		share = float64(now.Bytes) / float64(now.TotalBytes)
	case now.TotalFiles > 0:
		share = float64(now.Files) / float64(now.TotalFiles)
	default:
		return ""
	}
	full := int(min(max(share, 0), 1) * barWidth)
	return p.a.paint(green, strings.Repeat("█", full)) + p.a.paint(dim, strings.Repeat("░", barWidth-full))
}
