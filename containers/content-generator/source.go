package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// Source is what pages are made of.
type Source struct {
	Templates string // folder
	Data      string // file; empty: none
	Most      int64  // bytes of all pages together
}

// Values are what a template sees.
type Values struct {
	Generation uint64
	Time       time.Time // of this generation
	Data       any
}

// maxData bounds the data file, and each template.
const maxData = 4 << 20

// maxFiles bounds the pages.
const maxFiles = 1000

// suffix marks templates. What stands before it decides the kind: in .html and .htm values are escaped for where they
// stand.
const suffix = ".tmpl"

// Make renders all pages, path to content. It has no effect on anything, so that what fails has published nothing.
func (s Source) Make(generation uint64, now time.Time) (map[string][]byte, error) {
	v := Values{Generation: generation, Time: now}
	if s.Data != "" {
		text, err := readFile(s.Data, maxData)
		if err != nil {
			return nil, err
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		if err := dec.Decode(&v.Data); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Data, err)
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: more than one JSON value", s.Data)
		}
	}
	pages := map[string][]byte{}
	left := s.Most
	err := filepath.WalkDir(s.Templates, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(s.Templates, path)
		if err != nil {
			return err
		}
		if hidden := strings.HasPrefix(d.Name(), ".") && name != "."; hidden && d.IsDir() {
			return fs.SkipDir // a ConfigMap's ..data and the like
		} else if hidden || d.IsDir() {
			return nil
		}
		if len(pages) == maxFiles {
			return fmt.Errorf("%s: more than %d files", s.Templates, maxFiles)
		}
		page, err := s.page(path, v, left)
		if err != nil {
			return err
		}
		left -= int64(len(page))
		pages[filepath.ToSlash(strings.TrimSuffix(name, suffix))] = page
		return nil
	})
	if err == nil && len(pages) == 0 {
		err = fmt.Errorf("%s: no files in it", s.Templates)
	}
	return pages, err
}

// page is one file: rendered if it is a template, as it is if not.
func (s Source) page(path string, v Values, most int64) ([]byte, error) {
	name, isTemplate := strings.CutSuffix(path, suffix)
	if !isTemplate {
		return readFile(path, most)
	}
	text, err := readFile(path, maxData)
	if err != nil {
		return nil, err
	}
	var page interface {
		Execute(w io.Writer, data any) error
	}
	if ext := filepath.Ext(name); ext == ".html" || ext == ".htm" {
		page, err = htmltemplate.New(filepath.Base(path)).Option("missingkey=error").Funcs(functions).Parse(string(text))
	} else {
		page, err = template.New(filepath.Base(path)).Option("missingkey=error").Funcs(functions).Parse(string(text))
	}
	if err != nil {
		return nil, err
	}
	out := &limited{most: most}
	if err := page.Execute(out, v); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// functions are what templates have besides Go's own.
var functions = map[string]any{
	// count is 1 to n, for pages that are made of numbers.
	"count": func(n any) ([]int, error) {
		var most int
		if _, err := fmt.Sscan(fmt.Sprint(n), &most); err != nil || most < 0 || most > 1e6 {
			return nil, fmt.Errorf("count: %v is not a number from 0 to 1000000", n)
		}
		list := make([]int, most)
		for i := range list {
			list[i] = i + 1
		}
		return list, nil
	},
}

// limited is a buffer with an end.
type limited struct {
	bytes.Buffer
	most int64
}

func (l *limited) Write(p []byte) (int, error) {
	if int64(l.Len()+len(p)) > l.most {
		return 0, errTooLarge
	}
	return l.Buffer.Write(p)
}

var errTooLarge = errors.New("more than MAX_BYTES in one generation")

// readFile reads a file up to a bound.
func readFile(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%s: larger than %d bytes, or %w", path, most, errTooLarge)
	}
	return text, nil
}
