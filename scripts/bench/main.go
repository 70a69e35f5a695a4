// Bench measures Backstay beside restic and borg, as `make bench` does: the
// same files, the same machine, in turn in the same run, so that the ratios
// count where the seconds depend on the machine and the hour.
//
// Each run starts every program afresh: a first backup, another one with
// nothing changed, a full restore. Backstay works through its server over
// loopback, and its processor time is client and server together; restic and
// borg work on local repositories, which spares them a server. `cp -a` of the
// same files stands beside the restores. The table shows medians and, in
// brackets, the range.
//
// The environment sets SCALE, the size of the files (1 is about 2.2 GB), RUNS,
// how often (3), and BENCH_DIR, where (a temporary folder).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		if ctx.Err() != nil {
			os.Exit(130)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	scale, err := number("SCALE", 1)
	if err != nil {
		return err
	}
	runs, err := number("RUNS", 3)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(os.Getenv("BENCH_DIR"), "backstay-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	files := filepath.Join(dir, "files")
	fmt.Printf("making the files, at scale %g\n", scale)
	corpus, err := makeCorpus(ctx, files, scale)
	if err != nil {
		return fmt.Errorf("making the files: %w", err)
	}
	fmt.Printf("%d files, %.0f MB\n", corpus.Files, mb(corpus.Bytes))

	tools, err := installed()
	if err != nil {
		return err
	}
	result := &result{
		Time: time.Now().UTC().Truncate(time.Second), Machine: machine(), Scale: scale, Runs: int(runs), Corpus: corpus,
		Figures: map[string]map[string][]float64{},
	}
	for _, t := range tools {
		result.Tools = append(result.Tools, named{t.name(), t.version(ctx)})
	}
	for i := range int(runs) {
		for _, t := range tools {
			fmt.Printf("run %d of %d: %s\n", i+1, int(runs), t.name())
			if err := measure(ctx, t, dir, files, i == 0, result); err != nil {
				return fmt.Errorf("%s: %w", t.name(), err)
			}
		}
	}
	return result.write("bench-output")
}

// measure takes one tool through one run in a folder of its own.
func measure(ctx context.Context, t tool, dir, files string, verify bool, r *result) error {
	work, err := os.MkdirTemp(dir, "run-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	s, err := t.start(ctx, work, files)
	if err != nil {
		return err
	}
	defer s.stop()
	for _, step := range []struct {
		name string
		argv []string
	}{{first, s.backup}, {again, s.again}, {restore, s.restore}} {
		if step.argv == nil {
			continue
		}
		u, err := timed(ctx, s, step.argv)
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		r.add(t.name(), step.name+", s", u.wall.Seconds())
		r.add(t.name(), step.name+", CPU s", u.cpu.Seconds())
		r.add(t.name(), step.name+", peak memory MB", mb(u.peak))
	}
	if s.store != "" {
		bytes, err := size(s.store)
		if err != nil {
			return err
		}
		r.add(t.name(), stored, mb(bytes))
	}
	if !verify {
		return nil
	}
	return same(files, s.restored)
}

// usage is what one command took.
type usage struct {
	wall, cpu time.Duration
	peak      int64 // bytes, of the command's own process
}

// timed runs a command to its end. What earlier commands wrote is on the disk
// first, or its writing would be charged to this one.
func timed(ctx context.Context, s *session, argv []string) (usage, error) {
	syscall.Sync()
	before, err := s.serverCPU()
	if err != nil {
		return usage{}, err
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Dir = s.dir
	began := time.Now()
	out, err := cmd.CombinedOutput()
	wall := time.Since(began)
	if err != nil {
		return usage{}, fmt.Errorf("%v: %w\n%s", argv, err, out)
	}
	after, err := s.serverCPU()
	if err != nil {
		return usage{}, err
	}
	rusage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return usage{}, errors.New("this system does not tell a process's memory")
	}
	return usage{
		wall: wall,
		cpu:  cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() + after - before,
		peak: rusage.Maxrss * 1024, // Linux counts in KiB
	}, nil
}

func number(name string, def float64) (float64, error) {
	text := os.Getenv(name)
	if text == "" {
		return def, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%s=%s: not a number above 0", name, text)
	}
	return n, nil
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }
