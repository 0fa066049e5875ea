package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// jsonReader reads the objects of an array as records, as a stream, wherever in the document the array is; or objects one
// after the other. Numbers keep their digits, and a name that is there twice is an error.
type jsonReader struct {
	in     *allowance
	dec    *json.Decoder
	src    *Source
	wanted map[string]int
	array  bool
	around int // objects and arrays that are open around the records
	over   bool
}

func newJSON(src *Source, r io.Reader, most int) (*jsonReader, error) {
	j := &jsonReader{in: newAllowance(r, most), src: src, wanted: wantedOf(src)}
	j.dec = json.NewDecoder(j.in)
	j.dec.UseNumber()
	if src.Path == "" {
		return j, nil
	}
	names := strings.Split(src.Path, ".")
	for len(names) > 0 {
		t, err := j.token()
		switch {
		case err == io.EOF:
			return nil, errBroken{errors.New("it is empty")}
		case err != nil:
			return nil, err
		case t != json.Delim('{'):
			return nil, refuse("no object where %q should be", names[0])
		}
		j.around++
		for {
			t, err := j.token()
			if err != nil {
				return nil, over(err)
			}
			if t == json.Delim('}') {
				return nil, refuse("there is no %q", src.Path)
			}
			if t == names[0] {
				break
			}
			if err := j.skip(); err != nil {
				return nil, over(err)
			}
		}
		names = names[1:]
	}
	t, err := j.token()
	if err != nil {
		return nil, over(err)
	}
	if t != json.Delim('[') {
		return nil, refuse("%q is no array", src.Path)
	}
	j.array = true
	j.around++
	return j, nil
}

func wantedOf(src *Source) map[string]int {
	wanted := map[string]int{}
	for i, f := range src.froms {
		if f.From != "" {
			wanted[f.From] = i
		}
	}
	return wanted
}

// over is the error of an end that comes too early.
func over(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return errBroken{errors.New("it ends within a value")}
	}
	return err
}

// token is the decoder's, with its errors as reader's.
func (j *jsonReader) token() (json.Token, error) {
	t, err := j.dec.Token()
	var syntax *json.SyntaxError
	switch {
	case err == nil || err == io.EOF || errors.Is(err, errLong):
		return t, err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, over(err)
	case errors.As(err, &syntax):
		return nil, refuse("no JSON at byte %d: %s", syntax.Offset, clip(syntax.Error()))
	}
	return nil, errBroken{err}
}

func (j *jsonReader) Next() (row, error) {
	off := j.dec.InputOffset()
	r := row{line: j.in.mark(off), offset: off}
	if j.over {
		return r, j.end()
	}
	t, err := j.token()
	switch {
	case err == io.EOF && !j.array && j.around == 0:
		return r, io.EOF // objects one after the other
	case err != nil:
		return r, over(err)
	}
	r.line, r.offset = j.in.mark(j.dec.InputOffset()), j.dec.InputOffset()
	switch {
	case t == json.Delim('[') && !j.array && r.offset <= 4:
		j.array = true
		j.around = 1
		return j.Next()
	case t == json.Delim(']') && j.array:
		j.over = true
		j.around--
		return r, j.end()
	case t == json.Delim('{'):
		r.values, r.there = make([]string, len(j.src.froms)), make([]bool, len(j.src.froms))
		odd, err := j.object(&r, "", 0)
		if err != nil {
			return r, over(err)
		}
		r.text = strings.Join(r.values, " ")
		return r, odd
	}
	if d, ok := t.(json.Delim); ok {
		return r, refuse("%v where a record should be", d)
	}
	r.text = fmt.Sprint(t)
	return r, bad("syntax", "no object")
}

// end reads to the end of the document: what is cut after its records is cut.
func (j *jsonReader) end() error {
	for {
		j.in.mark(j.dec.InputOffset())
		t, err := j.token()
		switch {
		case err == io.EOF && j.around > 0:
			return over(err)
		case err != nil:
			return err
		case j.around == 0:
			return refuse("something after the end of the document")
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			if j.around++; j.around > depthMax {
				return refuse("values are more than %d deep", depthMax)
			}
		case json.Delim('}'), json.Delim(']'):
			j.around--
		}
	}
}

// object reads the rest of an object into r. odd is what is wrong with the record alone.
func (j *jsonReader) object(r *row, prefix string, depth int) (odd, err error) {
	if depth > depthMax {
		return nil, refuse("values are more than %d deep", depthMax)
	}
	seen := map[string]bool{}
	for {
		t, err := j.token()
		if err != nil {
			return nil, over(err)
		}
		if t == json.Delim('}') {
			return odd, nil
		}
		name, _ := t.(string)
		if seen[name] && odd == nil {
			odd = bad("duplicate", "%s is there twice", clip(prefix+name))
		}
		seen[name] = true
		v, err := j.token()
		if err != nil {
			return nil, over(err)
		}
		i, want := j.wanted[prefix+name]
		switch v := v.(type) {
		case json.Delim:
			if want && odd == nil {
				odd = inField(j.src.froms[i].name, bad("syntax", "a value of several"))
			}
			if v == '{' {
				deep, err := j.object(r, prefix+name+".", depth+1)
				if err != nil {
					return nil, err
				}
				odd = errors.Join(odd, deep)
			} else if err := j.skipTo(1); err != nil {
				return nil, err
			}
		case nil:
		default:
			if want {
				r.values[i], r.there[i] = fmt.Sprint(v), true
			}
		}
	}
}

// skip goes over one value.
func (j *jsonReader) skip() error {
	j.in.mark(j.dec.InputOffset())
	t, err := j.token()
	if err != nil {
		return err
	}
	if t == json.Delim('{') || t == json.Delim('[') {
		return j.skipTo(1)
	}
	return nil
}

func (j *jsonReader) skipTo(open int) error {
	for open > 0 {
		t, err := j.token()
		if err != nil {
			return over(err)
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			if open++; open > depthMax {
				return refuse("values are more than %d deep", depthMax)
			}
		case json.Delim('}'), json.Delim(']'):
			open--
		}
	}
	return nil
}

// linesReader reads JSON lines: a line that is no object is one bad record.
type linesReader struct {
	w   *window
	src *Source
}

func newLines(src *Source, r io.Reader, most int) *linesReader {
	return &linesReader{newWindow(r, most), src}
}

func (l *linesReader) Next() (row, error) {
	for {
		b := l.w.rest()
		r := row{line: l.w.line, offset: l.w.off}
		i := bytes.IndexByte(b, '\n')
		switch {
		case len(b) == 0 && l.w.err != nil:
			return r, ended(l.w.err)
		case i < 0 && l.w.more():
			continue
		case i < 0 && l.w.err != nil && !l.w.ended():
			return r, ended(l.w.err)
		case i > l.w.max, i < 0 && len(b) > l.w.max:
			if err := l.w.skipLine(); err != nil && err != io.EOF {
				return r, ended(err)
			}
			return r, bad("long", "longer than %d bytes", l.w.max)
		}
		if i < 0 {
			i = len(b) - 1
		}
		l.w.take(i + 1)
		line := bytes.TrimSpace(b[:i+1])
		if len(line) == 0 {
			continue
		}
		r.text = string(line)
		j := &jsonReader{in: newAllowance(bytes.NewReader(line), l.w.max), src: l.src, wanted: wantedOf(l.src)}
		j.dec = json.NewDecoder(j.in)
		j.dec.UseNumber()
		one, err := j.Next()
		var badRecord *badError
		if err == nil {
			if _, more := j.token(); more != io.EOF {
				err = errors.New("something after the object")
			}
		}
		if err != nil && !errors.As(err, &badRecord) {
			err = bad("syntax", "%v", err)
		}
		r.values, r.there = one.values, one.there
		return r, err
	}
}
