package osservice

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/backstay/backstay/agent/door"
)

const (
	// deployLook is how often the service looks for the deployment file.
	deployLook = 5 * time.Second
	// deployAgain is when it tries once more what the program gave up.
	deployAgain = 30 * time.Minute
)

// deploy has the program enrol this computer by the file that management leaves on
// it: when it appears, and whenever it is another one. The program tries until the
// computer is a device, and takes the token out of the file. It runs until it leaves
// the file as it was: what management wrote meanwhile is not missed.
func (s *supervisor) deploy(ctx context.Context, path string) {
	runtime.LockOSThread() // see keeper.run
	pace := time.Duration(s.cfg.pace)
	look := time.NewTicker(deployLook / pace)
	defer look.Stop()
	var done os.FileInfo // the file before the last run
	var again time.Time
	for {
		if info, err := os.Stat(path); err == nil && (!sameFile(info, done) || !again.IsZero() && time.Now().After(again)) {
			done, again = info, time.Time{}
			if err := s.deployOnce(ctx, path); err != nil && ctx.Err() == nil {
				again = time.Now().Add(deployAgain / pace)
				s.cfg.Log.Error("this computer was not deployed", "file", path, "again", again, "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

func sameFile(a, b os.FileInfo) bool {
	return b != nil && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// deployOnce runs the program until it ends, or until ctx does.
func (s *supervisor) deployOnce(ctx context.Context, path string) error {
	a, err := lookUp(door.Root)
	if err != nil {
		return err
	}
	log := &lines{log: s.cfg.Log}
	cmd := exec.CommandContext(ctx, s.cfg.Program, "deploy", "--config", path)
	cmd.Stderr, cmd.WaitDelay = log, grace
	leave, err := startAs(cmd, a, s.cfg.Getenv)
	if err != nil {
		return fmt.Errorf("starting the deployment: %w", err)
	}
	defer leave()
	s.cfg.Log.Info("this computer is deployed", "pid", cmd.Process.Pid, "file", path)
	if err := cmd.Wait(); err != nil {
		if last := log.last(); last != "" {
			err = errors.New(last)
		}
		return err
	}
	return nil
}
