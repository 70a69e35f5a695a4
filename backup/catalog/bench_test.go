package catalog

import (
	"testing"
)

// The catalog's share of a run in which nothing changed: 72,000 entries are
// decoded, compared and written again.
func BenchmarkUnchanged(b *testing.B) {
	entries := tree(70_000)
	s := newStore()
	root, _ := s.write(b, entries, nil)
	b.ReportAllocs()
	for b.Loop() {
		r := NewReader(root, s.fetch)
		r.Known = &Known{}
		w := NewWriter(WriterConfig{Secret: secret, Seal: s.seal, Known: r.Known})
		i := 0
		for e, err := range r.All(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
			if e.Compare(&entries[i]) != 0 || e.Mtime != entries[i].Mtime {
				b.Fatal("not the same")
			}
			if err := w.Add(e); err != nil {
				b.Fatal(err)
			}
			i++
		}
		if got, err := w.Close(); err != nil || got != root {
			b.Fatal(got, err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	entries := tree(70_000)
	s := newStore()
	for b.Loop() {
		s.write(b, entries, nil)
	}
}

func BenchmarkRead(b *testing.B) {
	entries := tree(70_000)
	s := newStore()
	root, _ := s.write(b, entries, nil)
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range NewReader(root, s.fetch).All(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
