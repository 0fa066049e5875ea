package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"distlab/containers/internal/whole"
)

// put writes files, name and content in turns, below a folder.
func put(t *testing.T, dir string, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// tree is what lies below a folder, but for the manifest.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == manifest {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		got[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func newGenerator(t *testing.T) *Generator {
	return &Generator{
		Source:    Source{Templates: t.TempDir(), Most: 1 << 20},
		Publisher: Publisher{Dir: t.TempDir(), PlainStamp: true},
		Period:    time.Hour, Log: slog.New(slog.DiscardHandler), Metrics: newMetrics(prometheus.NewRegistry()),
		Ready: func(bool, string) {},
	}
}

func TestMake(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "index.html.tmpl", `<h1>{{.Data.title}}</h1>{{range count 3}}{{.}},{{end}} {{.Generation}}`, "plain.txt.tmpl", `{{.Data.title}}`,
		"sub/a.css", "b {}", ".hidden", "x", "..data/file", "x", "raw.html", "{{.Nothing}}")
	data := filepath.Join(t.TempDir(), "data.json")
	put(t, filepath.Dir(data), "data.json", `{"title": "<b>&", "big": 12345678901234567890}`)
	got, err := Source{Templates: dir, Data: data, Most: 1 << 20}.Make(7, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{}
	for name, page := range got {
		pages[name] = string(page)
	}
	want := map[string]string{
		"index.html": "<h1>&lt;b&gt;&amp;</h1>1,2,3, 7", "plain.txt": "<b>&", "sub/a.css": "b {}", "raw.html": "{{.Nothing}}",
	}
	if diff := cmp.Diff(want, pages); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Whatever is wrong with templates or data is an error with its place, and nothing is published.
func TestMakeFails(t *testing.T) {
	for name, test := range map[string]struct{ template, data, want string }{
		"syntax":         {"{{.Data.", "{}", "index.html.tmpl:1"},
		"missing key":    {"{{.Data.nothing}}", "{}", "nothing"},
		"half a JSON":    {"x", `{"a`, "unexpected EOF"},
		"two JSON":       {"x", `{} {}`, "more than one JSON value"},
		"HTML":           {"x", `<html>`, "invalid character '<'"},
		"no data":        {"x", "", "EOF"},
		"count":          {"{{count .Data.n}}", `{"n": "many"}`, "many is not a number"},
		"count too far":  {"{{count 1000001}}", `{}`, "not a number from 0 to 1000000"},
		"negative":       {"{{count -1}}", `{}`, "not a number"},
		"too large":      {"{{range count 999999}}0123456789{{end}}", `{}`, "MAX_BYTES"},
		"data too large": {"x", `"` + strings.Repeat("x", maxData) + `"`, "larger than"},
		"markup":         {`<a href={{.Data.x}} "`, `{"x": 1}`, "index.html.tmpl"},
	} {
		g := newGenerator(t)
		put(t, g.Publisher.Dir, "index.html", "old")
		put(t, g.Source.Templates, "index.html.tmpl", test.template, "other.txt", "new")
		dir := t.TempDir()
		put(t, dir, "data.json", test.data)
		g.Source.Data = filepath.Join(dir, "data.json")
		if err := g.Generate(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(map[string]string{"index.html": "old"}, tree(t, g.Publisher.Dir)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
	g := newGenerator(t)
	if err := g.Generate(t.Context()); err == nil || !strings.Contains(err.Error(), "no files") {
		t.Errorf("an empty folder: %v", err)
	}
}

// What has not changed is left alone, what is no longer made goes, and what others put there stays.
func TestPublish(t *testing.T) {
	p := Publisher{Dir: t.TempDir(), PlainStamp: true}
	put(t, p.Dir, "theirs.txt", "theirs")
	publish := func(files ...string) []string {
		t.Helper()
		pages := map[string][]byte{}
		for i := 0; i < len(files); i += 2 {
			pages[files[i]] = []byte(files[i+1])
		}
		changed, err := p.Publish(t.Context(), pages)
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	if diff := cmp.Diff([]string{"a.html", "sub/b.html"}, publish("a.html", "1", "sub/b.html", "2")); diff != "" {
		t.Error(diff)
	}
	before, err := os.Stat(filepath.Join(p.Dir, "a.html"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"c.html"}, publish("a.html", "1", "c.html", "3")); diff != "" {
		t.Error(diff)
	}
	after, err := os.Stat(filepath.Join(p.Dir, "a.html"))
	if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Errorf("a page that has not changed was written: %v", err)
	}
	want := map[string]string{"a.html": "1", "c.html": "3", "theirs.txt": "theirs"}
	if diff := cmp.Diff(want, tree(t, p.Dir)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// A manifest that names what is none of its business removes nothing.
	put(t, p.Dir, manifest, `["../outside", "/etc/passwd", "theirs.txt/../../x"]`)
	publish("a.html", "1")
	if info, err := os.Stat(filepath.Join(p.Dir, "a.html")); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v", err)
	}
}

// All or nothing: where one page cannot be written none is published, and nothing is left beside them.
func TestPublishFails(t *testing.T) {
	p := Publisher{Dir: t.TempDir(), PlainStamp: true}
	put(t, p.Dir, "a.html", "old", "z.html/in-the-way", "a folder")
	_, err := p.Publish(t.Context(), map[string][]byte{"a.html": []byte("new"), "a.html/below": []byte("x"), "m.html": []byte("new")})
	if err == nil {
		t.Fatal("a page below a page was published")
	}
	want := map[string]string{"a.html": "old", "z.html/in-the-way": "a folder"}
	if diff := cmp.Diff(want, tree(t, p.Dir)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A run that was killed leaves files behind; the next one removes them, and nothing else.
func TestOpen(t *testing.T) {
	p := Publisher{Dir: t.TempDir()}
	put(t, p.Dir, whole.Prefix+"a.html.1", "half", "sub/"+whole.Prefix+"b", "half", "a.html", "whole", ".other", "theirs")
	if err := p.Open(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a.html": "whole", ".other": "theirs"}, tree(t, p.Dir)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := (&Publisher{Dir: filepath.Join(p.Dir, "none")}).Open(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// Readers that never stop get one content or another, never a part: by its hash.
func TestReadersSeeWholePages(t *testing.T) {
	p := Publisher{Dir: t.TempDir(), PlainStamp: true}
	content := func(n int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%06d\n", n), 20000) }
	var known [40][32]byte
	for i := range known {
		known[i] = sha256.Sum256(content(i))
	}
	if _, err := p.Publish(t.Context(), map[string][]byte{"a": content(0)}); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	bad := make(chan string, 4)
	for range 4 {
		go func() {
			for !stop.Load() {
				text, err := os.ReadFile(filepath.Join(p.Dir, "a"))
				sum, found := sha256.Sum256(text), false
				for _, k := range known {
					found = found || k == sum
				}
				if err != nil || !found {
					bad <- fmt.Sprintf("%d bytes, %v", len(text), err)
					return
				}
			}
			bad <- ""
		}()
	}
	for i := range known {
		if _, err := p.Publish(t.Context(), map[string][]byte{"a": content(i)}); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	for range 4 {
		if odd := <-bad; odd != "" {
			t.Errorf("a reader got %s", odd)
		}
	}
}

// Two contents of one length never have one second of change; of different lengths they may.
func TestStamp(t *testing.T) {
	p := Publisher{Dir: t.TempDir()}
	second := func() int64 {
		info, err := os.Stat(filepath.Join(p.Dir, "a"))
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime().Unix()
	}
	publish := func(text string) int64 {
		t.Helper()
		if _, err := p.Publish(t.Context(), map[string][]byte{"a": []byte(text)}); err != nil {
			t.Fatal(err)
		}
		return second()
	}
	one, two := publish("1"), publish("2")
	if two <= one {
		t.Errorf("seconds %d and %d", one, two)
	}
	if now := time.Now().Unix(); two > now {
		t.Errorf("second %d is to come: it is %d", two, now)
	}
	// The clock was put back: the old page is of a time to come.
	future := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(p.Dir, "a"), future, future); err != nil {
		t.Fatal(err)
	}
	if got := publish("3"); got != future.Unix()+1 {
		t.Errorf("second %d, want %d", got, future.Unix()+1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	publish("longer")
	old := tree(t, p.Dir)
	if err := os.Chtimes(filepath.Join(p.Dir, "a"), time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	for { // what is cancelled while it waits publishes nothing
		if _, err := p.Publish(ctx, map[string][]byte{"a": []byte("LONGER")}); err != nil {
			break
		}
		_ = os.Chtimes(filepath.Join(p.Dir, "a"), time.Now(), time.Now()) // the second was over just then
		old = tree(t, p.Dir)
	}
	if diff := cmp.Diff(old, tree(t, p.Dir)); diff != "" {
		t.Error(diff)
	}
}

func TestGenerator(t *testing.T) {
	g := newGenerator(t)
	var ready []string
	g.Ready = func(ok bool, reason string) { ready = append(ready, fmt.Sprint(ok, " ", reason)) }
	put(t, g.Source.Templates, "a.txt.tmpl", "{{.Generation}}", "b.txt", "same")
	for range 3 {
		if err := g.Generate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	put(t, g.Source.Templates, "a.txt.tmpl", "{{.Nothing}}")
	for range 2 {
		if err := g.Generate(t.Context()); err == nil {
			t.Fatal("no error")
		}
	}
	st := g.status(&Burn{})
	if st.Generation != 5 || st.Failed != 2 || !strings.Contains(st.Reason, "Nothing") || st.Pages != 2 || st.Published.IsZero() {
		t.Errorf("%+v", st)
	}
	sum := func(s string) string { d := sha256.Sum256([]byte(s)); return hex.EncodeToString(d[:]) }
	if diff := cmp.Diff([]string{sum("1"), sum("2"), sum("3")}, g.pages["a.txt"].Recent); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{sum("same")}, g.pages["b.txt"].Recent); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(ready[2], "true") || !strings.HasPrefix(ready[4], "false the last generation failed, the pages of before are served: ") {
		t.Errorf("%q", ready)
	}
	put(t, g.Source.Templates, "a.txt.tmpl", "{{.Generation}}")
	for range remembered + 10 {
		if err := g.Generate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(g.pages["a.txt"].Recent); n != remembered {
		t.Errorf("%d hashes are kept", n)
	}
}

func TestRun(t *testing.T) {
	g := newGenerator(t)
	put(t, g.Source.Templates, "a.txt.tmpl", "{{.Generation}}")
	ready := make(chan bool, 10)
	g.Ready = func(ok bool, _ string) { ready <- ok }
	ctx, cancel := context.WithCancel(t.Context())
	reload := make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx, reload) }()
	<-ready
	reload <- struct{}{}
	<-ready
	cancel()
	if err := <-done; err != nil || g.Generation() != 2 {
		t.Errorf("%v, generation %d", err, g.Generation())
	}
}

func TestBurn(t *testing.T) {
	b := &Burn{}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /burn", b.put)
	mux.HandleFunc("DELETE /burn", b.delete)
	srv := httptest.NewServer(mux)
	defer srv.Close()
	ask := func(method, body string) int {
		req, err := http.NewRequest(method, srv.URL+"/burn", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for body, want := range map[string]int{
		`{"threads": 2, "for": "1m"}`: 204, `{"threads": 0, "for": "1m"}`: 400, `{"threads": 65, "for": "1m"}`: 400,
		`{"threads": 1, "for": "6m"}`: 400, `{"threads": 1, "for": "0s"}`: 400, `{"threads": 1, "for": "x"}`: 400, `{`: 400, `{"thread": 1}`: 400,
	} {
		if got := ask("PUT", body); got != want {
			t.Errorf("%s: %d, want %d", body, got, want)
		}
		ask("DELETE", "")
	}
	ask("PUT", `{"threads": 3, "for": "1m"}`)
	if got := b.Threads(); got != 3 {
		t.Errorf("%d threads", got)
	}
	if ask("DELETE", ""); b.Threads() != 0 {
		t.Errorf("%d threads after its end", b.Threads())
	}
	b.Start(1, time.Millisecond)
	b.done.Wait() // it ends by itself
	b.Stop()
}

func FuzzMake(f *testing.F) {
	f.Add("{{.Data.a}}", `{"a": 1}`)
	f.Add("{{range count 5}}{{.}}{{end}}", `[]`)
	f.Add("{{template \"x\"}}", `null`)
	f.Add("<script>{{.Data}}</script>", `"</script>"`)
	f.Fuzz(func(t *testing.T, text, data string) {
		if strings.Contains(text, "define") || strings.Contains(text, "block") || strings.Contains(text, "range") && strings.Count(text, "count") > 1 {
			t.Skip("a template may ask for more than a fuzz test has time for: it is the operator's own")
		}
		dir := t.TempDir()
		put(t, dir, "site/a.html.tmpl", text, "data.json", data)
		pages, err := Source{Templates: dir + "/site", Data: dir + "/data.json", Most: 4 << 10}.Make(1, time.Unix(0, 0))
		if err == nil && len(pages["a.html"]) > 4<<10 {
			t.Errorf("%d bytes", len(pages["a.html"]))
		}
	})
}
