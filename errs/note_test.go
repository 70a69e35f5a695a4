package errs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
)

// A failure that was kept is the same failure: its kind, its message and the
// values in it.
func TestNotes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		err  error
		want *errs.Error
	}{
		{"nothing", nil, nil},
		{"nothing that was expected", errors.New("boom"), nil},
		{"an instant", fmt.Errorf("asking: %w", errs.Of(errs.DeviceDeactivated, "replaced_at", at)),
			&errs.Error{Kind: errs.Forbidden, Code: errs.DeviceDeactivated, Key: "error.E1208.replaced", Args: map[string]any{"replaced_at": at}}},
		{"numbers", errs.Of(errs.TooManyAttempts, "n", 7, "share", 0.5, "rules", []any{map[string]any{"n": 8}}),
			&errs.Error{Kind: errs.TooMany, Code: errs.TooManyAttempts, Key: "error.E1104",
				Args: map[string]any{"n": int64(7), "share": 0.5, "rules": []any{map[string]any{"n": int64(8)}}}}},
		{"without a code", errs.New(errs.Local, "folder.gone", "path", "2026"),
			&errs.Error{Kind: errs.Local, Key: "folder.gone", Args: map[string]any{"path": "2026"}}},
	} {
		data, err := json.Marshal(errs.NoteOf(c.err))
		if err != nil {
			t.Fatal(err)
		}
		var n errs.Note
		if err := json.Unmarshal(data, &n); err != nil {
			t.Fatal(err)
		}
		if got := n.Failure(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %s is %#v, want %#v", c.name, data, got, c.want)
		}
	}
}
