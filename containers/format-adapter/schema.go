package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Field is one of a record, whatever the source.
type Field struct {
	Name     string  `yaml:"name"`
	Type     string  `yaml:"type"` // string, integer, decimal, date, boolean
	Scale    int     `yaml:"scale"`
	Max      int     `yaml:"max"`
	Required bool    `yaml:"required"`
	Default  *string `yaml:"default"`
	Says     string  `yaml:"says"`
}

// Schema is what a record is.
type Schema struct {
	Title  string  `yaml:"title"`
	Key    string  `yaml:"key"`
	Fields []Field `yaml:"fields"`

	key int
}

// From is where a source has a field, and how it writes it.
type From struct {
	From    string   `yaml:"from"` // column, element, member
	At      []int    `yaml:"at"`   // first and last column, from 1
	Decimal string   `yaml:"decimal"`
	Group   string   `yaml:"group"`
	Implied int      `yaml:"implied"`
	Sign    string   `yaml:"sign"` // leading, trailing, overpunch, packed
	Layout  string   `yaml:"layout"`
	Pivot   int      `yaml:"pivot"`
	Missing []string `yaml:"missing"`
	True    []string `yaml:"true"`
	False   []string `yaml:"false"`

	name   string
	layout string
	short  bool
	column int // of a CSV without names, from 1
}

// Trailer is a last record that says how many there were.
type Trailer struct {
	Starts string `yaml:"starts"`
	Count  int    `yaml:"count"` // CSV: the column with the count, from 0
	At     []int  `yaml:"at"`    // fixed: the columns with it
}

// Source is one that is read.
type Source struct {
	Name      string           `yaml:"name"`
	URL       string           `yaml:"url"`
	File      string           `yaml:"file"`
	Stable    string           `yaml:"stable"` // a file that was written to since is not read
	Unlisted  bool             `yaml:"unlisted"`
	Format    string           `yaml:"format"`
	Encoding  string           `yaml:"encoding"`
	SkipLines int              `yaml:"skip_lines"`
	Separator string           `yaml:"separator"`
	Quote     string           `yaml:"quote"`
	NoHeader  bool             `yaml:"no_header"`
	Columns   int              `yaml:"columns"`
	Record    string           `yaml:"record"`
	Namespace string           `yaml:"namespace"`
	Length    int              `yaml:"length"`
	Unit      string           `yaml:"unit"`
	Path      string           `yaml:"path"`
	Trailer   *Trailer         `yaml:"trailer"`
	Fields    map[string]*From `yaml:"fields"`

	froms  []*From // in the schema's order
	stable time.Duration
}

// Sources is all that is configured.
type Sources struct {
	Schema  Schema
	Sources []*Source
}

const fileMax = 1 << 20

// load reads the files that the patterns name, in order. One has the schema; each may have sources.
func load(patterns []string) (*Sources, error) {
	var all Sources
	var wrong []error
	schemas := 0
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", pattern, err)
		}
		if len(paths) == 0 && !strings.ContainsAny(pattern, "*?[") {
			return nil, fmt.Errorf("%s: no such file", pattern)
		}
		for _, path := range paths {
			var file struct {
				Schema  *Schema   `yaml:"schema"`
				Sources []*Source `yaml:"sources"`
			}
			text, err := readFile(path)
			if err != nil {
				return nil, err
			}
			dec := yaml.NewDecoder(bytes.NewReader(text))
			dec.KnownFields(true)
			if err := dec.Decode(&file); err != nil && err != io.EOF {
				return nil, fmt.Errorf("%s: %s", path, strings.Join(strings.Fields(err.Error()), " "))
			}
			if file.Schema != nil {
				all.Schema = *file.Schema
				schemas++
			}
			for _, s := range file.Sources {
				if s == nil {
					return nil, fmt.Errorf("%s: a source that is empty", path)
				}
				all.Sources = append(all.Sources, s)
			}
		}
	}
	if schemas != 1 {
		return nil, fmt.Errorf("%d schemas in %s, want one", schemas, strings.Join(patterns, ", "))
	}
	if err := all.Schema.check(); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	if len(all.Sources) == 0 {
		wrong = append(wrong, errors.New("no sources"))
	}
	names := map[string]bool{}
	for _, s := range all.Sources {
		if err := s.check(&all.Schema); err != nil {
			wrong = append(wrong, fmt.Errorf("source %q: %w", s.Name, err))
		}
		if names[s.Name] {
			wrong = append(wrong, fmt.Errorf("source %q: there are two of this name", s.Name))
		}
		names[s.Name] = true
	}
	return &all, errors.Join(wrong...)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, fileMax+1))
	if err == nil && len(text) > fileMax {
		err = fmt.Errorf("%s: larger than %d bytes", path, fileMax)
	}
	return text, err
}

var fieldName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// reserved are the query's own words.
var reserved = []string{"source", "limit", "cursor", "format", "partial"}

func (s *Schema) check() error {
	s.key = -1
	for i := range s.Fields {
		f := &s.Fields[i]
		switch {
		case !fieldName.MatchString(f.Name) || slices.Contains(reserved, f.Name):
			return fmt.Errorf("field %q: want a name in lower case that is none of %s", f.Name, strings.Join(reserved, ", "))
		case !slices.Contains([]string{"string", "integer", "decimal", "date", "boolean"}, f.Type):
			return fmt.Errorf("field %s: type %q: want string, integer, decimal, date or boolean", f.Name, f.Type)
		case f.Scale < 0 || f.Scale > digitsMax || f.Scale > 0 && f.Type != "decimal":
			return fmt.Errorf("field %s: scale %d: want 0 to %d, and a decimal", f.Name, f.Scale, digitsMax)
		case slices.ContainsFunc(s.Fields[:i], func(g Field) bool { return g.Name == f.Name }):
			return fmt.Errorf("field %s: there are two of this name", f.Name)
		}
		if f.Default != nil {
			from := From{layout: time.DateOnly, True: []string{"true"}, False: []string{"false"}}
			v, err := f.read(&from, *f.Default)
			if err != nil {
				return fmt.Errorf("field %s: default: %w", f.Name, err)
			}
			f.Default = &v
		}
		if f.Name == s.Key {
			s.key = i
		}
	}
	if s.key < 0 {
		return fmt.Errorf("key %q is none of the fields", s.Key)
	}
	s.Fields[s.key].Required = true
	return nil
}

var sourceName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)

func (s *Source) check(schema *Schema) (err error) {
	if !sourceName.MatchString(s.Name) {
		return errors.New("want a name of letters, digits, and . _ -")
	}
	for name := range s.Fields {
		if !slices.ContainsFunc(schema.Fields, func(f Field) bool { return f.Name == name }) {
			return fmt.Errorf("field %q is not in the schema", name)
		}
	}
	for _, f := range schema.Fields {
		from := s.Fields[f.Name]
		if from == nil {
			from = &From{}
		}
		from.name = f.Name
		if err := from.check(s, f); err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
		s.froms = append(s.froms, from)
	}
	if (s.URL == "") == (s.File == "") {
		return errors.New("want one of url and file")
	}
	if s.URL != "" {
		if u, err := url.Parse(s.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("url %q: want http:// or https:// and a host", s.URL)
		}
	}
	if s.Stable != "" {
		if s.stable, err = time.ParseDuration(s.Stable); err != nil || s.stable < 0 {
			return fmt.Errorf("stable %q: want a duration like 2s", s.Stable)
		}
	}
	if s.Encoding == "" && s.Format != "xml" {
		s.Encoding = "utf-8"
	}
	s.Encoding = strings.ToLower(s.Encoding)
	if s.Encoding != "" {
		if err := known(s.Encoding); err != nil {
			return err
		}
	}
	if s.SkipLines < 0 || s.SkipLines > 1000 {
		return fmt.Errorf("skip_lines %d: want 0 to 1000", s.SkipLines)
	}
	if s.Trailer != nil && (s.Trailer.Starts == "" || s.Format != "csv" && s.Format != "fixed") {
		return errors.New("trailer: want what it starts with, and the format csv or fixed")
	}
	switch s.Format {
	case "csv":
		return s.checkCSV()
	case "fixed":
		return s.checkFixed()
	case "xml":
		return s.checkXML()
	case "json", "jsonl":
		return nil
	}
	return fmt.Errorf("format %q: want csv, xml, fixed, json or jsonl", s.Format)
}

// check completes a field's source.
func (f *From) check(s *Source, field Field) (err error) {
	if s.NoHeader && f.From != "" {
		if _, err := fmt.Sscanf(f.From, "%d", &f.column); err != nil || f.column < 1 {
			return fmt.Errorf("from %q: want the column's number, from 1, as there are no names", f.From)
		}
	}
	if f.Layout == "" {
		f.Layout = "YYYY-MM-DD"
	}
	if f.layout, f.short, err = layoutOf(f.Layout); err != nil {
		return err
	}
	if f.Pivot == 0 {
		f.Pivot = 1970
	}
	if f.True == nil && f.False == nil {
		f.True, f.False = []string{"true"}, []string{"false"}
	}
	switch {
	case !slices.Contains([]string{"", "leading", "trailing", "overpunch", "packed"}, f.Sign):
		return fmt.Errorf("sign %q: want leading, trailing, overpunch or packed", f.Sign)
	case f.Sign == "packed" && s.Format != "fixed":
		return errors.New("sign packed: in fixed records alone")
	case f.Implied < 0 || f.Implied > digitsMax:
		return fmt.Errorf("implied %d: want 0 to %d", f.Implied, digitsMax)
	case f.Group != "" && f.Group == f.mark():
		return errors.New("group and decimal are the same")
	case f.At != nil && s.Format != "fixed":
		return errors.New("at: in fixed records alone")
	case f.From == "" && f.At == nil && field.Required && field.Default == nil:
		return errors.New("it is required, and the source does not say where it is")
	}
	return nil
}
