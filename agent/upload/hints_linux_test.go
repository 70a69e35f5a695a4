package upload_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay/agent/scan"
	"github.com/backstay/backstay/agent/upload"
	"github.com/backstay/backstay/backup"
)

// An agent that runs on looks only into folders that have changed. Each of its
// snapshots is what a whole walk would have made, also when the server has lost
// something, or a backup went another way in between.
func TestHints(t *testing.T) {
	f := newServer(t)
	d := newDevice(t, f)
	d.fill()
	watch := scan.NewWatch()
	defer watch.Forget()
	hints := func(c *upload.Config) { c.Watch = watch }
	d.back(hints)
	for _, step := range []struct {
		what string
		do   func()
	}{
		{"nothing", func() {}},
		{"a file in new folders", func() { d.write("new/folder/file", noise(1, 5000)) }},
		{"a second name", func() {
			d.write("one", noise(2, 100))
			must(t, os.Link(filepath.Join(d.folder, "one"), filepath.Join(d.folder, "new", "two")))
		}},
		{"written by that", func() { d.write("new/two", noise(3, 200)) }},
		{"objects were lost", func() {
			f.lose(f.ids(backup.Data)[:2]...)
			d.write("late", noise(4, 10))
		}},
		{"another backup came between", func() {
			d.write("between", noise(5, 10))
			d.back()
			d.write("after", noise(6, 10))
		}},
		{"folders go", func() { must(t, os.RemoveAll(filepath.Join(d.folder, "new"))) }},
	} {
		step.do()
		r := d.back(hints)
		if len(r.Problems) > 0 {
			t.Errorf("%s: %v", step.what, r.Problems)
		}
		d.restored()
		d.honest()
		if t.Failed() {
			t.Fatal(step.what)
		}
	}
}
