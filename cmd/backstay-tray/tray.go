//go:build linux || windows

package main

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"os/exec"
	"strings"
	"time"

	"fyne.io/systray"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
)

// every is how often the tray looks how the backups are doing.
const every = 5 * time.Second

// view is what the tray shows.
type view struct {
	text   string
	tone   agent.Tone
	backUp bool // a backup can begin now
	pause  bool // backups can be paused
	paused bool
}

// see makes a view of how the device stands, or of why nobody knows; deploying is
// how it stands with a computer that is to become a device by itself.
func see(say *locale.Printer, s agent.Standing, deploying *state.Deployment, err error) view {
	switch {
	case errs.Is(err, errs.NotActivated) && deploying != nil && deploying.Failure() != nil:
		return view{text: say.T("tray.inactive") + " " + say.Error(deploying.Failure()), tone: agent.Warn}
	case errs.Is(err, errs.NotActivated):
		return view{text: say.T("tray.inactive"), tone: agent.Warn}
	case err != nil:
		return view{text: say.Error(err), tone: agent.Bad}
	}
	v := view{paused: s.Paused()}
	v.text, v.tone = s.Sentence(say)
	v.backUp = !s.Running() && s.Stopped() == nil
	v.pause = s.Settings.Settings.UserMay.Pause && s.Stopped() == nil
	return v
}

// click is what somebody chose.
type click string

const (
	open   click = "ui"
	backUp click = "backup"
	pause  click = "pause" // or the end of the pause
	quit   click = "quit"
)

// tray is the icon and its menu.
type tray struct {
	say     *locale.Printer
	dir     string // the state folder
	program string // backstay
	now     func() time.Time

	status, problem, backUp, pause *systray.MenuItem

	clicked chan click
	ended   chan string // why what was started failed, "" when it did not
	shown   view
}

// keep shows how the backups are doing, and does what the menu says, until ctx
// ends.
func (t *tray) keep(ctx context.Context) {
	defer systray.Quit()
	t.status = systray.AddMenuItem("", "")
	t.status.Disable()
	t.problem = systray.AddMenuItem("", "")
	t.problem.Disable()
	t.problem.Hide()
	systray.AddSeparator()
	t.item("tray.open", open)
	t.backUp = t.item("tray.backup", backUp)
	t.pause = t.item("tray.pause", pause)
	systray.AddSeparator()
	t.item("tray.quit", quit)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		s, err := agent.Stand(ctx, t.dir, t.now())
		var deploying *state.Deployment
		if errs.Is(err, errs.NotActivated) {
			deploying = t.deploying(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		t.show(see(t.say, s, deploying, err))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case c := <-t.clicked:
			switch {
			case c == quit:
				return
			case c == pause && t.shown.paused:
				t.start("resume")
			default:
				t.start(string(c))
			}
		case why := <-t.ended:
			t.tell(why)
		}
	}
}

// deploying is how it stands with this computer where it is to become a device
// by itself.
func (t *tray) deploying(ctx context.Context) *state.Deployment {
	st, err := state.Open(t.dir)
	if err != nil {
		return nil
	}
	return agent.Deploying(ctx, os.Getenv, st)
}

// item adds an entry to the menu. Somebody always listens to it: a click that
// nobody waits for is lost, and keep looks elsewhere at times.
func (t *tray) item(key string, c click) *systray.MenuItem {
	item := systray.AddMenuItem(t.say.T(key), "")
	go func() {
		for range item.ClickedCh {
			t.click(c)
		}
	}()
	return item
}

// click passes on what was chosen; what is chosen faster than it is done was
// chosen twice.
func (t *tray) click(c click) {
	select {
	case t.clicked <- c:
	default:
	}
}

// show changes what has changed: a desktop draws everything that it is told.
func (t *tray) show(v view) {
	if v == t.shown {
		return
	}
	if v.tone != t.shown.tone {
		systray.SetIcon(icon(v.tone))
	}
	systray.SetTooltip(v.text)
	t.status.SetTitle(v.text)
	enable(t.backUp, v.backUp)
	enable(t.pause, v.pause)
	word := "tray.pause"
	if v.paused {
		word = "tray.resume"
	}
	t.pause.SetTitle(t.say.T(word))
	t.shown = v
}

func enable(item *systray.MenuItem, on bool) {
	if on {
		item.Enable()
	} else {
		item.Disable()
	}
}

// start has backstay do something. It goes on when the tray ends.
func (t *tray) start(command string) {
	cmd := exec.Command(t.program, command)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.tell(err.Error())
		return
	}
	go func() {
		why := ""
		if err := cmd.Wait(); err != nil {
			line, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
			why = cmp.Or(line, err.Error())
		}
		t.ended <- why
	}()
}

// tell shows why what was asked for was not done, until something is.
func (t *tray) tell(why string) {
	if why == "" {
		t.problem.Hide()
		return
	}
	t.problem.SetTitle(why)
	t.problem.Show()
}
