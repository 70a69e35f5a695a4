package web

import (
	"errors"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
)

// Problem is a failure as a page shows it: the sentence, and the code small
// and grey beside it.
type Problem struct {
	Text string
	Code string
	Wait int // seconds until another try is worth it, which the page counts down
}

// Form holds what is wrong with a submitted form: one problem for the whole,
// and one by field.
type Form struct {
	Problem *Problem
	Fields  map[string]string
}

// Field is what is wrong with one field, or "".
func (f Form) Field(name string) string { return f.Fields[name] }

// Bad reports whether anything is wrong.
func (f Form) Bad() bool { return f.Problem != nil || len(f.Fields) > 0 }

// Add puts an expected failure into the form: under the field that its
// argument "field" names, else above all fields. It reports whether err was
// an expected one; the caller fails with any other.
func (f *Form) Add(p *locale.Printer, err error) bool {
	expected := errs.Find(err)
	if expected == nil || expected.Kind == errs.Internal {
		return false
	}
	if name, ok := expected.Args["field"].(string); ok {
		f.AddField(name, p.Error(err))
		return true
	}
	f.Problem = &Problem{Text: p.Error(err), Code: string(expected.Code)}
	if n, ok := expected.Int("n"); ok && expected.Code == errs.TooManyAttempts {
		f.Problem.Wait = n
	}
	return true
}

// AddField says what is wrong with one field.
func (f *Form) AddField(name, text string) {
	if f.Fields == nil {
		f.Fields = map[string]string{}
	}
	f.Fields[name] = text
}

// args makes the map that a partial template takes from names and values.
func args(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("args wants pairs")
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, errors.New("args wants names")
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// AddTo is Add for failures that name no field: the one whose key begins with
// a key of fields belongs to that field.
func (f *Form) AddTo(p *locale.Printer, err error, fields map[string]string) bool {
	expected := errs.Find(err)
	if expected != nil {
		for prefix, name := range fields {
			if strings.HasPrefix(expected.Key, prefix) {
				f.AddField(name, p.Error(err))
				return true
			}
		}
	}
	return f.Add(p, err)
}
