// Torture asks what ten thousand computers cost that have nothing to do, as
// `make torture` does: a real server, and this program as its devices, each with
// a TLS connection of its own on which it waits for requests, as the agent does. It
// prints what the server's processor and memory had to do in a minute, how long
// requests took to reach a device, and how long all devices need to come back when
// the server is restarted. It fails above a fifth of one processor, 768 MiB, or
// five seconds for any request.
//
// The environment sets DEVICES (10,000), DURATION, seconds that are measured (60),
// and POSTGRES, the address of a database to do it all once more on.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"
)

const (
	maxShare   = 0.20 // of one processor
	maxMemory  = 768 << 20
	maxLatency = 5 * time.Second
	asked      = 200 // requests that are timed
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	devices, err := number("DEVICES", 10_000)
	if err != nil {
		return err
	}
	seconds, err := number("DURATION", 60)
	if err != nil {
		return err
	}
	if err := manyFiles(uint64(devices) + 1000); err != nil {
		return err
	}
	var all []error
	for _, dsn := range slices.Compact([]string{"", os.Getenv("POSTGRES")}) {
		all = append(all, torture(ctx, dsn, devices, time.Duration(seconds)*time.Second))
	}
	return errors.Join(all...)
}

func number(name string, otherwise int) (int, error) {
	n, err := strconv.Atoi(cmp.Or(os.Getenv(name), strconv.Itoa(otherwise)))
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s must be a number above 0", name)
	}
	return n, nil
}

// manyFiles lets this process, and the server that it starts, have so many open.
func manyFiles(n uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("asking how many files may be open: %w", err)
	}
	if limit.Cur >= n {
		return nil
	}
	limit.Cur, limit.Max = n, max(limit.Max, n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("%d files must be open at once; raise the limit with ulimit -n: %w", n, err)
	}
	return nil
}

func torture(ctx context.Context, dsn string, devices int, d time.Duration) error {
	dir, err := os.MkdirTemp("", "backstay-torture-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := prepare(ctx, dir, dsn, devices)
	if err != nil {
		return fmt.Errorf("making %d devices: %w", devices, err)
	}
	defer w.Close()
	s, err := start(ctx, dir, dsn)
	if err != nil {
		return err
	}
	defer func() { s.stop() }()

	f := newFleet(s, w)
	ctx, cancel := context.WithCancel(ctx)
	defer f.wait.Wait()
	defer cancel()
	began := time.Now()
	f.start(ctx, 10*time.Second)
	if err := f.allWait(ctx); err != nil {
		return err
	}
	fmt.Printf("%s: %d devices wait after %.1f s\n", w.DB.Kind(), devices, time.Since(began).Seconds())

	before, err := s.used()
	if err != nil {
		return err
	}
	began = time.Now()
	latencies, err := f.ask(ctx, w, asked, d)
	if err != nil {
		return err
	}
	passed := time.Since(began)
	after, err := s.used()
	if err != nil {
		return err
	}
	memory, err := s.memory("VmRSS:")
	if err != nil {
		return err
	}
	share := (after - before).Seconds() / passed.Seconds()
	slices.Sort(latencies)
	at := func(p int) float64 { return latencies[min(len(latencies)*p/100, len(latencies)-1)].Seconds() }
	fmt.Printf("  processor   %5.1f %% of one over %.0f s (at most %.0f %%)\n", 100*share, passed.Seconds(), 100*maxShare)
	fmt.Printf("  memory      %5d MiB (at most %d MiB)\n", memory>>20, maxMemory>>20)
	fmt.Printf("  a request   p50 %.2f s, p99 %.2f s, max %.2f s (at most %.0f s), %d of them\n", at(50), at(99), at(100), maxLatency.Seconds(), len(latencies))

	failures := f.failures.Load()
	if s, err = s.restart(ctx, dir, dsn); err != nil {
		return err
	}
	began = time.Now()
	if err := f.allWait(ctx); err != nil {
		return err
	}
	used, err := s.used()
	if err != nil {
		return err
	}
	peak, err := s.memory("VmHWM:")
	if err != nil {
		return err
	}
	fmt.Printf("  a restart   all wait again after %.1f s, %.1f s of processor, %d MiB at most, %d calls failed\n",
		time.Since(began).Seconds(), used.Seconds(), peak>>20, f.failures.Load()-failures)
	switch {
	case share > maxShare:
		return errors.New("waiting devices cost too much of the processor")
	case memory > maxMemory || peak > maxMemory:
		return errors.New("waiting devices cost too much memory")
	case at(100) > maxLatency.Seconds():
		return errors.New("a request took too long")
	}
	return nil
}
