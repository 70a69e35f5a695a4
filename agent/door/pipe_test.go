package door

import (
	"strings"
	"testing"
)

func TestPipeName(t *testing.T) {
	t.Parallel()
	one := pipeName(`C:\Users\Ann\AppData\Local\Backstay\control.sock`)
	if one != pipeName(`c:\users\ann\appdata\local\backstay\control.sock`) {
		t.Error("case makes another pipe of a path")
	}
	if one == pipeName(`C:\Users\Bob\AppData\Local\Backstay\control.sock`) {
		t.Error("two users share a pipe")
	}
	if name, ok := strings.CutPrefix(one, `\\.\pipe\`); !ok || strings.ContainsAny(name, `\/:`) || len(one) > 256 {
		t.Errorf("pipeName = %q, which is no name of a pipe", one)
	}
}

// What pipes allow, entry by entry: what is allowed or denied to whom.
func TestDescriptor(t *testing.T) {
	t.Parallel()
	const ann = "S-1-5-21-1-2-3-1001"
	own := []string{"D;;GA;;;NU", "A;;GA;;;SY", "A;;GA;;;" + ann, "A;;0x12019b;;;BA"}
	for who, want := range map[For][]string{
		Owner:     own,
		Everybody: append(own[:4:4], "A;;0x12019b;;;IU"),
	} {
		if got := descriptor(ann, who); got != "O:"+ann+"D:P("+strings.Join(want, ")(")+")" {
			t.Errorf("descriptor(%v) = %s, want %q", who, got, want)
		}
	}
	const moreEnds = 0x4 // FILE_CREATE_PIPE_INSTANCE
	if knock&moreEnds != 0 {
		t.Error("whoever knocks may answer in the pipe's name")
	}
}

func TestOpener(t *testing.T) {
	t.Parallel()
	const ann, bob = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"
	for owner, want := range map[string]bool{ann: true, systemSID: true, administratorsSID: false, bob: false, "": false} {
		if got := opener(owner, ann); got != want {
			t.Errorf("opener(%q) = %v, want %v", owner, got, want)
		}
	}
}
