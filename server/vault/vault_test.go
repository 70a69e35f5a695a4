package vault

import (
	"testing"
)

func TestBackupAndRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	c, chunks, root := d.backup("one", "two")
	if c.Seq != 1 || len(c.Snapshot) != 16 {
		t.Errorf("Commit answers %+v", c)
	}
	if got := d.read(chunks[1], root, chunks[0]); got != "two|page of one, two|one" {
		t.Errorf("Read gives %q", got)
	}
	c, chunks, _ = d.backup("one", "three")
	if c.Seq != 2 {
		t.Errorf("Commit answers %+v", c)
	}
	if got := d.read(chunks[0], chunks[1]); got != "one|three" {
		t.Errorf("Read gives %q", got)
	}
}
