package osservice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

// The rhythm of restarts.
const (
	firstPause = time.Second
	lastPause  = 5 * time.Minute
	steady     = 10 * time.Minute // who ran so long begins with the first pause again
	// grace is how long an agent may take to end: the system gives the whole
	// service ten seconds or little more.
	grace = 8 * time.Second
)

// keeper keeps the agent of one enrolment running.
type keeper struct {
	s         *supervisor
	enrolment enrolment
	log       *slog.Logger
	stop      context.CancelFunc
	done      chan struct{}
	poke      chan struct{}

	mu    sync.Mutex
	shown Kept
}

// end stops the agent and waits for that.
func (k *keeper) end() {
	k.stop()
	<-k.done
}

// again cuts a pause short: something changed that may have been why the agent
// could not run.
func (k *keeper) again() {
	select {
	case k.poke <- struct{}{}:
	default:
	}
}

func (k *keeper) show() Kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := k.shown
	e := k.enrolment
	kept.ID, kept.User, kept.State, kept.Server = e.ID, e.User, e.State, e.Server
	if kept.Doing == "" {
		kept.Doing = Waiting
	}
	return kept
}

func (k *keeper) set(change func(*Kept)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&k.shown)
}

// run starts the agent again whenever it ends, after pauses that grow while it
// does not stay.
func (k *keeper) run(ctx context.Context) {
	defer close(k.done)
	// Linux ends a child with the thread that started it (Pdeathsig), so that
	// thread is this goroutine's own.
	runtime.LockOSThread()
	pause := firstPause
	for {
		began := time.Now()
		err := k.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= steady {
			pause = firstPause
		}
		next := time.Now().Add(pause / time.Duration(k.s.cfg.pace))
		k.log.Warn("the agent ended and is started again", "at", next, "err", err)
		k.set(func(s *Kept) {
			s.Doing, s.PID, s.Since, s.Next, s.Failure = Waiting, 0, time.Time{}, next, err.Error()
			s.Ended++
		})
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-k.poke:
			timer.Stop()
		case <-timer.C:
		}
		pause = min(2*pause, lastPause)
	}
}

// once runs the agent until it ends, or until ctx does. It always returns an
// error: an agent does not end by itself.
func (k *keeper) once(ctx context.Context) error {
	a, err := lookUp(k.enrolment.ID)
	if err != nil {
		return err
	}
	if a.name != k.enrolment.User {
		return errOtherAccount
	}
	dir := string(k.enrolment.State)
	if err := checkFolder(a, dir, k.s.dir); err != nil {
		return err
	}
	log := &lines{log: k.log}
	cmd := exec.CommandContext(ctx, k.s.cfg.Program, "agent", "--state", dir)
	cmd.Stderr, cmd.WaitDelay = log, grace
	leave, err := startAs(cmd, a, k.s.cfg.Getenv)
	if err != nil {
		return fmt.Errorf("starting the agent: %w", err)
	}
	defer leave()
	k.log.Info("the agent runs", "pid", cmd.Process.Pid, "state", dir)
	k.set(func(s *Kept) { s.Doing, s.PID, s.Since, s.Next = Running, cmd.Process.Pid, time.Now(), time.Time{} })
	err = cmd.Wait()
	if err == nil {
		err = errors.New("it ended without being told to")
	}
	if last := log.last(); last != "" {
		err = fmt.Errorf("%w: %s", err, last)
	}
	return err
}

// lines hands on what an agent writes, a line at a time. The agent is its user's
// process, who could make it write anything, and any amount.
type lines struct {
	log *slog.Logger

	mu      sync.Mutex
	rest    []byte
	text    string // why the agent says that it ended
	minute  time.Time
	written int
}

const (
	longestLine   = 4 << 10
	linesAMinute  = 300
	longestReason = 500
)

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := p; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		rest = after
		l.rest = append(l.rest, line[:min(len(line), longestLine-len(l.rest))]...)
		if ended {
			l.line(string(l.rest))
			l.rest = l.rest[:0]
		}
	}
	return len(p), nil
}

func (l *lines) line(text string) {
	if why, ok := strings.CutPrefix(text, "backstay: "); ok {
		l.text = why
	}
	if now := time.Now(); now.Sub(l.minute) > time.Minute {
		l.minute, l.written = now, 0
	}
	if l.written++; l.written <= linesAMinute {
		l.log.Info("agent", "line", text)
	} else if l.written == linesAMinute+1 {
		l.log.Warn("the agent writes too much; the rest of the minute is left out")
	}
}

func (l *lines) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text[:min(len(l.text), longestReason)]
}
