package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func sampler(p *fakeProc) *Sampler {
	return &Sampler{
		Scanner: p.scanner(), Meter: &Meter{}, Interval: time.Second, GroupBy: "container", Commands: "redacted",
		Totals: &Totals{Most: 50}, Log: slog.New(slog.DiscardHandler), Ready: func(bool, string) {},
	}
}

// get asks a server over TCP.
func get(t *testing.T, s *Sampler, path, accept string) (int, string, http.Header) {
	t.Helper()
	srv := httptest.NewServer((&Pages{Sampler: s, Refresh: 2 * time.Second, Stale: time.Hour}).Handler())
	defer srv.Close()
	req, err := http.NewRequest(http.MethodGet, srv.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

// pod is a pod of three containers: pause, an app with two children, and a process with each odd name.
func pod(t *testing.T) *fakeProc {
	p := newProc(t)
	p.put(
		fake{pid: 1, name: "pause", start: 1, container: "pause", resident: 100},
		fake{pid: 7, name: "app", start: 10, container: "app", own: 10, resident: 1000, read: 5},
		fake{pid: 8, parent: 7, name: "worker", start: 20, container: "app", own: 20, resident: 2000, read: 6},
		fake{pid: 9, parent: 8, name: "helper", start: 30, container: "app", own: 30, resident: 3000, read: 7},
		fake{pid: 11, parent: 1, name: "orphan", start: 40, container: "app", own: 40, resident: 10},
	)
	for i, name := range odd {
		p.put(fake{pid: 100 + i, name: name, command: name + "\x00--password=hunter2\x00", start: 50 + i, container: fmt.Sprintf("c%d", i)})
	}
	return p
}

// Whatever processes call themselves, a row is a line, nothing is markup, and every number is where it belongs.
func TestOddNamesEverywhere(t *testing.T) {
	s := sampler(pod(t))
	s.sample()
	s.sample()
	processes := 5 + len(odd)

	_, text, _ := get(t, s, "/topz?sort=pid", "*/*")
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	original := regexp.MustCompile(`^\d+ +[0-9.]+ +[0-9.]+ +\S`)
	if len(lines) != processes {
		t.Errorf("%d lines for %d processes:\n%s", len(lines), processes, text)
	}
	for _, line := range lines {
		if !original.MatchString(line) {
			t.Errorf("line %q", line)
		}
	}
	_, wide, _ := get(t, s, "/topz?format=wide", "")
	_, page, header := get(t, s, "/topz", "text/html,*/*;q=0.8")
	_, data, _ := get(t, s, "/topz?format=json&sort=pid", "")
	for what, got := range map[string]string{"text": text, "wide": wide, "html": page} {
		for _, r := range got {
			if r != '\n' && !unicode.IsPrint(r) || r == utf8.RuneError {
				t.Errorf("%s has %q", what, r)
			}
		}
		if strings.Contains(got, "hunter2") {
			t.Errorf("%s has a password", what)
		}
	}
	if n := strings.Count(wide, "\n"); n != processes+len(odd)+2+4 { // three headings, three blank or note lines
		t.Logf("%s", wide)
		t.Errorf("wide has %d lines", n)
	}
	if strings.Contains(page, "<b>") || !strings.Contains(page, "&lt;b&gt;x&lt;/b&gt;") || !strings.Contains(page, "&amp;lt;") {
		t.Error("a name became markup, or is gone")
	}
	if n := strings.Count(page, "<tr>"); n != processes+len(odd)+2+2 {
		t.Errorf("%d rows in the page", n)
	}
	if !strings.Contains(page, `http-equiv="refresh" content="2"`) || strings.Contains(page, "<script") {
		t.Error("the page does not load itself again, or has a script")
	}
	if csp := header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("policy %q", csp)
	}
	var doc struct {
		Processes []struct {
			PID  int
			Name string
		}
	}
	if err := json.Unmarshal([]byte(data), &doc); err != nil {
		t.Fatal(err)
	}
	for i, name := range odd {
		row := doc.Processes[5+i]
		if want := strings.ToValidUTF8(name, "\ufffd"); row.PID != 100+i || strings.ReplaceAll(row.Name, "\ufffd\ufffd", "\ufffd") != want {
			t.Errorf("JSON has %d %q, want %q", row.PID, row.Name, want)
		}
	}
}

// A label of a metric is a name made visible: one line, valid, and the parser of the exposition format gets it back.
func TestOddNamesInMetrics(t *testing.T) {
	s := sampler(pod(t))
	s.sample()
	s.sample()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(collector{s, s.Totals})
	srv := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 {
		t.Fatalf("%d: %s", resp.StatusCode, body)
	}
	sample := regexp.MustCompile(`^topz_sidecar_[a-z_]+(\{([a-z]+="([^"\\]|\\["\\n])*",?)+\})? [-+.0-9e]+$`)
	groups := 0
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "#") && !sample.MatchString(line) {
			t.Errorf("line %q", line)
		}
		if strings.HasPrefix(line, "topz_sidecar_group_processes{") {
			groups++
		}
	}
	if groups != 2+len(odd) {
		t.Errorf("%d groups", groups)
	}
}

func TestFold(t *testing.T) {
	s := sampler(pod(t))
	s.sample()
	type row struct{ PID, Processes, Memory int }
	ask := func(query string) (rows []row) {
		_, data, _ := get(t, s, "/topz?format=json&filter=^(pause|app|worker|helper|orphan)$&"+query, "")
		var doc struct {
			Processes []struct {
				PID, Processes int
				Memory         int `json:"memory_bytes"`
			}
		}
		if err := json.Unmarshal([]byte(data), &doc); err != nil {
			t.Fatal(err, data)
		}
		for _, p := range doc.Processes {
			rows = append(rows, row{p.PID, p.Processes, p.Memory / 4096})
		}
		return rows
	}
	for query, want := range map[string][]row{
		"sort=pid":                      {{1, 1, 100}, {7, 1, 1000}, {8, 1, 2000}, {9, 1, 3000}, {11, 1, 10}},
		"sort=memory":                   {{9, 1, 3000}, {8, 1, 2000}, {7, 1, 1000}, {1, 1, 100}, {11, 1, 10}},
		"sort=memory&order=asc&limit=2": {{11, 1, 10}, {1, 1, 100}},
		"sort=name":                     {{7, 1, 1000}, {9, 1, 3000}, {11, 1, 10}, {1, 1, 100}, {8, 1, 2000}},
		"sort=pid&order=desc&limit=1":   {{11, 1, 10}},
		"sort=read&limit=1":             {{9, 1, 3000}},
		"fold=parent&sort=pid":          {{1, 1, 100}, {7, 3, 6000}, {11, 1, 10}}, // an orphan is not pause's
		"fold=group&sort=pid":           {{1, 1, 100}, {7, 4, 6010}},
	} {
		if diff := cmp.Diff(want, ask(query)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", query, diff)
		}
	}
	if got := s.Latest().Rows[1]; got.Processes != 1 {
		t.Error("folding changed the snapshot")
	}
}

// A sum with a part that is refused is refused.
func TestFoldDenied(t *testing.T) {
	seven := uint64(7)
	a, b := &Row{PID: 1, Read: &seven}, &Row{PID: 2, Parent: 1, Denied: []string{"io"}}
	got := folded([]*Row{a, b}, "parent")
	if len(got) != 1 || got[0].Read != nil || !slices.Equal(got[0].Denied, []string{"io"}) {
		t.Errorf("%+v", got[0])
	}
	if cells := strings.Join(got[0].cells(), " "); !strings.Contains(cells, "denied") {
		t.Error(cells)
	}
}

func TestBadRequests(t *testing.T) {
	s := sampler(pod(t))
	if code, body, _ := get(t, s, "/topz", ""); code != 503 {
		t.Errorf("before the first look: %d %s", code, body)
	}
	s.sample()
	for path, want := range map[string]string{
		"/topz?format=xml": "format=xml: not one of text, wide, html, json",
		"/topz?sort=size":  "sort=size: not one of cpu, files,",
		"/topz?order=up":   "order=up: not one of asc, desc",
		"/topz?filter=(":   "filter=(: error parsing regexp",
		"/topz?filter=" + strings.Repeat("a", 257): "longer than 256 bytes",
		"/topz?limit=0":     "not a number from 1 to 10000",
		"/topz?limit=x":     "not a number",
		"/topz?fold=all":    "fold=all: not one of none, parent, group",
		"/topz?%3Cb%3E=%0a": `<b>=\n: not a parameter`,
		"/topz?a=%zz":       "invalid URL escape",
	} {
		code, body, header := get(t, s, path, "text/html")
		if code != 400 || !strings.Contains(body, want) || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	s.Latest().To = time.Now().Add(-2 * time.Hour)
	if code, _, _ := get(t, s, "/topz", ""); code != 503 {
		t.Errorf("two hours later: %d", code)
	}
}

func TestAccepted(t *testing.T) {
	for header, want := range map[string]string{
		"": "text", "*/*": "text", "text/html,application/xhtml+xml,*/*;q=0.8": "html", "application/json": "json",
		"image/png": "text", "text/plain, text/html": "text", "application/json;q=1": "json",
	} {
		if got := accepted(header); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func TestVisible(t *testing.T) {
	for name, want := range map[string]string{
		"plain": "plain", "a\nb": `a\nb`, "\x1b[2J": `\x1b[2J`, "\u202eevil": `\u202eevil`, "\xff": `\xff`, `\n`: `\\n`,
		"\ufffd": "\ufffd", "\u00a0": `\u00a0`, "日本": "日本", "'": "'", `"`: `"`, "\U000e0001": `\U000e0001`, "": "",
	} {
		if got := visible(name); got != want {
			t.Errorf("%q is shown as %q, want %q", name, got, want)
		}
	}
	if got := clip("日本", 4); got != "日…" {
		t.Errorf("clipped to %q", got)
	}
}

func FuzzVisible(f *testing.F) {
	for _, name := range odd {
		f.Add(name, 5)
	}
	f.Fuzz(func(t *testing.T, name string, n int) {
		got := visible(name)
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("%q is shown as %q", name, got)
			}
		}
		if !utf8.ValidString(clip(got, max(n, 0)%100)) || len(redacted(got)) > 10*len(got)+10 {
			t.Errorf("%q", got)
		}
	})
}

func TestRedacted(t *testing.T) {
	for line, want := range map[string]string{
		"app --password=hunter2 --port 80":          "app --password=*** --port 80",
		"app --password hunter2 x":                  "app --password *** x",
		"app -token abc":                            "app -token ***",
		"DB_PASSWORD=x app":                         "DB_PASSWORD=*** app",
		"app --api-key=1 --apikey 2":                "app --api-key=*** --apikey ***",
		"psql postgres://me:secret@db:5432/x":       "psql postgres://me:***@db:5432/x",
		`app {"password": "x"}`:                     `app {"password": ***`,
		"app --password --verbose":                  "app --password --verbose",
		"app --secret-file=/run/s":                  "app --secret-file=***",
		"nothing to hide https://host:80/a@b":       "nothing to hide https://host:80/a@b",
		"mysqld --user=root --default-auth=caching": "mysqld --user=root --default-auth=caching",
	} {
		if got := redacted(line); got != want {
			t.Errorf("%q is shown as %q, want %q", line, got, want)
		}
	}
}
