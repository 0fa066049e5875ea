package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

// suffix marks a template. The file that it makes has the name without it.
const suffix = ".tmpl"

// Renderer makes the app's files of a set. Without a folder of templates they are the set's own, of which those that end
// in .tmpl are templates; with one they are what is in the folder, and the set is only what the templates look at.
//
// A template may come over the network. So it reaches nothing but the set and the variables that begin with TEMPLATE_, and
// it ends: output and time are bounded, and what would take memory or time out of bounds in one step is not there.
type Renderer struct {
	Dir     string // of templates; empty: those of the set
	Limits  Limits
	Timeout time.Duration
	Env     func(string) (string, bool)
}

// Set is the app's files.
func (r *Renderer) Set(ctx context.Context, set Set) (Files, error) {
	from := set.Files
	if r.Dir != "" {
		files, err := readFolder(r.Dir, r.Limits)
		if err != nil {
			return nil, fmt.Errorf("templates: %w", err)
		}
		from = files
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout, fmt.Errorf("templates take longer than %v", r.Timeout))
	defer cancel()
	out := Files{}
	for _, name := range from.names() {
		target, ok := strings.CutSuffix(name, suffix)
		text := from[name]
		if ok {
			var err error
			if text, err = r.text(ctx, name, text, set); err != nil {
				return nil, err
			}
		}
		if _, twice := out[target]; twice {
			return nil, fmt.Errorf("%s and %s are both there", target, target+suffix)
		}
		out[target] = text
	}
	return out, r.Limits.check(out)
}

// text renders one template. Its errors begin with the name and the line.
func (r *Renderer) text(ctx context.Context, name, text string, set Set) (string, error) {
	t := template.New(name).Option("missingkey=error")
	t.Funcs(r.funcs(set.Files)).Funcs(template.FuncMap{"tick": func() (string, error) { return "", context.Cause(ctx) }})
	t, err := t.Parse(text)
	if err != nil {
		return "", plain(err)
	}
	if err := tick(t); err != nil {
		return "", err
	}
	out := &bounded{most: r.Limits.Size}
	err = t.Execute(out, map[string]any{"Version": set.Version, "Files": map[string]string(set.Files)})
	if err != nil {
		return "", plain(err)
	}
	return out.String(), nil
}

// plain leaves out the package's own word for where it happened.
func plain(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "template: "))
}

// tick has a look at the clock in each round of each loop and at the beginning of each template: a loop over a large
// number, or templates that call one another, would go on for longer than anybody waits.
func tick(t *template.Template) error {
	look, err := template.New("").Funcs(template.FuncMap{"tick": func() string { return "" }}).Parse("{{tick}}")
	if err != nil {
		return err
	}
	node := look.Root.Nodes[0]
	var walk func(list *parse.ListNode)
	walk = func(list *parse.ListNode) {
		if list == nil {
			return
		}
		for _, n := range list.Nodes {
			switch n := n.(type) {
			case *parse.IfNode:
				walk(n.List)
				walk(n.ElseList)
			case *parse.WithNode:
				walk(n.List)
				walk(n.ElseList)
			case *parse.RangeNode:
				walk(n.List)
				walk(n.ElseList)
				n.List.Nodes = append([]parse.Node{node}, n.List.Nodes...)
			}
		}
	}
	for _, t := range t.Templates() {
		if t.Tree != nil && t.Root != nil {
			walk(t.Root)
			t.Root.Nodes = append([]parse.Node{node}, t.Root.Nodes...)
		}
	}
	return nil
}

// bounded is an output that has an end.
type bounded struct {
	bytes.Buffer
	most int
}

func (b *bounded) Write(text []byte) (int, error) {
	if b.Len()+len(text) > b.most {
		return 0, fmt.Errorf("it makes more than %d bytes", b.most)
	}
	return b.Buffer.Write(text)
}

// wide is a format that makes much of little.
var wide = regexp.MustCompile(`%[^a-zA-Z%]*(\*|\[|\d{4,})`)

// funcs are what templates may use beside the language's own. The README lists them.
func (r *Renderer) funcs(files Files) template.FuncMap {
	file := func(name string) (string, error) {
		text, ok := files[name]
		if !ok {
			return "", fmt.Errorf("there is no file %q", name)
		}
		return text, nil
	}
	return template.FuncMap{
		// What is in the set.
		"file": file,
		"fileOr": func(name, otherwise string) string {
			if text, ok := files[name]; ok {
				return text
			}
			return otherwise
		},
		"has":    func(name string) bool { _, ok := files[name]; return ok },
		"json":   func(name string) (any, error) { return fromJSON(file, name) },
		"values": func(name string) (map[string]string, error) { return fromLines(file, name) },
		"env": func(name string) (string, error) {
			text, ok := r.Env(name)
			if !ok || !strings.HasPrefix(name, "TEMPLATE_") {
				return "", fmt.Errorf("there is no variable %q; only those that begin with TEMPLATE_ are seen", name)
			}
			return text, nil
		},
		// Texts. The text is the last argument, so that it may come through a pipe.
		"lower":     strings.ToLower,
		"upper":     strings.ToUpper,
		"trim":      strings.TrimSpace,
		"split":     func(sep, text string) []string { return strings.Split(text, sep) },
		"join":      func(sep string, list []string) (string, error) { return r.each(sep, anys(list)...) },
		"replace":   r.replace,
		"contains":  func(part, text string) bool { return strings.Contains(text, part) },
		"hasPrefix": func(prefix, text string) bool { return strings.HasPrefix(text, prefix) },
		"hasSuffix": func(end, text string) bool { return strings.HasSuffix(text, end) },
		"quote":     func(text string) (string, error) { return r.fit(strconv.Quote(text)) },
		"base64":    func(text string) (string, error) { return r.fit(base64.StdEncoding.EncodeToString([]byte(text))) },
		"toJSON": func(v any) (string, error) {
			text, err := json.Marshal(v)
			if err != nil {
				return "", err
			}
			return r.fit(string(text))
		},
		"sha256": sum,
		"default": func(otherwise, text string) string {
			if text == "" {
				return otherwise
			}
			return text
		},
		"required": func(message, text string) (string, error) {
			if text == "" {
				return "", errors.New(message)
			}
			return text, nil
		},
		// The language's own, with a bound.
		"print":   func(args ...any) (string, error) { return r.each("", args...) },
		"println": func(args ...any) (string, error) { return r.each(" ", append(args, "\n")...) },
		"html":    func(args ...any) (string, error) { return r.escape(template.HTMLEscapeString, args) },
		"js":      func(args ...any) (string, error) { return r.escape(template.JSEscapeString, args) },
		"urlquery": func(args ...any) (string, error) {
			return r.escape(func(text string) string { return template.URLQueryEscaper(text) }, args)
		},
		"printf": func(format string, args ...any) (string, error) {
			// Each argument is used once at most, so that what comes out is not much more than what goes in.
			if wide.MatchString(format) {
				return "", fmt.Errorf("format %q: a width of at most 999, and no argument by its number", line(format, 40))
			}
			if _, err := r.each("", args...); err != nil {
				return "", err
			}
			return r.fit(fmt.Sprintf(format, args...))
		},
	}
}

// fit refuses a text that is larger than all files may be together. Every text that a template makes passes here: one
// that doubles what it has in each round of a loop would have no end otherwise.
func (r *Renderer) fit(text string) (string, error) {
	if len(text) > r.Limits.Size {
		return "", fmt.Errorf("it makes more than %d bytes", r.Limits.Size)
	}
	return text, nil
}

// each is all of the arguments as texts, one after the other.
func (r *Renderer) each(sep string, args ...any) (string, error) {
	out := &bounded{most: r.Limits.Size}
	for i, arg := range args {
		text, err := r.fit(fmt.Sprint(arg))
		if err == nil && i > 0 {
			_, err = out.Write([]byte(sep))
		}
		if err == nil {
			_, err = out.Write([]byte(text))
		}
		if err != nil {
			return "", err
		}
	}
	return out.String(), nil
}

func (r *Renderer) escape(escape func(string) string, args []any) (string, error) {
	text, err := r.each("", args...)
	if err != nil {
		return "", err
	}
	return r.fit(escape(text))
}

func anys(list []string) (out []any) {
	for _, text := range list {
		out = append(out, text)
	}
	return out
}

func (r *Renderer) replace(from, to, text string) (string, error) {
	if (strings.Count(text, from)+1)*len(to)+len(text) > r.Limits.Size {
		return "", fmt.Errorf("it makes more than %d bytes", r.Limits.Size)
	}
	return strings.ReplaceAll(text, from, to), nil
}

// sum is the SHA-256 of all texts, one after the other.
func sum(texts ...string) string {
	h := sha256.New()
	for _, text := range texts {
		h.Write([]byte(text))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func fromJSON(file func(string) (string, error), name string) (v any, err error) {
	text, err := file(name)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber() // 10000000 is not 1e+07
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}

// fromLines reads key = value.
func fromLines(file func(string) (string, error), name string) (map[string]string, error) {
	text, err := file(name)
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	n := 0
	for l := range strings.Lines(text) {
		n++
		l = strings.TrimSpace(l)
		if l == "" || l[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(l, "=")
		if !ok {
			return nil, fmt.Errorf("%s:%d: %q is not key = value", name, n, line(l, 40))
		}
		values[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return values, nil
}

// confirmation renders what an app's answer must have in it, once the files are in force.
func (r *Renderer) confirmation(ctx context.Context, text, version string, files Files) (string, error) {
	return r.text(ctx, "CONFIRM_TEXT", text, Set{Version: version, Files: files})
}

// environment is the process's.
func environment(name string) (string, bool) { return os.LookupEnv(name) }
