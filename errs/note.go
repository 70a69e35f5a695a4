package errs

import (
	"bytes"
	"encoding/json"
	"time"
)

// Note is an expected failure as it is kept in a file; zero: none.
type Note struct {
	Code Code   `json:"code,omitempty"`
	Key  string `json:"key,omitempty"` // of the message that says it
	Args Values `json:"args,omitempty"`
}

// NoteOf notes the expected failure behind err, none when nobody expected it.
func NoteOf(err error) Note {
	e := Find(err)
	if e == nil {
		return Note{}
	}
	return Note{e.Code, e.Key, e.Args}
}

// Failure is what was noted, nil for none.
func (n Note) Failure() *Error {
	if n.Key == "" {
		return nil
	}
	e := &Error{Kind: Local, Code: n.Code, Key: n.Key, Args: n.Args}
	if kind, ok := kinds[n.Code]; ok {
		e.Kind = kind
	}
	return e
}

// Values are those of a message. Read from JSON they are again what they were:
// whole numbers are int64 and instants are times, which a message shows as its
// reader's day.
type Values map[string]any

// UnmarshalJSON reads the values.
func (v *Values) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		return err
	}
	for name, value := range m {
		value = counted(value)
		if text, ok := value.(string); ok {
			if at, err := time.Parse(time.RFC3339, text); err == nil {
				value = at
			}
		}
		m[name] = value
	}
	*v = m
	return nil
}

// counted is a value with its numbers, however deep they are, as int64 where
// they are whole and as float64 where not.
func counted(value any) any {
	switch v := value.(type) {
	case json.Number:
		if whole, err := v.Int64(); err == nil {
			return whole
		}
		f, _ := v.Float64() // infinite when it is too large
		return f
	case []any:
		for i := range v {
			v[i] = counted(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = counted(v[name])
		}
	}
	return value
}

// Int is a whole number among the values; ok is false when there is none.
func (e *Error) Int(name string) (n int, ok bool) {
	switch v := e.Args[name].(type) {
	case int:
		return v, true
	case int64: // of a failure that another process met
		return int(v), true
	}
	return 0, false
}
