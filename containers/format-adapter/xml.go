package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// depthMax bounds how deep elements and values may be in each other.
const depthMax = 64

const xsi = "http://www.w3.org/2001/XMLSchema-instance"

// xmlReader reads the elements of one name as records, as a stream. encoding/xml expands no entity but the five that XML
// has, so that a bomb is an error. What it lets pass is looked for here: a second root or text after the first, an attribute
// that is there twice, a prefix that is not declared, and depth and length without a bound.
type xmlReader struct {
	in  *allowance
	dec *xml.Decoder
	src *Source

	wanted map[string]int // path in the record to the field's index
	depth  int
	begun  bool
	spaces map[string]int // namespaces declared, and how often
	scopes [][]string     // by depth
}

func newXML(src *Source, r io.Reader, most int) (*xmlReader, error) {
	x := &xmlReader{in: newAllowance(r, most), src: src, wanted: map[string]int{}, spaces: map[string]int{"": 1, "xml": 1}}
	x.spaces["http://www.w3.org/XML/1998/namespace"] = 1
	x.dec = xml.NewDecoder(x.in)
	x.dec.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		label = strings.ToLower(label)
		if src.Encoding != "" || isUTF(label) {
			return in, nil // it is UTF-8 by now
		}
		if err := known(label); err != nil {
			return nil, err
		}
		return decoded(in, label), nil
	}
	for i, f := range src.froms {
		if f.From != "" {
			x.wanted[f.From] = i
		}
	}
	return x, nil
}

func (x *xmlReader) Next() (row, error) {
	for {
		r := row{line: x.in.mark(x.dec.InputOffset()), offset: x.dec.InputOffset()}
		r.line, _ = x.dec.InputPos()
		token, err := x.token()
		if err != nil {
			return r, err
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != x.src.Record || start.Name.Space != x.src.Namespace {
			continue
		}
		return x.record(r, start)
	}
}

// record reads up to the end of the element that has begun.
func (x *xmlReader) record(r row, start xml.StartElement) (row, error) {
	r.values, r.there = make([]string, len(x.src.froms)), make([]bool, len(x.src.froms))
	var odd error
	var path []string
	texts := []*strings.Builder{{}}
	set := func(name, value string) {
		i, ok := x.wanted[name]
		switch {
		case !ok:
		case r.there[i] && odd == nil:
			odd = inField(x.src.froms[i].name, bad("duplicate", "%s is there twice", name))
		default:
			r.values[i], r.there[i] = value, true
		}
	}
	attributes := func(s xml.StartElement) (null bool) {
		for i, a := range s.Attr {
			for _, b := range s.Attr[:i] {
				if a.Name == b.Name && odd == nil {
					odd = bad("duplicate", "attribute %s is there twice", a.Name.Local)
				}
			}
			if a.Name.Space == "" {
				set(strings.Join(append(path, "@"+a.Name.Local), "/"), a.Value)
			}
			null = null || a.Name.Space == xsi && a.Name.Local == "nil" && (a.Value == "true" || a.Value == "1")
		}
		return null
	}
	attributes(start)
	var nulls []bool
	for {
		token, err := x.token()
		if err != nil {
			return r, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			name := t.Name.Local
			if t.Name.Space != x.src.Namespace {
				name = "{" + t.Name.Space + "}" + name
			}
			path = append(path, name)
			nulls = append(nulls, attributes(t))
			texts = append(texts, &strings.Builder{})
		case xml.CharData:
			texts[len(texts)-1].Write(t)
		case xml.EndElement:
			if len(path) == 0 {
				r.text = strings.Join(r.values, " ")
				return r, odd
			}
			if last := len(path) - 1; !nulls[last] {
				set(strings.Join(path, "/"), strings.Trim(texts[last+1].String(), " \t\r\n"))
			}
			path, nulls, texts = path[:len(path)-1], nulls[:len(nulls)-1], texts[:len(texts)-1]
		}
	}
}

// token is the next one, with what must not be there as an error.
func (x *xmlReader) token() (xml.Token, error) {
	token, err := x.dec.Token()
	var syntax *xml.SyntaxError
	switch {
	case err == io.EOF && !x.begun:
		return nil, errBroken{errors.New("it is empty")}
	case err == io.EOF:
		return nil, err
	case errors.As(err, &syntax) && syntax.Msg == "unexpected EOF":
		return nil, errBroken{fmt.Errorf("it ends within an element, in line %d", syntax.Line)}
	case errors.As(err, &syntax):
		return nil, refuse("no XML: %s, line %d", clip(syntax.Msg), syntax.Line)
	case err != nil:
		if errors.Is(err, errLong) {
			return nil, err
		}
		return nil, errBroken{err}
	}
	switch t := token.(type) {
	case xml.StartElement:
		if x.begun && x.depth == 0 {
			return nil, refuse("an element after the end of the document")
		}
		x.begun = true
		if x.depth++; x.depth > depthMax {
			return nil, refuse("elements are more than %d deep", depthMax)
		}
		var scope []string
		for _, a := range t.Attr {
			if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
				x.spaces[a.Value]++
				scope = append(scope, a.Value)
			}
		}
		x.scopes = append(x.scopes, scope)
		if x.spaces[t.Name.Space] == 0 {
			return nil, refuse("the prefix %q is not declared", clip(t.Name.Space))
		}
	case xml.EndElement:
		x.depth--
		for _, s := range x.scopes[x.depth] {
			x.spaces[s]--
		}
		x.scopes = x.scopes[:x.depth]
	case xml.CharData:
		if x.depth == 0 && strings.Trim(string(t), " \t\r\n\ufeff") != "" {
			return nil, refuse("text outside of the document's element")
		}
	case xml.Directive:
		if strings.Contains(string(t), "<!ENTITY") {
			return nil, refuse("it declares entities, which are not expanded")
		}
	}
	return token, nil
}

func (s *Source) checkXML() error {
	if s.Record == "" {
		return errors.New("xml needs record, the name of a record's element")
	}
	return nil
}
