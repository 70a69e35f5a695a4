package main

import (
	"os"
	"regexp"
	"testing"

	"github.com/backstay/backstay/locale"
)

// Each row of the status has a name that people read.
func TestStatusRowsHaveNames(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("status.go")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`add\("(\w+)"`).FindAllSubmatch(source, -1)
	if len(rows) < 5 {
		t.Fatalf("only %d rows were found", len(rows))
	}
	for _, lang := range []locale.Lang{locale.English, locale.French} {
		say := locale.For(lang)
		for _, row := range rows {
			if key := "cli.status.row." + string(row[1]); say.T(key) == key {
				t.Errorf("%s has no text in %s", key, lang)
			}
		}
	}
}
