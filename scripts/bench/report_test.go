package main

import (
	"strings"
	"testing"
)

func TestMarkdown(t *testing.T) {
	t.Parallel()
	r := &result{Tools: []named{{"Backstay", "1"}, {"restic", "2"}, {"cp", "3"}}, Figures: map[string]map[string][]float64{}}
	for _, row := range rows {
		for _, v := range []float64{3, 1, 2} {
			r.add("Backstay", row, v)
			r.add("restic", row, 100*v)
		}
	}
	r.add("cp", restore+", s", 5)
	got := r.markdown()
	for _, want := range []string{
		"| | Backstay | restic | cp | Backstay / restic |\n|---|---:|---:|---:|---:|\n",
		"| first backup, s | 2.00 (1.00-3.00) | 200 (100-300) | | 0.01 |\n",
		"| full restore, s | 2.00 (1.00-3.00) | 200 (100-300) | 5.00 | 0.01 |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got:\n%s\nwant in it:\n%s", got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(test.values); got != test.want {
			t.Errorf("median(%v) = %v, want %v", test.values, got, test.want)
		}
	}
}
