package accounts_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
)

func TestImportRefusesFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		file string
		kind errs.Kind
		key  string
	}{
		"nothing":              {"", errs.Invalid, "import.empty"},
		"a mark alone":         {"\ufeff", errs.Invalid, "import.empty"},
		"columns alone":        {"username,email\n\n , \n", errs.Invalid, "import.empty"},
		"no username":          {"email\na@example.org\n", errs.Invalid, "import.column.missing"},
		"an unknown column":    {"username,shoe\na,42\n", errs.Invalid, "import.column.unknown"},
		"a column twice":       {"username,Username\na,b\n", errs.Invalid, "import.column.twice"},
		"Latin-1":              {"username\nzo\xeb\n", errs.Invalid, "import.encoding"},
		"UTF-16":               {"\xff\xfeu\x00s\x00", errs.Invalid, "import.encoding"},
		"a zero":               {"username\na\x00b\n", errs.Invalid, "import.encoding"},
		"an open quotation":    {"username\n\"a\nb\n", errs.Invalid, "import.csv"},
		"a stray quotation":    {"username\nx\na\"b\n", errs.Invalid, "import.csv"},
		"a program":            {"\x7fELF\x02\x01", errs.Invalid, "import.column.unknown"},
		"too many":             {"username\n" + strings.Repeat("a\n", accounts.MaxImportRows+1), errs.TooLarge, "import.rows"},
		"too large":            {"username\n" + strings.Repeat("a", accounts.MaxImportSize), errs.TooLarge, "import.size"},
		"too large, and nulls": {strings.Repeat("\x00", accounts.MaxImportSize+1), errs.TooLarge, "import.size"},
	} {
		_, err := w.check(c.file, accounts.ImportOptions{})
		if errs.KindOf(err) != c.kind || errs.Find(err).Key != c.key {
			t.Errorf("%s: %v, want %s", name, err, c.key)
		}
	}
	_, err := w.check("username\nok\nok2\nzo\xeb\n", accounts.ImportOptions{})
	if errs.Find(err).Args["line"] != 4 {
		t.Errorf("Latin-1 in line 4: %v", err)
	}
	// Exactly as many as may be, and a mark of UTF-8 before them.
	var b strings.Builder
	b.WriteString("\ufeffusername\r\n")
	for n := range accounts.MaxImportRows {
		fmt.Fprintf(&b, "u%d\r\n", n)
	}
	if i, err := w.check(b.String(), accounts.ImportOptions{}); err != nil || i.Good != accounts.MaxImportRows {
		t.Errorf("%d rows: %v, %d good", accounts.MaxImportRows, err, i.Good)
	}
}

// Tables that others made are read as they are.
func TestImportReadsOthersTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, file := range map[string]string{
		"names with spaces": "Username,E-mail,First name,LAST-NAME\nuna,una@example.org,Una,Ng\n",
		"semicolons":        "\ufeffusername;email;first_name;last_name\r\n\"una\";una@example.org;Una;Ng\r\n",
		"tabs":              "username\temail\tfirst_name\tlast_name\nuna\tuna@example.org\tUna\tNg\n",
	} {
		i, err := w.check(file, accounts.ImportOptions{})
		if err != nil || i.Good != 1 {
			t.Errorf("%s: %v, %d good", name, err, i.Good)
			continue
		}
		if r := i.Rows[0]; r.Username != "una" || r.Email != "una@example.org" || r.FirstName != "Una" || r.LastName != "Ng" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestFailedRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Admin("=1+1", access.Viewer)
	w.Admin("plain", access.Viewer)
	i, err := w.check("username,first_name,last_name,email\n=1+1,+1,-1,@x\nplain,\"a\tb\",\"\r\",\ngood,,,\n'=quoted,,,\n", accounts.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	err = accounts.FailedRows(&b, i, func(key string, args map[string]any) string { return "=cmd|' /C calc'!A0 " + key })
	if err != nil {
		t.Fatal(err)
	}
	text, ok := strings.CutPrefix(b.String(), "\ufeff")
	if !ok {
		t.Error("there is no mark of UTF-8 before the table")
	}
	records, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(records) != 3 || records[0][len(records[0])-1] != "error" {
		t.Fatalf("%v: %q", err, records)
	}
	for _, record := range records[1:] {
		for _, cell := range record {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				t.Errorf("a spreadsheet would calculate %q", cell)
			}
		}
	}
	if !slices.Equal(records[1][:4], []string{"'=1+1", "'@x", "'+1", "'-1"}) {
		t.Errorf("the row is %q", records[1])
	}
	// Mended, it says again what it said.
	again, err := w.check(strings.ReplaceAll(b.String(), "'=1+1", "'=mended"), accounts.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r := again.Rows[0]; r.Username != "=mended" || r.FirstName != "+1" || r.Email != "@x" {
		t.Errorf("read back %+v", r)
	}
}

func TestExportCSV(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock()
	profile, l := w.profile("=Staff"), w.Licence("One", 5, 0)
	_, err := w.Create(system, accounts.New{Username: "=una", Email: "una@example.org", FirstName: "-2+3", LastName: "@SUM(A1)", Profile: profile, Licence: string(l.ID)})
	if err != nil {
		t.Fatal(err)
	}
	// More than a page.
	i, err := w.check("username\n"+strings.Join(names(600), "\n"), accounts.ImportOptions{})
	if err == nil {
		_, err = w.run(i.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	export := func(by access.Caller) ([][]string, error) {
		var b bytes.Buffer
		err := w.Try(func(tx *db.Tx) error {
			b.Reset()
			return accounts.ExportCSV(t.Context(), tx, by, accounts.Filter{Org: w.Org.ID, Kind: access.UserKind}, &b)
		})
		if err != nil {
			return nil, err
		}
		return csv.NewReader(strings.NewReader(strings.TrimPrefix(b.String(), "\ufeff"))).ReadAll()
	}
	records, err := export(system)
	if err != nil || len(records) != 602 {
		t.Fatalf("%v, %d lines, want 602", err, len(records))
	}
	want := []string{"'=una", "una@example.org", "'-2+3", "'@SUM(A1)", "'=Staff", "One", "", "invited", "", "2026-05-06T07:08:09Z", ""}
	if !slices.Equal(records[1], want) {
		t.Errorf("got  %q\nwant %q", records[1], want)
	}
	if _, err := export(w.Named("n1").Caller(from)); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a user exports: %v, want NotFound", err)
	}
}
