package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// writeJSON writes one JSON document to standard output.
func (a *app) writeJSON(v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	if _, err := a.out.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// jsonList writes a document whose last field is a list that may be too long
// to hold in memory: head is an object without its list.
type jsonList struct {
	out   *bufio.Writer
	began bool
}

func (a *app) newJSONList(head any, field string) (*jsonList, error) {
	data, err := json.Marshal(head)
	if err != nil {
		return nil, fmt.Errorf("encoding the answer: %w", err)
	}
	l := &jsonList{out: bufio.NewWriter(a.out)}
	l.out.Write(data[:len(data)-1])
	if len(data) > 2 {
		l.out.WriteString(",")
	}
	fmt.Fprintf(l.out, "%q:[", field)
	return l, nil
}

func (l *jsonList) add(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	if l.began {
		l.out.WriteString(",")
	}
	l.began = true
	l.out.WriteString("\n")
	_, err = l.out.Write(data)
	return err
}

func (l *jsonList) close() error {
	l.out.WriteString("\n]}\n")
	if err := l.out.Flush(); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// table writes rows in columns; the columns whose heads begin with ">" stand to
// the right.
func (a *app) table(heads []string, rows [][]string) error {
	widths := make([]int, len(heads))
	right := make([]bool, len(heads))
	for i, h := range heads {
		if h != "" && h[0] == '>' {
			heads[i], right[i] = h[1:], true
		}
		widths[i] = utf8.RuneCountInString(heads[i])
	}
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	out := bufio.NewWriter(a.out)
	for _, row := range append([][]string{heads}, rows...) {
		for i, cell := range row {
			pad := widths[i] - utf8.RuneCountInString(cell)
			switch {
			case right[i]:
				fmt.Fprintf(out, "%*s%s", pad, "", cell)
			case i < len(row)-1:
				fmt.Fprintf(out, "%s%*s", cell, pad, "")
			default:
				out.WriteString(cell)
			}
			if i < len(row)-1 {
				out.WriteString("  ")
			}
		}
		out.WriteString("\n")
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}
