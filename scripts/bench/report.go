package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// The names of what is measured.
const (
	first   = "first backup"
	again   = "nothing changed"
	restore = "full restore"
	stored  = "stored, MB"
)

// rows are the table's lines, in its order.
var rows = []string{
	first + ", s", first + ", CPU s", again + ", s", again + ", CPU s", restore + ", s", restore + ", CPU s",
	stored, first + ", peak memory MB", again + ", peak memory MB", restore + ", peak memory MB",
}

type named struct{ Name, Version string }

// result is everything that was measured: the JSON file as it is.
type result struct {
	Time    time.Time
	Machine string
	Scale   float64
	Runs    int
	Corpus  corpus
	Tools   []named
	Figures map[string]map[string][]float64 // tool, row, one value a run
}

func (r *result) add(tool, row string, value float64) {
	if r.Figures[tool] == nil {
		r.Figures[tool] = map[string][]float64{}
	}
	r.Figures[tool][row] = append(r.Figures[tool][row], value)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// show is the median with as many digits as matter, and the range behind it.
func show(values []float64) string {
	digits := func(v float64) string {
		switch {
		case v < 10:
			return fmt.Sprintf("%.2f", v)
		case v < 100:
			return fmt.Sprintf("%.1f", v)
		}
		return fmt.Sprintf("%.0f", v)
	}
	m, low, high := digits(median(values)), digits(slices.Min(values)), digits(slices.Max(values))
	if low == high {
		return m
	}
	return fmt.Sprintf("%s (%s-%s)", m, low, high)
}

// markdown is the table: a column a tool, then Backstay as a share of each
// other backup program.
func (r *result) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Backstay measured, %s\n\n", r.Time.Format(time.DateOnly))
	fmt.Fprintf(&b, "%s. %d files, %.0f MB; medians of %d runs in turn, ranges in brackets. Page cache warm.\n", r.Machine, r.Corpus.Files, mb(r.Corpus.Bytes), r.Runs)
	b.WriteString("Backstay: client to server over loopback, processor time of both, memory of the client. The others: local repositories.\n\n")
	for _, part := range r.Corpus.Parts {
		fmt.Fprintf(&b, "- %s\n", part)
	}
	for _, t := range r.Tools {
		fmt.Fprintf(&b, "- %s: %s\n", t.Name, t.Version)
	}
	b.WriteString("\n| |")
	for _, t := range r.Tools {
		fmt.Fprintf(&b, " %s |", t.Name)
	}
	ours, peers := r.Tools[0], r.peers()
	for _, t := range peers {
		fmt.Fprintf(&b, " %s / %s |", ours.Name, t)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(r.Tools)+len(peers)) + "\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", row)
		for _, t := range r.Tools {
			if v := r.Figures[t.Name][row]; len(v) > 0 {
				fmt.Fprintf(&b, " %s |", show(v))
			} else {
				b.WriteString(" |")
			}
		}
		mine := median(r.Figures[ours.Name][row])
		for _, t := range peers {
			fmt.Fprintf(&b, " %.2f |", mine/median(r.Figures[t][row]))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// peers are the other tools that did all that we did.
func (r *result) peers() []string {
	var peers []string
	for _, t := range r.Tools[1:] {
		if len(r.Figures[t.Name]) == len(rows) {
			peers = append(peers, t.Name)
		}
	}
	return peers
}

// write prints the table and keeps it, with all single figures, in dir.
func (r *result) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	figures, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	table := r.markdown()
	base := filepath.Join(dir, r.Time.Format("2006-01-02T150405"))
	err = errors.Join(os.WriteFile(base+".md", []byte(table), 0o644), os.WriteFile(base+".json", append(figures, '\n'), 0o644))
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\nkept in %s.md and .json\n", table, base)
	return nil
}

// machine is the processor's name and how many there are.
func machine() string {
	name := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				name = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d x %s", runtime.NumCPU(), name)
}
