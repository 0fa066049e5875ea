package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func newServer(t *testing.T) *Server {
	t.Helper()
	reg := prometheus.NewRegistry()
	s := &Server{
		Name: "one", CacheControl: cacheControl(time.Minute, 0, 0), Work: NewWork(0),
		Sessions: &Sessions{Max: 100, Timeout: time.Hour}, MaxRequests: 100, Trouble: &Switch{},
		Log: slog.New(slog.DiscardHandler), Metrics: newMetrics(reg),
	}
	s.observe(reg)
	return s
}

func words(t *testing.T) *Dictionary {
	t.Helper()
	d, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// start is a server that is up and has its words.
func start(t *testing.T) (*Server, string) {
	t.Helper()
	s := newServer(t)
	s.Use(words(t))
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	return s, srv.URL
}

// ask is one exchange; headers are names and values in turns.
func ask(t *testing.T, method, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func TestBuiltin(t *testing.T) {
	d := words(t)
	if d.Len() != 17300 {
		t.Errorf("%d words: the README says 17,300", d.Len())
	}
	n := 0
	for _, e := range d.entries {
		n += len(e.Definitions)
	}
	if n != 45400 {
		t.Errorf("%d definitions: the README says 45,400", n)
	}
	e, found := d.Find("dictionary")
	want := []Definition{{"noun", "a reference book containing an alphabetical list of words with information about them"}}
	if diff := cmp.Diff(want, e.Definitions); !found || diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(license, "Princeton University") {
		t.Error("the licence is not there")
	}
	for _, reserved := range []string{"readyz", "-"} {
		if _, found := d.Find(reserved); found {
			t.Errorf("%s is a word, and a page", reserved)
		}
	}
}

func TestPrefix(t *testing.T) {
	d := words(t)
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          []string
		more          bool
	}{
		{"dict", "", 10, []string{"dictate", "dictated", "dictatorship", "dictionary", "dictum"}, false},
		{"dict", "", 5, []string{"dictate", "dictated", "dictatorship", "dictionary", "dictum"}, false},
		{"dict", "", 2, []string{"dictate", "dictated"}, true},
		{"dict", "dictated", 2, []string{"dictatorship", "dictionary"}, true},
		{"dict", "dictatee", 1, []string{"dictatorship"}, true}, // no word itself
		{"dict", "dictum", 2, []string{}, false},
		{"dict", "a", 1, []string{"dictate"}, true}, // before all of them
		{"dict", "z", 1, []string{}, false},
		{"zzz", "", 1, []string{}, false},
		{"", "", 2, []string{"a", "ab"}, true},
		{"\xff", "", 2, []string{}, false},
	} {
		got, more := d.Prefix(c.prefix, c.after, c.limit)
		if diff := cmp.Diff(c.want, got); diff != "" || more != c.more {
			t.Errorf("%q after %q: more %v\n%s", c.prefix, c.after, more, diff)
		}
	}
	// Page by page it is the whole of it.
	n, after := 0, ""
	for more := true; more; {
		var page []string
		page, more = d.Prefix("", after, 1000)
		n += len(page)
		after = page[len(page)-1]
	}
	if n != d.Len() {
		t.Errorf("%d words in pages, %d in all", n, d.Len())
	}
}

func TestRead(t *testing.T) {
	zip := func(text string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(text))
		z.Close()
		return b.String()
	}
	for name, c := range map[string]struct{ text, err string }{
		"plain":          {"a\tnoun\tx\nb\tverb\ty\n", ""},
		"gzipped":        {zip("a\tnoun\tx\n"), ""},
		"not sorted":     {"b\tverb\ty\na\tnoun\tx\n", ""},
		"CR LF":          {"a\tnoun\tx\r\n", ""},
		"empty":          {"", "no words"},
		"blank":          {"\n\n", "no words"},
		"two fields":     {"a\tnoun\n", "line 1"},
		"upper case":     {"A\tnoun\tx\n", "is not a word"},
		"a path":         {"a/b\tnoun\tx\n", "is not a word"},
		"dash":           {"-\tnoun\tx\n", "is not a word"},
		"long word":      {strings.Repeat("a", 65) + "\tnoun\tx\n", "is not a word"},
		"long line":      {"a\tnoun\t" + strings.Repeat("x", 5000) + "\n", "more than"},
		"escapes":        {"a\tnoun\t\x1b[2J\n", "is not text"},
		"not UTF-8":      {"a\tnoun\t\xff\n", "is not text"},
		"twice":          {"a\tnoun\tx\nb\tnoun\tx\na\tnoun\tx\n", "two places"},
		"cut gzip":       {zip("a\tnoun\tx\n")[:15], "EOF"},
		"a bomb of zips": {zip(strings.Repeat("\n", maxWords+1)), "more than 64 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(strings.NewReader(c.text))
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v, want %q", err, c.err)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("a\tnoun\tx\nb\tverb\ty\n"))
	f.Add([]byte{0x1f, 0x8b, 8})
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, e := range d.entries {
			if got, found := d.Find(e.Word); !found || len(got.Definitions) == 0 || !valid(e.Word) {
				t.Errorf("%q is there and not found", e.Word)
			}
		}
	})
}

func TestPages(t *testing.T) {
	_, url := start(t)
	for _, c := range []struct {
		method, path string
		headers      []string
		status       int
		has          string // in the body
	}{
		{"GET", "/cat", nil, 200, `"word": "cat"`},
		{"GET", "/Cat", nil, 200, `"word": "cat"`},
		{"GET", "/cat?x=1", nil, 200, `"word": "cat"`},
		{"GET", "/cat", []string{"Accept", "text/plain"}, 200, "cat (noun): feline"},
		{"GET", "/cat", []string{"Accept", "image/png"}, 406, "application/json"},
		{"GET", "/cat", []string{"Range", "bytes=0-0"}, 206, "{"},
		{"GET", "/cat", []string{"Range", "bytes=9999-"}, 416, ""},
		{"HEAD", "/cat", nil, 200, ""},
		{"GET", "/zyzzyva", nil, 404, "no word"},
		{"GET", "/%00%1b", nil, 404, `no word "\x00\x1b"`},
		{"GET", "/" + strings.Repeat("a", 5000), nil, 404, "no word"},
		{"GET", "/cat/dog", nil, 404, ""},
		{"GET", "/..%2fcat", nil, 404, "no word"},
		{"POST", "/cat", nil, 405, ""},
		{"DELETE", "/", nil, 405, ""},
		{"GET", "/?prefix=dict", nil, 200, "dictionary"},
		{"GET", "/?prefix=DICT&limit=1", []string{"Accept", "text/*"}, 200, "dictate\n"},
		{"GET", "/?limit=0", nil, 400, "limit"},
		{"GET", "/?limit=1001", nil, 400, "limit"},
		{"GET", "/?limit=-1", nil, 400, "limit"},
		{"GET", "/?limit=99999999999999999999", nil, 400, "limit"},
		{"GET", "/readyz", nil, 200, "ready"},
		{"GET", "/-/license", nil, 200, "Princeton"},
		{"GET", "/-/session", nil, 404, "no visit"},
	} {
		resp, body := ask(t, c.method, url+c.path, c.headers...)
		if resp.StatusCode != c.status || !strings.Contains(body, c.has) {
			t.Errorf("%s %.40s %v: %d %.100q, want %d %q", c.method, c.path, c.headers, resp.StatusCode, body, c.status, c.has)
		}
	}
}

func TestCaches(t *testing.T) {
	_, url := start(t)
	json, _ := ask(t, "GET", url+"/cat")
	text, _ := ask(t, "GET", url+"/cat", "Accept", "text/plain")
	gone, _ := ask(t, "GET", url+"/zyzzyva")
	for _, r := range []*http.Response{json, text, gone} {
		if r.Header.Get("Cache-Control") != "public, max-age=60" || r.Header.Get("Vary") != "Accept" {
			t.Errorf("%d: %v", r.StatusCode, r.Header)
		}
	}
	tag := json.Header.Get("ETag")
	if tag == "" || tag == text.Header.Get("ETag") {
		t.Errorf("two forms have one ETag: %q", tag)
	}
	_, other := start(t)
	if again, _ := ask(t, "GET", other+"/cat"); again.Header.Get("ETag") != tag {
		t.Error("another copy has another ETag")
	}
	same, body := ask(t, "GET", url+"/cat", "If-None-Match", `"x", W/`+tag)
	if h := same.Header; same.StatusCode != 304 || body != "" || h.Get("Vary") != "Accept" || h.Get("Cache-Control") == "" {
		t.Errorf("%d %q %v", same.StatusCode, body, same.Header)
	}
	differs, _ := ask(t, "GET", url+"/cat", "Accept", "text/plain", "If-None-Match", tag)
	if differs.StatusCode != 200 {
		t.Errorf("the other form's validator: %d", differs.StatusCode)
	}
	if visit, _ := ask(t, "POST", url+"/-/session"); visit.Header.Get("Cache-Control") != "private, no-store" {
		t.Errorf("a session: %v", visit.Header)
	}
	for want, got := range map[string]string{
		"no-cache":                                     cacheControl(0, time.Minute, 0),
		"public, max-age=5, stale-if-error=60":         cacheControl(5*time.Second, 0, time.Minute),
		"public, max-age=5, stale-while-revalidate=10": cacheControl(5*time.Second, 10*time.Second, 0),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestNegotiate(t *testing.T) {
	for accept, want := range map[string]string{
		"": "json", "*/*": "json", "application/json": "json", "text/plain": "text", "text/*": "text", "TEXT/Plain": "text",
		"application/*;q=0.5, text/plain":                 "text",
		"text/plain;q=0.5, application/json":              "json",
		"text/plain, application/json":                    "json",
		"text/html,application/xhtml+xml,*/*;q=0.8":       "json",
		"*/*;q=0.1, application/json;q=0":                 "text",
		"text/plain;q=0":                                  "",
		"image/png":                                       "",
		"text/plain;q=2, application/json;q=0.1":          "json",
		"text/plain;q=NaN":                                "",
		"text/plain;q=1e-9":                               "text",
		"text/plain;q=0.000001":                           "",
		"text/plain;charset=utf-8;q=0.9, */*;q=0.1":       "text",
		"application/json;q=0.2, */*;q=0.9":               "text",
		",,;;q=1,/":                                       "",
		strings.Repeat("a/b;q=0.1,", 1000) + "text/plain": "text",
	} {
		if got := negotiate([]string{accept}); got != want {
			t.Errorf("%.60q: %q, want %q", accept, got, want)
		}
	}
}

func FuzzNegotiate(f *testing.F) {
	f.Add("text/plain;q=0.5, application/json")
	f.Fuzz(func(t *testing.T, accept string) {
		if got := negotiate([]string{accept}); got != "" && got != "json" && got != "text" {
			t.Errorf("%q: %q", accept, got)
		}
	})
}

// What a copy says of itself from its start to its end.
func TestReadiness(t *testing.T) {
	s := newServer(t)
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	want := func(ready int, why string, page int, closes bool) {
		t.Helper()
		resp, body := ask(t, "GET", srv.URL+"/readyz")
		if resp.StatusCode != ready || strings.TrimSpace(body) != why || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("/readyz: %d %q, want %d %q", resp.StatusCode, body, ready, why)
		}
		resp, _ = ask(t, "GET", srv.URL+"/cat")
		if resp.StatusCode != page || resp.Close != closes {
			t.Errorf("/cat: %d, closes: %v; want %d, %v", resp.StatusCode, resp.Close, page, closes)
		}
		if page == 503 && (resp.Header.Get("Retry-After") == "" || resp.Header.Get("Cache-Control") != "no-store") {
			t.Errorf("/cat: %v", resp.Header)
		}
	}
	want(503, loading, 503, false)
	s.Use(words(t))
	want(200, "ready", 200, false)
	s.Trouble.Set(Trouble{Unready: true})
	want(503, told, 200, false)
	s.Trouble.Set(Trouble{})
	want(200, "ready", 200, false)
	s.Stop()
	want(503, stopping, 200, true)
}

func TestTooMany(t *testing.T) {
	s, url := start(t)
	s.MaxRequests = 1
	s.Trouble.Set(Trouble{Delay: Length(time.Hour), Path: "/cat"})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, "GET", url+"/cat", nil)
		_, err := http.DefaultTransport.RoundTrip(req)
		first <- err
	}()
	for s.inFlight.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if resp, _ := ask(t, "GET", url+"/dog"); resp.StatusCode != 503 {
		t.Errorf("%d, want 503", resp.StatusCode)
	}
	if resp, _ := ask(t, "GET", url+"/readyz"); resp.StatusCode != 200 {
		t.Errorf("/readyz is %d: it has no part in the bound", resp.StatusCode)
	}
	cancel() // the client leaves, and makes room
	<-first
	for s.inFlight.Load() != 0 {
		time.Sleep(time.Millisecond)
	}
	if resp, _ := ask(t, "GET", url+"/dog"); resp.StatusCode != 200 {
		t.Errorf("%d, want 200", resp.StatusCode)
	}
}

func TestSessions(t *testing.T) {
	_, url := start(t)
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar}
	visit := func(c *http.Client) (v Visits) {
		t.Helper()
		resp, err := c.Post(url+"/-/session", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	for want := 1; want <= 3; want++ {
		if v := visit(client); v.Visits != want || v.Replica != "one" {
			t.Errorf("%+v, want visit %d", v, want)
		}
	}
	if v := visit(http.DefaultClient); v.Visits != 1 {
		t.Errorf("another client: %+v", v)
	}
	resp, body := ask(t, "POST", url+"/-/session", "Cookie", "session=chosen-by-me")
	if strings.Contains(body, "chosen-by-me") || len(resp.Cookies()) != 1 {
		t.Errorf("a name that is not known was taken on: %s", body)
	}
	id := visit(client).ID
	if _, body := ask(t, "GET", url+"/-/session", "Cookie", "session="+id); !strings.Contains(body, `"visits":4`) {
		t.Error(body)
	}
	if resp, _ := ask(t, "DELETE", url+"/-/session", "Cookie", "session="+id); resp.StatusCode != 204 {
		t.Error(resp.Status)
	}
	if v := visit(client); v.Visits != 1 {
		t.Errorf("after it was forgotten: %+v", v)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Sessions{Max: 2, Timeout: time.Minute}
		a := s.Visit("").ID
		time.Sleep(time.Second)
		b := s.Visit("").ID
		time.Sleep(time.Second)
		s.Visit(a)
		s.Visit("") // b was away longest
		if _, found := s.Find(b); found || s.Len() != 2 {
			t.Errorf("%d sessions, and the one that was away longest is there: %v", s.Len(), found)
		}
		if v, _ := s.Find(a); v.Visits != 2 {
			t.Errorf("%+v", v)
		}
		time.Sleep(time.Minute)
		if s.Len() != 2 {
			t.Error("a minute is not more than a minute")
		}
		time.Sleep(time.Nanosecond)
		if s.Len() != 0 {
			t.Errorf("%d sessions whose time is up", s.Len())
		}
	})
}

func TestTrouble(t *testing.T) {
	s, url := start(t)
	admin := httptest.NewServer(s.Trouble.handler(func(Trouble) {}))
	defer admin.Close()
	put := func(body string) int {
		t.Helper()
		req, _ := http.NewRequest("PUT", admin.URL, strings.NewReader(body))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, c := range []struct {
		trouble string
		status  int // of /cat
	}{
		{`{"status": 500}`, 500},
		{`{"status": 500, "path": "/dog"}`, 200},
		{`{"status": 500, "share": 1}`, 500},
		{`{"delay": "1ms"}`, 200},
		{`{"unready": true}`, 200},
		{`{"header": {"Cache-Control": "private", "Set-Cookie": "a=b"}}`, 200},
	} {
		if code := put(c.trouble); code != 200 {
			t.Fatalf("%s: %d", c.trouble, code)
		}
		resp, _ := ask(t, "GET", url+"/cat")
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", c.trouble, resp.StatusCode, c.status)
		}
		dressed := resp.Header.Get("Cache-Control") == "private" && len(resp.Cookies()) == 1
		if strings.Contains(c.trouble, "header") != dressed {
			t.Errorf("%s: %v", c.trouble, resp.Header)
		}
	}
	put(`{"cut": true}`)
	if _, err := http.Get(url + "/cat"); err == nil {
		t.Error("there is an answer")
	}
	put(`{"status": 500, "share": 0.5}`)
	failed := 0
	for range 400 {
		if resp, _ := ask(t, "GET", url+"/cat"); resp.StatusCode == 500 {
			failed++
		}
	}
	if failed < 120 || failed > 280 {
		t.Errorf("%d of 400 failed, want about half", failed)
	}
	put(`{"status": 500, "for": "1ms"}`)
	time.Sleep(2 * time.Millisecond)
	if resp, _ := ask(t, "GET", url+"/cat"); resp.StatusCode != 200 {
		t.Errorf("after its time: %d", resp.StatusCode)
	}
	for _, bad := range []string{
		``, `[]`, `{"status": 99}`, `{"status": 600}`, `{"share": 2}`, `{"share": -1}`, `{"delay": "-1s"}`, `{"delay": "2h"}`,
		`{"delay": 5}`, `{"path": "x"}`,
		`{"nonsense": 1}`, `{"status": 500, "cut": true}`, `{"header": {"a b": "c"}}`,
		`{"header": {"A": "c\r\nd: e"}}`, `{} {}`,
		`{"path": "/` + strings.Repeat("a", maxTrouble) + `"}`,
	} {
		if code := put(bad); code != 400 {
			t.Errorf("%.60s: %d, want 400", bad, code)
		}
	}
}

func TestTroubleSetting(t *testing.T) {
	for text, want := range map[string]Beginning{
		"off":                            {},
		"none":                           {On: true},
		"unready=true":                   {On: true, Trouble: Trouble{Unready: true}},
		"status=503 share=0.5 path=/cat": {On: true, Trouble: Trouble{Status: 503, Share: 0.5, Path: "/cat"}},
		"header:Vary=* delay=2s for=1m": {On: true, Trouble: Trouble{
			Header: map[string]string{"Vary": "*"}, Delay: Length(2 * time.Second), For: Length(time.Minute),
		}},
	} {
		var got Beginning
		if err := got.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
	for _, bad := range []string{
		"on", "status=x", "status=1", "unready", "share=NaN", "none status=500", "header:=x", "delay=1",
	} {
		var got Beginning
		if err := got.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func FuzzTrouble(f *testing.F) {
	f.Add("status=500 share=0.5 header:A=b")
	f.Fuzz(func(t *testing.T, text string) {
		var b Beginning
		if b.UnmarshalText([]byte(text)) != nil || !b.On {
			return
		}
		body, err := json.Marshal(b.Trouble)
		if err != nil {
			t.Fatal(err)
		}
		var again Trouble
		if err := json.Unmarshal(body, &again); err != nil || again.check() != nil {
			t.Errorf("%s: %v, %v", body, err, again.check())
		}
	})
}

// An answer's cost is the thread's own time: it is there, and ends when nobody waits.
func TestWork(t *testing.T) {
	const cost = 20 * time.Millisecond
	begun := time.Now()
	if err := NewWork(cost).Do(t.Context()); err != nil || time.Since(begun) < cost {
		t.Errorf("%v after %v: less than it costs", err, time.Since(begun))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if err := NewWork(time.Hour).Do(ctx); err == nil {
		t.Error("it went on though nobody waits")
	}
	full := NewWork(time.Hour)
	for range cap(full.slots) {
		full.slots <- struct{}{}
	}
	if err := full.Do(ctx); err == nil {
		t.Error("more at once than there are processors")
	}
}
