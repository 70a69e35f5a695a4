//go:build linux || windows

// Command backstay-tray shows beside the clock how the backups of this computer
// are doing. It reads what the state folder and the agent's socket say, and has
// backstay do the rest: who ends it loses no backup.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"fyne.io/systray"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/locale"
)

func main() {
	say := locale.For(locale.FromEnv(os.Getenv))
	if err := run(say); err != nil {
		fmt.Fprintln(os.Stderr, "backstay-tray:", say.Error(err))
		os.Exit(1)
	}
}

func run(say *locale.Printer) error {
	dir, err := state.DefaultDir(os.Getenv, false)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding backstay: %w", err)
	}
	if err := session(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t := &tray{say: say, dir: dir, program: filepath.Join(filepath.Dir(self), program), now: time.Now, clicked: make(chan click, 1), ended: make(chan string, 1)}
	systray.SetOnTapped(func() { t.click(open) })
	systray.SetTitle("Backstay")
	systray.Run(func() { go t.keep(ctx) }, nil)
	return nil
}
