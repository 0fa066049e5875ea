package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// csvReader reads RFC 4180 and what goes by that name: other separators and quotes, CR for a line end, Excel's first line
// sep=;. encoding/csv is not it: a quoted CR LF is changed there, a mark at the beginning is part of the first name, and
// neither a record nor a field has a bound.
type csvReader struct {
	w       *window
	src     *Source
	sep     []byte
	quote   byte
	width   int    // fields in a record
	odd     string // the beginning of the last record that was none
	columns []int  // of the source's fields, in the schema's order; -1: none
}

func newCSV(src *Source, r io.Reader, most int) (*csvReader, error) {
	c := &csvReader{w: newWindow(r, most), src: src, sep: []byte(src.Separator), quote: src.Quote[0]}
	for range src.SkipLines {
		if err := c.w.skipLine(); err != nil {
			return nil, ended(err)
		}
	}
	for len(c.w.rest()) < len("sep=;\r\n") && c.w.more() { //nolint:revive // what is read stays in the window
	}
	if b := c.w.rest(); bytes.HasPrefix(b, []byte("sep=")) && len(b) > 5 && (b[5] == '\r' || b[5] == '\n') {
		c.sep = []byte{b[4]}
		_, next, _ := lineEnd(b, c.w.ended())
		c.w.take(next)
	}
	if src.NoHeader {
		for _, f := range src.froms {
			c.columns = append(c.columns, f.column-1)
		}
		c.width = src.Columns
		return c, nil
	}
	names, _, _, err := c.record()
	var badRecord *badError
	switch {
	case errors.As(err, &badRecord):
		return nil, refuse("its first line, the names: %w", err)
	case err == io.EOF:
		return nil, refuse("it is empty, without a line of names")
	case err != nil:
		return nil, err
	}
	c.width = len(names)
	for _, f := range src.froms {
		if f.From == "" {
			c.columns = append(c.columns, -1)
			continue
		}
		i := slices.Index(names, f.From)
		switch {
		case i < 0:
			return nil, refuse("no column %q among %s", f.From, clip(strings.Join(names, ", ")))
		case slices.Contains(names[i+1:], f.From):
			return nil, refuse("two columns are called %q", f.From)
		}
		c.columns = append(c.columns, i)
	}
	return c, nil
}

func (c *csvReader) Next() (row, error) {
	fields, line, off, err := c.record()
	r := row{line: line, offset: off}
	if err != nil {
		r.text = c.odd
		return r, err
	}
	if t := c.src.Trailer; t != nil && fields[0] == t.Starts {
		if t.Count < 1 || t.Count >= len(fields) {
			return r, trailerSeen{text: ""}
		}
		return r, trailerSeen{text: fields[t.Count]}
	}
	r.text = strings.Join(fields, string(c.sep))
	if c.width == 0 {
		c.width = len(fields)
	}
	if len(fields) != c.width {
		return r, bad("columns", "%d columns, want %d", len(fields), c.width)
	}
	for _, i := range c.columns {
		if i < 0 || i >= len(fields) {
			r.add("", false)
			continue
		}
		r.add(fields[i], true)
	}
	return r, nil
}

// errMore says that a record's end is not among what is there.
var errMore = errors.New("more is needed")

// record is the next line that is not blank.
func (c *csvReader) record() (fields []string, line int, off int64, err error) {
	for {
		line, off = c.w.line, c.w.off
		b := c.w.rest()
		if len(b) == 0 && c.w.err != nil {
			return nil, line, off, ended(c.w.err)
		}
		var n int
		fields, n, err = c.cut(b, c.w.ended())
		if err != nil {
			first, _, _ := bytes.Cut(b[:min(len(b), 256)], []byte{'\n'})
			c.odd = strings.TrimRight(string(first), "\r")
		}
		switch {
		case errors.Is(err, errMore) && c.w.more():
			continue
		case errors.Is(err, errMore) && c.w.err != nil && !c.w.ended():
			return nil, line, off, ended(c.w.err) // it broke off in this record
		case errors.Is(err, errMore):
			return nil, line, off, c.lost(b)
		}
		if len(b[:n]) > c.w.max {
			c.w.take(n)
			return nil, line, off, bad("long", "longer than %d bytes", c.w.max)
		}
		c.w.take(n)
		if err == nil && fields == nil {
			continue // a blank line
		}
		return fields, line, off, err
	}
}

// lost finds the way on after a record whose end was not found. A quote that is never closed would swallow what follows: it
// costs its own line alone.
func (c *csvReader) lost(b []byte) error {
	err := bad("long", "longer than %d bytes", c.w.max)
	_, next, ok := lineEnd(b, c.w.ended())
	if ok && bytes.IndexByte(b[:next], c.quote) >= 0 {
		c.w.take(next)
		return bad("quote", "a quote that is never closed")
	}
	if e := c.w.skipLine(); e != nil && e != io.EOF {
		return ended(e)
	}
	return err
}

// cut is the first record of b and how many bytes it takes, its line end included. A bad record takes its first line alone:
// where a quote is not closed, what follows is read anew, and not lost with it.
func (c *csvReader) cut(b []byte, ended bool) (fields []string, n int, err error) {
	end, next, ok := lineEnd(b, ended)
	if !ok {
		return nil, 0, errMore
	}
	if bytes.IndexByte(b[:end], c.quote) < 0 {
		if end == 0 {
			return nil, next, nil
		}
		return strings.Split(string(b[:end]), string(c.sep)), next, nil
	}
	for i := 0; ; {
		if i >= len(b) || b[i] != c.quote {
			j := bytes.IndexAny(b[i:], "\r\n")
			if j < 0 {
				if !ended {
					return nil, 0, errMore
				}
				j = len(b) - i
			}
			if k := bytes.Index(b[i:i+j], c.sep); k >= 0 {
				j = k
			}
			if bytes.IndexByte(b[i:i+j], c.quote) >= 0 {
				return nil, next, bad("quote", "a quote inside a value that has none around it")
			}
			fields = append(fields, string(b[i:i+j]))
			i += j
		} else {
			var value []byte
			for i++; ; {
				j := bytes.IndexByte(b[i:], c.quote)
				if j < 0 || i+j+1 >= len(b) && !ended {
					return nil, 0, errMore
				}
				value = append(value, b[i:i+j]...)
				i += j + 1
				if i >= len(b) || b[i] != c.quote {
					break
				}
				value = append(value, c.quote)
				i++
			}
			fields = append(fields, string(value))
		}
		switch {
		case i >= len(b):
			return fields, i, nil
		case bytes.HasPrefix(b[i:], c.sep):
			i += len(c.sep)
		case b[i] == '\n' || b[i] == '\r':
			_, after, ok := lineEnd(b[i:], ended)
			if !ok {
				return nil, 0, errMore
			}
			return fields, i + after, nil
		case len(b)-i < len(c.sep) && !ended:
			return nil, 0, errMore
		default:
			return nil, next, bad("quote", "something between a closing quote and the separator")
		}
	}
}

// checkCSV is what a source of this format must say.
func (s *Source) checkCSV() error {
	if s.Separator == "" {
		s.Separator = ","
	}
	if s.Quote == "" {
		s.Quote = `"`
	}
	switch {
	case len(s.Quote) != 1 || strings.ContainsAny(s.Quote, "\r\n"):
		return fmt.Errorf("quote %q: want one ASCII character", s.Quote)
	case strings.ContainsAny(s.Separator, "\r\n") || strings.Contains(s.Separator, s.Quote):
		return fmt.Errorf("separator %q: neither a quote nor a line end", s.Separator)
	case slices.Contains(ebcdic, s.Encoding):
		return fmt.Errorf("encoding %s has no line ends: take format fixed with a length", s.Encoding)
	}
	return nil
}
