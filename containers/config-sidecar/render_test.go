package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

func newRenderer() *Renderer {
	vars := map[string]string{"TEMPLATE_REGION": "eu", "SOURCE_TOKEN": "s3cret"}
	return &Renderer{
		Limits: limits, Timeout: 10 * time.Second,
		Env: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
	}
}

// TestRender: what templates make, and what they are refused for, with the line.
func TestRender(t *testing.T) {
	data := Files{
		"values.json": `{"port": 10000000, "hosts": ["a", "b"], "name": "<x>"}`, "app.env": "# comment\nA = 1\nB=two=2\n", "bad.json": "{", "bad.env": "A\n",
	}
	for _, tt := range []struct{ text, want, err string }{
		{"plain", "plain", ""},
		{`{{.Version}}`, "7", ""},
		{`{{(json "values.json").port}}`, "10000000", ""}, // not 1e+07
		{`{{range (json "values.json").hosts}}[{{.}}]{{end}}`, "[a][b]", ""},
		{`{{(json "values.json").name}}`, "<x>", ""},
		{`{{(values "app.env").B}}`, "two=2", ""},
		{`{{fileOr "gone" "other"}} {{has "gone"}} {{has "app.env"}}`, "other false true", ""},
		{`{{env "TEMPLATE_REGION"}}`, "eu", ""},
		{`{{split "," "a,b" | join "+" | upper | quote}}`, `"A+B"`, ""},
		{`{{"x y" | replace " " "-"}} {{default "d" ""}} {{default "d" "v"}} {{required "why" "v"}}`, "x-y d v v", ""},
		{`{{base64 "hi"}} {{toJSON (json "values.json").hosts}}`, `aGk= ["a","b"]`, ""},
		{`{{sha256 "a" "b"}}`, "fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603", ""},
		{`{{contains "b" "abc"}} {{hasPrefix "a" "abc"}} {{hasSuffix "a" "abc"}} {{trim " x "}} {{lower "X"}}`, "true true false x x", ""},
		{`{{printf "%05d %s" 42 "x"}} {{html "<"}} {{print 1 "a"}} {{len (file "app.env")}}`, "00042 x &lt; 1a 24", ""},
		{`{{define "a"}}x{{end}}{{template "a"}}{{if true}}y{{else}}z{{end}}{{with .Version}}{{.}}{{end}}`, "xy7", ""},

		{"a\n{{.Version", "", "t.conf.tmpl:2: unclosed action"},
		{"a\n\n{{nope}}", "", `t.conf.tmpl:3: function "nope" not defined`},
		{"a\n\n{{.Nope}}", "", "t.conf.tmpl:3:"},
		{"\n{{(values \"app.env\").C}}", "", `t.conf.tmpl:2:`},
		{`{{(json "values.json").gone}}`, "", `map has no entry for key "gone"`},
		{`{{file "gone"}}`, "", `there is no file "gone"`},
		{`{{json "bad.json"}}`, "", "bad.json: unexpected EOF"},
		{`{{values "bad.env"}}`, "", `bad.env:1: "A" is not key = value`},
		{`{{env "SOURCE_TOKEN"}}`, "", "only those that begin with TEMPLATE_"},
		{`{{required "set a host" ""}}`, "", "set a host"},

		// What would take all memory, or all time.
		{`{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`, "", "exceeded maximum template depth"},
		{`{{range 10000000000}}{{end}}`, "", "take longer than"},
		{`{{range 10000000000}}{{range 10000000000}}{{end}}{{end}}`, "", "take longer than"},
		{`{{range 10000000000}}xxxxxxxxxxxxxxxxxxxxxxxxx{{end}}`, "", "more than 65536 bytes"},
		{`{{printf "%1000000000d" 1}}`, "", "a width of at most"},
		{`{{printf "%*d" 1000000000 1}}`, "", "a width of at most"},
		{`{{printf "%[1]s%[1]s" "x"}}`, "", "no argument by its number"},
		{`{{$x := "xxxxxxxx"}}{{range 60}}{{$x = print $x $x}}{{end}}`, "", "more than 65536 bytes"},
		{`{{$x := "xxxxxxxx"}}{{range 60}}{{$x = printf "%s%s" $x $x}}{{end}}`, "", "more than 65536 bytes"},
		{`{{$x := "\"\"\"\"\"\"\"\""}}{{range 60}}{{$x = quote $x}}{{end}}`, "", "more than 65536 bytes"},
		{`{{$x := "<<<<<<<<"}}{{range 60}}{{$x = html $x $x}}{{end}}`, "", "more than 65536 bytes"},
		{`{{$x := "<<<<<<<<"}}{{range 60}}{{$x = base64 $x}}{{end}}`, "", "more than 65536 bytes"},
		{`{{$x := "aaaaaaaa"}}{{range 60}}{{$x = replace "a" "aa" $x}}{{end}}`, "", "more than 65536 bytes"},
		{`{{$x := "aaaaaaaa"}}{{range 60}}{{$x = join $x (split "a" $x)}}{{end}}`, "", "more than 65536 bytes"},
	} {
		r := newRenderer()
		if strings.Contains(tt.err, "longer") {
			r.Timeout = 100 * time.Millisecond
		}
		files := Files{"t.conf.tmpl": tt.text}
		for name, text := range data {
			files[name] = text
		}
		got, err := r.Set(t.Context(), Set{Files: files, Version: "7"})
		switch {
		case tt.err == "" && (err != nil || got["t.conf"] != tt.want || len(got) != len(files)):
			t.Errorf("%s: %q, %v, want %q", tt.text, got["t.conf"], err, tt.want)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%s: %q, %v, want the error %q", tt.text, got["t.conf"], err, tt.err)
		}
	}
	if _, err := newRenderer().Set(t.Context(), Set{Files: Files{"a": "1", "a.tmpl": "2"}}); err == nil || !strings.Contains(err.Error(), "a and a.tmpl are both there") {
		t.Errorf("a file and its template: %v", err)
	}
}

// TestTemplateDir: with templates of its own, the app gets what they make, and not what they look at.
func TestTemplateDir(t *testing.T) {
	r := newRenderer()
	r.Dir = t.TempDir()
	writeAll(t, r.Dir, map[string]string{"app.conf.tmpl": `port = {{(values "kv").port}}`, "static/logo.txt": "logo"})
	got, err := r.Set(t.Context(), Set{Files: Files{"kv": "port = 1\n"}, Version: "1"})
	if want := (Files{"app.conf": "port = 1", "static/logo.txt": "logo"}); err != nil || got.Digest() != want.Digest() {
		t.Errorf("%v %v", got, err)
	}
	r.Dir = r.Dir + "/gone"
	if _, err := r.Set(t.Context(), Set{}); err == nil || !strings.Contains(err.Error(), "templates") {
		t.Error(err)
	}
}

// FuzzRender: no template ends the process, or goes on.
func FuzzRender(f *testing.F) {
	for _, text := range []string{
		"plain", `{{range 3}}{{.}}{{end}}`, `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`, `{{printf "%9d" 1}}`, `{{json "j"}}`, `{{values "v"}}`,
		`{{$x := "a"}}{{range 9}}{{$x = print $x $x}}{{end}}{{$x}}`, `{{with 1}}{{else with 2}}{{end}}`, `{{range $i, $e := (split "" "abc")}}{{break}}{{end}}`,
		`{{index (split "" "abc") 9}}`, `{{slice "abc" 1 9}}`, `{{call .Files}}`, `{{block "x" .}}{{end}}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := newRenderer()
		r.Timeout = time.Second
		begun := time.Now()
		got, err := r.Set(context.Background(), Set{Files: Files{"t.tmpl": text, "j": `{"a":[1,2]}`, "v": "a=b"}})
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("%q took %v", text, took)
		}
		if err == nil && got.size() > limits.Size {
			t.Errorf("%q made %d bytes", text, got.size())
		}
		_ = fmt.Sprint(err)
	})
}
