// Torture asks what ten thousand computers cost that have nothing to do, as
// `make torture` does: a real server, and this program as its devices, each with
// a TLS connection of its own on which it waits for requests, as the agent does. One
// in ten is disabled and waits to be let in again. Torture prints what the server's
// processor and memory had to do in a minute, how long requests took to reach a
// device, and how long all devices need to come back when the server is restarted;
// first on SQLite, then on a PostgreSQL server that it makes and removes. It fails
// above a fifth of one processor, 768 MiB, or five seconds for any request. A second
// minute, with the heartbeats that devices send between their polls, has no bounds.
//
// The environment sets DEVICES (10,000), DURATION, seconds that are measured (60),
// and DATABASE, sqlite or postgres, to measure one alone.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/backstay/backstay/scripts/cluster"
)

const (
	maxShare   = 0.20 // of one processor
	maxMemory  = 768 << 20
	maxLatency = 5 * time.Second
	asked      = 200 // requests that are timed
)

// The servers must die with us, however we die. The kernel watches the thread that
// started them, so main stays on one.
func init() { runtime.LockOSThread() }

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
	t := torture{devices: devices, measured: time.Duration(seconds) * time.Second}
	again := t
	switch os.Getenv("DATABASE") {
	case "sqlite":
		return t.run(ctx)
	case "postgres":
		return t.onPostgres(ctx)
	case "":
		return errors.Join(t.run(ctx), again.onPostgres(ctx))
	}
	return errors.New("DATABASE must be sqlite or postgres, or nothing for both")
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

// torture is one measurement.
type torture struct {
	devices  int
	measured time.Duration
	database *cluster.Cluster // nil for SQLite

	broken []error
}

func (t *torture) onPostgres(ctx context.Context) (err error) {
	if t.database, err = cluster.Start(ctx); err != nil {
		return fmt.Errorf("starting PostgreSQL: %w", err)
	}
	defer t.database.Stop()
	return t.run(ctx)
}

func (t *torture) dsn() string {
	if t.database == nil {
		return ""
	}
	return t.database.DSN
}

func (t *torture) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "backstay-torture-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := prepare(ctx, dir, t.dsn(), t.devices)
	if err != nil {
		return fmt.Errorf("making %d devices: %w", t.devices, err)
	}
	defer w.Close()
	s, err := start(ctx, dir, t.dsn())
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
	fmt.Printf("%s: %d devices wait after %.1f s (load of the machine %s)\n", w.DB.Kind(), t.devices, time.Since(began).Seconds(), load())
	// What their coming leaves to do is not what waiting costs.
	if !f.allPolled(ctx) {
		return ctx.Err()
	}
	cost, err := t.idle(ctx, f, w, s)
	if err != nil {
		return err
	}
	t.hold(cost.share <= maxShare, fmt.Sprintf("waiting devices took more than %.0f %% of one processor", 100*maxShare))
	t.hold(cost.resident <= maxMemory, fmt.Sprintf("waiting devices took more than %d MiB", maxMemory>>20))
	t.hold(cost.latency <= maxLatency, fmt.Sprintf("a request took more than %s", maxLatency))

	f.beats.Store(true)
	if !f.allPolled(ctx) {
		return ctx.Err()
	}
	fmt.Println("  with their heartbeats:")
	if _, err := t.idle(ctx, f, w, s); err != nil {
		return err
	}

	f.beats.Store(false)
	failed := f.failures.Load()
	if err := s.stop(); err != nil {
		return fmt.Errorf("stopping the server: %w", err)
	}
	if err := f.noneWaits(ctx); err != nil {
		return err
	}
	if s, err = start(ctx, dir, t.dsn(), s.address); err != nil {
		return err
	}
	if err := t.herd(ctx, f, s); err != nil {
		return err
	}
	fmt.Printf("  %d calls failed with the restart\n", f.failures.Load()-failed)
	return errors.Join(t.broken...)
}

// cost is what devices cost that have nothing to do.
type cost struct {
	share    float64 // of one processor
	resident int64   // bytes of memory
	latency  time.Duration
}

// idle measures that, and how soon devices are reached.
func (t *torture) idle(ctx context.Context, f *fleet, w *world, s *server) (c cost, err error) {
	before, err := t.times(s)
	if err != nil {
		return c, err
	}
	began := time.Now()
	latencies, err := f.ask(ctx, w, asked, t.measured)
	if err != nil {
		return c, err
	}
	passed := time.Since(began).Seconds()
	after, err := t.times(s)
	if err != nil {
		return c, err
	}
	if c.resident, err = memory(s.pid(), "VmRSS:"); err != nil {
		return c, err
	}
	c.share = (after.server - before.server).Seconds() / passed
	slices.Sort(latencies)
	at := func(p int) time.Duration { return latencies[min(len(latencies)*p/100, len(latencies)-1)] }
	c.latency = at(100)
	fmt.Printf("  processor   %5.1f %% of one over %.0f s\n", 100*c.share, passed)
	if t.database != nil {
		fmt.Printf("  PostgreSQL  %5.1f %% of one beside it\n", 100*(after.database-before.database).Seconds()/passed)
	}
	fmt.Printf("  memory      %5d MiB\n", c.resident>>20)
	fmt.Printf("  a request   p50 %.2f s, p99 %.2f s, max %.2f s, %d of them\n",
		at(50).Seconds(), at(99).Seconds(), at(100).Seconds(), len(latencies))
	fmt.Printf("  the load of the machine was %s\n", load())
	return c, nil
}

// herd measures how all devices come back at once.
func (t *torture) herd(ctx context.Context, f *fleet, s *server) error {
	began := time.Now()
	if err := f.allWait(ctx); err != nil {
		return err
	}
	took, err := t.times(s)
	if err != nil {
		return err
	}
	peak, err := memory(s.pid(), "VmHWM:")
	if err != nil {
		return err
	}
	fmt.Printf("  a restart   all wait again after %.1f s, %.1f s of processor, %d MiB at most, load %s\n",
		time.Since(began).Seconds(), took.server.Seconds(), peak>>20, load())
	t.hold(peak <= maxMemory, fmt.Sprintf("devices that came back all at once took more than %d MiB", maxMemory>>20))
	return nil
}

// hold notes a limit that was passed.
func (t *torture) hold(kept bool, otherwise string) {
	if !kept {
		t.broken = append(t.broken, errors.New(otherwise))
	}
}

// times is the processor's time that was taken so far.
type times struct{ server, database time.Duration }

func (t *torture) times(s *server) (all times, err error) {
	if all.server, err = used(s.pid()); err != nil || t.database == nil {
		return all, err
	}
	all.database, err = usedByFamily(t.database.PID())
	return all, err
}
