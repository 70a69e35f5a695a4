package accounts

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

// Limits of an import.
const (
	MaxImportRows = 10_000
	MaxImportSize = 8 << 20
)

// columnNames are the columns of an import, in the order in which they are
// written. In a file they may stand in any.
var columnNames = []string{"username", "email", "first_name", "last_name", "profile", "licence", "quota", "language", "send_mail"}

// errorColumn is the one that FailedRows adds. In a mended file it is ignored.
const errorColumn = "error"

// field is where a column's value belongs.
func (r *Row) field(column string) *string {
	switch column {
	case "username":
		return &r.Username
	case "email":
		return &r.Email
	case "first_name":
		return &r.FirstName
	case "last_name":
		return &r.LastName
	case "profile":
		return &r.Profile
	case "licence":
		return &r.Licence
	case "quota":
		return &r.Quota
	case "language":
		return &r.Language
	case "send_mail":
		return &r.SendMail
	}
	return new(string)
}

// readRows reads a file of users. What it refuses, it refuses as a whole; a row
// with too many fields alone is bad.
func readRows(file io.Reader) ([]Row, error) {
	records, err := ReadTable(file, columnNames, "username")
	if err != nil {
		return nil, err
	}
	rows := make([]Row, len(records))
	for n, record := range records {
		r := &rows[n]
		r.Line = record.Line
		for name, value := range record.Values {
			*r.field(name) = value
		}
		if record.Extra {
			r.refuse(errs.New(errs.Invalid, "import.row.fields", "n", record.Columns))
		}
	}
	return rows, nil
}

// Record is a line of a table that people made with a spreadsheet.
type Record struct {
	Line    int
	Values  map[string]string // by the name of the column
	Columns int               // that the table has
	Extra   bool              // there is more in the line than that
}

// ReadTable reads a table of at most MaxImportRows: CSV in UTF-8, with commas,
// semicolons or tabs, whose first line names its columns, of which required must be
// there. What it refuses, it refuses as a whole.
func ReadTable(file io.Reader, columns []string, required string) ([]Record, error) {
	text, err := io.ReadAll(io.LimitReader(file, MaxImportSize+1))
	if err != nil {
		return nil, errs.New(errs.Invalid, "import.unreadable").Because(err)
	}
	if len(text) > MaxImportSize {
		return nil, errs.New(errs.TooLarge, "import.size", "n", MaxImportSize>>20)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil, errs.New(errs.Invalid, "import.encoding", "line", invalidLine(text))
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.Comma, r.FieldsPerRecord, r.ReuseRecord = separator(text), -1, true
	header, err := readHeader(r, columns, required)
	if err != nil {
		return nil, err
	}
	var rows []Record
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, unreadable(err)
		}
		if !slices.ContainsFunc(record, func(s string) bool { return strings.TrimSpace(s) != "" }) {
			continue
		}
		if len(rows) == MaxImportRows {
			return nil, errs.New(errs.TooLarge, "import.rows", "n", MaxImportRows)
		}
		line, _ := r.FieldPos(0)
		rows = append(rows, readRecord(header, record, line))
	}
	if len(rows) == 0 {
		return nil, errs.New(errs.Invalid, "import.empty")
	}
	return rows, nil
}

func readRecord(header, record []string, line int) Record {
	r := Record{Line: line, Values: map[string]string{}, Columns: len(header)}
	for n, value := range record {
		if n >= len(header) {
			r.Extra = r.Extra || strings.TrimSpace(value) != ""
			continue
		}
		r.Values[header[n]] = strings.TrimSpace(unescapeCell(strings.Clone(value)))
	}
	return r
}

// readHeader reads the names of the columns.
func readHeader(r *csv.Reader, columns []string, required string) ([]string, error) {
	record, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, errs.New(errs.Invalid, "import.empty")
	}
	if err != nil {
		return nil, unreadable(err)
	}
	var header []string
	for _, name := range record {
		name = columnName(name)
		if name != errorColumn && !slices.Contains(columns, name) {
			return nil, errs.New(errs.Invalid, "import.column.unknown", "column", name, "columns", strings.Join(columns, ", "))
		}
		if slices.Contains(header, name) {
			return nil, errs.New(errs.Invalid, "import.column.twice", "column", name)
		}
		header = append(header, name)
	}
	if !slices.Contains(header, required) {
		return nil, errs.New(errs.Invalid, "import.column.missing", "column", required)
	}
	return header, nil
}

func unreadable(err error) error {
	line := 0
	if e := (*csv.ParseError)(nil); errors.As(err, &e) {
		line = e.Line
	}
	return errs.New(errs.Invalid, "import.csv", "line", line).Because(err)
}

// columnName is the name of a column as we write it: others' tables have
// "E-mail" or "Old device name".
func columnName(written string) string {
	name := strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToLower(strings.TrimSpace(written)))
	if name == "e_mail" {
		return "email"
	}
	return name
}

// separator is what stands between the names of the columns: spreadsheets write
// commas, semicolons or tabs, as their language and the way of saving have it.
func separator(text []byte) rune {
	first, _, _ := bytes.Cut(text, []byte("\n"))
	best := ','
	for _, c := range ";\t" {
		if bytes.Count(first, []byte{byte(c)}) > bytes.Count(first, []byte{byte(best)}) {
			best = c
		}
	}
	return best
}

// invalidLine is the line with the first bytes that are no text in UTF-8.
func invalidLine(text []byte) int {
	line := 1
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 || r == 0 {
			break
		}
		if r == '\n' {
			line++
		}
		text = text[n:]
	}
	return line
}

// dangerous begins what a spreadsheet takes for a formula.
const dangerous = "=+-@\t\r"

// escapeCell keeps a spreadsheet from calculating what somebody chose for a
// name.
func escapeCell(s string) string {
	if s != "" && strings.IndexByte(dangerous, s[0]) >= 0 {
		return "'" + s
	}
	return s
}

func unescapeCell(s string) string {
	if len(s) > 1 && s[0] == '\'' && strings.IndexByte(dangerous, s[1]) >= 0 {
		return s[1:]
	}
	return s
}

// writeCells writes a line of a table that people open in spreadsheets.
func writeCells(w *csv.Writer, cells ...string) error {
	for n, c := range cells {
		cells[n] = escapeCell(c)
	}
	return w.Write(cells)
}

// FailedRows writes the bad rows of an import as CSV, with a column that says
// what is wrong about each; say has the message of a key in the reader's
// language. Mended, it can be imported as it is.
func FailedRows(w io.Writer, i Import, say func(key string, args map[string]any) string) error {
	return WriteTable(w, append(slices.Clone(columnNames), errorColumn), func(write func(...string) error) error {
		for _, r := range i.Rows {
			if r.Status != RowBad {
				continue
			}
			var cells []string
			for _, name := range columnNames {
				cells = append(cells, *r.field(name))
			}
			if err := write(append(cells, say(r.Reason, r.Args))...); err != nil {
				return err
			}
		}
		return nil
	})
}

// WriteTable writes a table for spreadsheets: its columns, and the lines that
// rows writes, of which no cell is taken for a formula.
func WriteTable(w io.Writer, columns []string, rows func(write func(cells ...string) error) error) error {
	out, err := newCSV(w)
	if err != nil {
		return err
	}
	if err := out.Write(columns); err != nil {
		return err
	}
	if err := rows(func(cells ...string) error { return writeCells(out, cells...) }); err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

// newCSV begins a table with the mark by which spreadsheets know UTF-8.
func newCSV(w io.Writer) (*csv.Writer, error) {
	if _, err := io.WriteString(w, "\ufeff"); err != nil {
		return nil, err
	}
	return csv.NewWriter(w), nil
}

// ExportCSV writes the accounts that a filter chooses as CSV, on all pages. Who
// calls it records that the list was taken.
func ExportCSV(ctx context.Context, tx *db.Tx, by access.Caller, f Filter, w io.Writer) error {
	out, err := newCSV(w)
	if err != nil {
		return err
	}
	names, err := namesOf(ctx, tx)
	if err != nil {
		return err
	}
	err = out.Write([]string{"username", "email", "first_name", "last_name", "profile", "licence", "language", "state", "seat", "created", "last_login"})
	if err != nil {
		return err
	}
	f.After, f.Limit = "", 500
	for more := true; more; more = f.After != "" {
		var users []User
		if users, f.After, err = List(ctx, tx, by, f); err != nil {
			return err
		}
		for _, u := range users {
			err := writeCells(out, u.Username, u.Email, u.FirstName, u.LastName, names[string(u.Profile)], names[u.Licence], u.Language,
				string(u.State), string(u.Seat), stamp(u.CreatedAt), stamp(u.LastLoginAt))
			if err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

// namesOf are the names of profiles and licences by their ids.
func namesOf(ctx context.Context, tx *db.Tx) (map[string]string, error) {
	names := map[string]string{}
	err := each(ctx, tx, "SELECT id, name FROM profiles UNION ALL SELECT id, name FROM licences", nil, func(rows *sql.Rows) error {
		var id, name string
		err := rows.Scan(&id, &name)
		names[id] = name
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for names: %w", err)
	}
	return names, nil
}

// stamp is an instant for a table, empty for never.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
