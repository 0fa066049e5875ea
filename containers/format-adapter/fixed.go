package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/text/encoding/charmap"
)

// fixedReader reads records whose values stand in columns: lines, or blocks of one length as mainframes have them. Columns
// are counted in bytes, or in characters where the source says so. The bytes are decoded value by value, because packed
// numbers are no text in any encoding.
type fixedReader struct {
	w   *window
	src *Source
	cm  *charmap.Charmap // nil: UTF-8
}

func newFixed(src *Source, r io.Reader, most int) (*fixedReader, error) {
	f := &fixedReader{w: newWindow(r, most), src: src, cm: charmaps[src.Encoding]}
	if src.Length == 0 && f.cm == nil {
		f.w.r = decoded(r, "utf-8") // takes a byte order mark away, and bytes stay as they are
	}
	for range src.SkipLines {
		if err := f.w.skipLine(); err != nil {
			return nil, ended(err)
		}
	}
	return f, nil
}

// block is the next record's bytes.
func (f *fixedReader) block() (b []byte, err error) {
	for {
		b = f.w.rest()
		if len(b) == 0 && f.w.err != nil {
			return nil, ended(f.w.err)
		}
		if n := f.src.Length; n > 0 {
			switch {
			case len(b) >= n:
				f.w.take(n)
				return b[:n], nil
			case f.w.more():
				continue
			case f.w.ended():
				return nil, errBroken{fmt.Errorf("it ends in the middle of a record, after %d of %d bytes", len(b), n)}
			}
			return nil, ended(f.w.err)
		}
		end, next, ok := lineEnd(b, f.w.ended())
		switch {
		case ok && end == 0:
			f.w.take(next)
		case ok && end > f.w.max:
			f.w.take(next)
			return nil, bad("long", "longer than %d bytes", f.w.max)
		case ok:
			f.w.take(next)
			return b[:end], nil
		case f.w.more():
		case f.w.err != nil && !f.w.ended():
			return nil, ended(f.w.err)
		default:
			if e := f.w.skipLine(); e != nil && e != io.EOF {
				return nil, ended(e)
			}
			return nil, bad("long", "longer than %d bytes", f.w.max)
		}
	}
}

func (f *fixedReader) Next() (row, error) {
	r := row{line: f.w.line, offset: f.w.off}
	b, err := f.block()
	if f.src.Length > 0 {
		r.line = 0 // blocks are not lines
	}
	if err != nil {
		return r, err
	}
	r.text = f.decode(b)
	if t := f.src.Trailer; t != nil && strings.HasPrefix(r.text, t.Starts) {
		if len(t.At) != 2 {
			return r, trailerSeen{}
		}
		return r, trailerSeen{text: f.decode(part(b, t.At))}
	}
	var runes []rune
	length := len(b)
	if f.src.Unit == "characters" {
		runes = []rune(r.text)
		length = len(runes)
	}
	if w := f.src.width(); length > w && strings.TrimSpace(r.text[min(len(r.text), w):]) != "" {
		return r, bad("columns", "%d %s, want at most %d", length, f.src.Unit, w)
	}
	for _, from := range f.src.froms {
		switch {
		case len(from.At) != 2:
			r.add("", false)
		case from.Sign == "packed":
			text, err := unpack(part(b, from.At))
			if err != nil {
				return r, inField(from.name, err)
			}
			r.add(text, true)
		case runes != nil:
			r.add(strings.TrimRight(string(part(runes, from.At)), " "), true)
		default:
			r.add(strings.TrimRight(f.decode(part(b, from.At)), " "), true)
		}
	}
	return r, nil
}

// part is columns first to last, from 1; what a short record lacks is empty.
func part[T any](b []T, at []int) []T { return b[min(at[0]-1, len(b)):min(at[1], len(b))] }

func (f *fixedReader) decode(b []byte) string {
	if f.cm == nil {
		return string(b)
	}
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(f.cm.DecodeByte(c))
	}
	return s.String()
}

// unpack is a packed decimal, COBOL's COMP-3: a digit in each half byte, and the sign in the last.
func unpack(b []byte) (string, error) {
	if len(b) == 0 {
		return "", nil
	}
	var digits []byte
	for i, c := range b {
		for j, half := range []byte{c >> 4, c & 15} {
			switch last := i == len(b)-1 && j == 1; {
			case !last && half <= 9:
				digits = append(digits, '0'+half)
			case last && (half == 0xB || half == 0xD):
				return "-" + string(digits), nil
			case last && half >= 0xA:
				return string(digits), nil
			default:
				return "", bad("number", "not a packed decimal: % X", b)
			}
		}
	}
	return string(digits), nil
}

// width is the last column that means something.
func (s *Source) width() (w int) {
	if s.Length > 0 {
		return s.Length
	}
	for _, f := range s.froms {
		if len(f.At) == 2 {
			w = max(w, f.At[1])
		}
	}
	return w
}

func (s *Source) checkFixed() error {
	if s.Unit == "" {
		s.Unit = "bytes"
	}
	span := func(at []int) bool { return len(at) == 2 && at[0] >= 1 && at[1] >= at[0] && at[1] <= 1<<16 }
	for _, f := range s.froms {
		if f.At != nil && !span(f.At) {
			return fmt.Errorf("field %s: at %v: want the first and the last column, from 1", f.name, f.At)
		}
	}
	switch {
	case s.Unit != "bytes" && s.Unit != "characters":
		return fmt.Errorf("unit %q: want bytes or characters", s.Unit)
	case s.Trailer != nil && s.Trailer.At != nil && !span(s.Trailer.At):
		return fmt.Errorf("trailer: at %v: want the first and the last column, from 1", s.Trailer.At)
	case strings.HasPrefix(s.Encoding, "utf-16"):
		return fmt.Errorf("encoding %s has no columns of bytes", s.Encoding)
	case slices.Contains(ebcdic, s.Encoding) && s.Length == 0:
		return fmt.Errorf("encoding %s has no line ends: it needs the length of a record", s.Encoding)
	case s.Length < 0 || s.Length > 1<<16:
		return fmt.Errorf("length %d: want 1 to 65536", s.Length)
	}
	return nil
}
