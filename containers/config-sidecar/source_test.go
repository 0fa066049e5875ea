package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"distlab/containers/internal/etcd"
)

// TestNames: what may be the name of a file.
func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "a/b.conf": true, ".hidden": true, "ü": true, "a b": true, strings.Repeat("n", 200): true,
		"": false, ".": false, "..": false, "../a": false, "a/../b": false, "/a": false, "a/": false, "a//b": false, "..data": false, "a/..b": false,
		"a\x00": false, "a\n": false, `a\b`: false, "\xff": false, strings.Repeat("n", 201): false, strings.Repeat("n/", 600) + "n": false,
	} {
		if err := limits.check(Files{name: ""}); (err == nil) != ok {
			t.Errorf("%.40q: %v", name, err)
		}
	}
	if err := limits.check(Files{"a": "", "a/b": ""}); err == nil {
		t.Error("a file that is a folder")
	}
	if err := limits.check(nil); err == nil {
		t.Error("no file at all")
	}
}

func newHTTP(url string) *HTTP {
	s := &sourceURL{}
	if err := s.UnmarshalText([]byte(url)); err != nil {
		panic(err)
	}
	return &HTTP{URL: s.URL, Client: client, Wait: time.Second, Poll: 50 * time.Millisecond, Timeout: 5 * time.Second, Limits: limits}
}

// TestHTTPAnswers: what an API may answer, and what becomes of it. Nothing but a whole, sensible answer is a version.
func TestHTTPAnswers(t *testing.T) {
	text := func(code int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(code)
			io.WriteString(w, body)
		}
	}
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat("x", 64<<10)); err != nil {
				return
			}
		}
	}
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		file    string
		want    string // version and files; empty: an error
		err     string
	}{
		{"a version", text(200, "application/json", `{"version": 7, "files": {"a": "1"}, "more": []}`), "", "7 map[a:1]", ""},
		{"a version that is a text", text(200, "application/json", `{"version": "v1\n2", "files": {"a": ""}}`), "", `v1\n2 map[a:]`, ""},
		{"without a version", text(200, "", `{"files": {"a": "1"}}`), "", Files{"a": "1"}.Digest()[:12] + " map[a:1]", ""},
		{"a plain file", text(200, "text/plain", "a = 1\n"), "app.conf", Files{"app.conf": "a = 1\n"}.Digest()[:12] + " map[app.conf:a = 1\n]", ""},

		{"an HTML page", text(200, "text/html", "<html>\n<body>Please log in</body>"), "", "", "not JSON like"},
		{"which page", text(200, "text/html", "<html>\n<body>Please log in</body>"), "", "", "text/html: invalid character '<' looking for beginning of value: <html> <body>Please log in</body>"},
		{"half a JSON", text(200, "application/json", `{"version": 7, "files": {"a": "1`), "", "", "unexpected end of JSON input"},
		{"two of them", text(200, "application/json", `{"files":{"a":"1"}} {}`), "", "", "after top-level value"},
		{"an array", text(200, "application/json", `[1]`), "", "", "not JSON like"},
		{"nothing", text(200, "application/json", ``), "", "", "unexpected end of JSON input"},
		{"no files", text(200, "application/json", `{"version": 7}`), "", "", "no file in it"},
		{"null", text(200, "application/json", `null`), "", "", "no file in it"},
		{"a way out", text(200, "application/json", `{"files": {"../etc/passwd": "x"}}`), "", "", "not the name of a file"},
		{"too large", text(200, "application/json", `{"files": {"a": "`+strings.Repeat("x", 70000)+`"}}`), "", "", "the most is 65536"},
		{"too many", text(200, "application/json", `{"files": {"1":"","2":"","3":"","4":"","5":"","6":"","7":"","8":"","9":"","10":"","11":""}}`), "", "", "11 files"},
		{"1 GB, as it says", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "1000000000") }, "", "", "1000000000 bytes"},
		{"1 GB, unannounced", endless, "", "", "more than 397312 bytes"},
		{"500", text(500, "text/plain", "it\nbroke"), "", "", "500 Internal Server Error: it broke"},
		{"404", text(404, "", ""), "", "", "404"},
		{"204", text(204, "", ""), "", "", "204"},
		{"304 that nobody asked for", text(304, "", ""), "", "", "nothing new"},
		{"a redirect without end", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }, "", "", "10 redirects"},
		{"never", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "", "", "no whole answer within 200ms"},
		{"a beginning, and then never", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"version": 1,`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "", "", "no whole answer within 200ms"},
		{"cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"version": 7, "files": {"a": "1"}}`)
		}, "", "", "half an answer: 35 bytes, then unexpected EOF"},
		{"not HTTP", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			fmt.Fprint(conn, "SSH-2.0-OpenSSH\r\n")
			conn.Close()
		}, "", "", "malformed HTTP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(tt.handler)
			defer srv.Close()
			h := newHTTP(srv.URL + "/configs/shop")
			h.File = tt.file
			if strings.Contains(tt.err, "200ms") {
				h.Timeout = 200 * time.Millisecond
			}
			set, err := h.Next(t.Context(), "")
			switch {
			case tt.err == "" && (err != nil || fmt.Sprintf("%s %v", set.Version, map[string]string(set.Files)) != tt.want || set.Tag == ""):
				t.Errorf("%+v %v, want %s", set, err, tt.want)
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("%+v %v, want the error %q", set, err, tt.err)
			}
		})
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if _, err := newHTTP("http://"+ln.Addr().String()).Next(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "dial "+ln.Addr().String()) {
		t.Errorf("nobody there: %v", err)
	}
}

// TestHTTPWait: a server that waits is asked again at once, one that does not only after Poll; tag and token go along.
func TestHTTPWait(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	waits := true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, fmt.Sprintf("%s %s %s", r.URL.RawQuery, r.Header.Get("If-None-Match"), r.Header.Get("Authorization")))
		hold := waits
		mu.Unlock()
		if r.Header.Get("If-None-Match") != "" {
			if hold {
				time.Sleep(600 * time.Millisecond) // as a server does that has nothing new for so long
			}
			w.WriteHeader(304)
			return
		}
		w.Header().Set("ETag", `"7-abc"`)
		io.WriteString(w, `{"version": 7, "files": {"a": "1"}}`)
	}))
	defer srv.Close()
	h := newHTTP(srv.URL + "/?env=prod")
	h.Token, h.Poll = "t0ken", 300*time.Millisecond
	set, err := h.Next(t.Context(), "")
	if err != nil || set.Tag != `"7-abc"` {
		t.Fatalf("%+v %v", set, err)
	}
	if _, err := h.Next(t.Context(), set.Tag); !errors.Is(err, errSame) || h.idle != 0 {
		t.Errorf("%v, idle %v", err, h.idle)
	}
	want := []string{"env=prod  Bearer t0ken", `env=prod&wait=1s "7-abc" Bearer t0ken`}
	if fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("asked %q", asked)
	}
	mu.Lock()
	waits = false
	mu.Unlock()
	if _, err := h.Next(t.Context(), set.Tag); !errors.Is(err, errSame) {
		t.Error(err)
	}
	begun := time.Now()
	if _, err := h.Next(t.Context(), set.Tag); !errors.Is(err, errSame) || time.Since(begun) < 250*time.Millisecond {
		t.Errorf("%v after %v: it polls without a pause", err, time.Since(begun))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Next(ctx, set.Tag); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// scripted gives what it is told to.
type scripted struct {
	mu    sync.Mutex
	next  []any // Set or error
	asked []string
}

func (s *scripted) Next(ctx context.Context, known string) (Set, error) {
	s.mu.Lock()
	s.asked = append(s.asked, known)
	if len(s.next) == 0 {
		s.mu.Unlock()
		<-ctx.Done()
		return Set{}, context.Cause(ctx)
	}
	v := s.next[0]
	s.next = s.next[1:]
	s.mu.Unlock()
	if err, ok := v.(error); ok {
		return Set{}, err
	}
	return v.(Set), nil
}

// TestFollower: errors are waited for, longer each time, and forgotten after an answer; a poke asks for all at once.
func TestFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("bad")
		src := &scripted{next: []any{Set{Tag: "1"}, errSame, bad, bad, bad, bad, Set{Tag: "2"}, bad}}
		var sets, contacts []string
		var at []time.Duration
		begun := time.Now()
		poke := make(chan struct{})
		f := &Follower{
			Source: src, RetryMin: time.Second, RetryMax: 4 * time.Second, Poke: poke,
			New: func(s Set) { sets = append(sets, s.Tag) },
			Contact: func(err error) {
				contacts = append(contacts, fmt.Sprint(err))
				at = append(at, time.Since(begun))
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); f.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		poke <- struct{}{}
		synctest.Wait()
		cancel()
		<-done
		if got := fmt.Sprint(sets, contacts); got != "[1 2] [<nil> <nil> bad bad bad bad <nil> bad]" {
			t.Error(got)
		}
		if got := strings.Join(src.asked, ","); got != ",1,1,1,1,1,1,2,2," {
			t.Errorf("asked with %s", got)
		}
		for i, d := range []time.Duration{3: 1 * time.Second, 4: 2 * time.Second, 5: 4 * time.Second, 6: 4 * time.Second} {
			if wait := at[i] - at[max(i-1, 0)]; wait < d/2 || wait > d {
				t.Errorf("before answer %d it waited %v, want %v to %v", i, wait, d/2, d)
			}
		}
	})
}

// TestBackoff: 250 ms doubled to 60 s, each time a random part less (consul-template's numbers).
func TestBackoff(t *testing.T) {
	for i, want := range []time.Duration{250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000} {
		want *= time.Millisecond
		least, most := want, time.Duration(0)
		for range 1000 {
			d := backoff(250*time.Millisecond, time.Minute, i+1)
			least, most = min(least, d), max(most, d)
		}
		if least < want/2 || most > want || most-least < want/4 {
			t.Errorf("failure %d: %v to %v, want %v to %v", i+1, least, most, want/2, want)
		}
	}
	if d := backoff(time.Second, time.Minute, 1000000); d > time.Minute {
		t.Errorf("%v", d)
	}
}

// other waits for a set that is not the known one. An event of the change before may come late, and tell nothing new.
func other(t *testing.T, f *Folder, known string) Set {
	for {
		set, err := f.Next(t.Context(), known)
		if errors.Is(err, errSame) {
			continue
		}
		if err != nil {
			t.Error(err)
		}
		return set
	}
}

// TestFolderSource follows a folder as Kubernetes replaces it, and a plain one.
func TestFolderSource(t *testing.T) {
	t.Run("as Kubernetes does it", func(t *testing.T) {
		p := &Place{Dir: t.TempDir(), Switch: byFolder, Mode: 0o644, Limits: limits}
		put(t, p, Files{"a": "0", "d/b": "0"})
		f := &Folder{Path: p.Dir, Wait: time.Minute, Limits: limits}
		set, err := f.Next(t.Context(), "")
		if err != nil || set.Digest() != (Files{"a": "0", "d/b": "0"}).Digest() || !strings.HasPrefix(set.Version, "20") {
			t.Fatalf("%+v %v", set, err)
		}
		for i := 1; i < 10; i++ {
			next := Files{"a": fmt.Sprint(i), "d/b": fmt.Sprint(i)}
			got := make(chan Set)
			go func() { got <- other(t, f, set.Tag) }()
			put(t, p, next)
			set = <-got
			if set.Digest() != next.Digest() {
				t.Errorf("%v", set)
			}
		}
	})
	t.Run("a plain one", func(t *testing.T) {
		dir := t.TempDir()
		writeAll(t, dir, map[string]string{"a": "0", "d/b": "0"})
		f := &Folder{Path: dir, Wait: time.Minute, Limits: limits}
		set, err := f.Next(t.Context(), "")
		if err != nil || fmt.Sprint(set.names()) != "[a d/b]" {
			t.Fatalf("%+v %v", set, err)
		}
		got := make(chan Set)
		go func() { got <- other(t, f, set.Tag) }()
		writeAll(t, dir, map[string]string{"d/b": "1"}) // in a folder below
		if set = <-got; set.Files["d/b"] != "1" {
			t.Errorf("%v", set)
		}
		f.Wait = 10 * time.Millisecond
		if _, err := f.Next(t.Context(), set.Tag); !errors.Is(err, errSame) {
			t.Error(err)
		}
	})
	outside := t.TempDir()
	writeAll(t, outside, map[string]string{"secret": "s"})
	for name, make := range map[string]func(dir string){
		"path escapes":    func(dir string) { os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "a")) },
		"no file in it":   func(string) {},
		"more than 65536": func(dir string) { writeAll(t, dir, map[string]string{"a": strings.Repeat("x", 70000)}) },
		"more than 10 files": func(dir string) {
			for i := range 11 {
				writeAll(t, dir, map[string]string{fmt.Sprint(i): ""})
			}
		},
		"no such file or dir": func(dir string) { os.Remove(dir) },
	} {
		dir := t.TempDir()
		make(dir)
		if set, err := (&Folder{Path: dir, Wait: time.Millisecond, Limits: limits}).Next(t.Context(), ""); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v %v, want %q", set, err, name)
		}
	}
}

// fakeEtcd is what the gateway shows of a store, with its habits: numbers are texts, zeros are left out, several events come
// in one line, and a watch of what was compacted is canceled with status 200.
type fakeEtcd struct {
	mu        sync.Mutex
	keys      map[string]string
	revision  int64
	events    []string // one for each revision from 2
	compacted int64
	changed   chan struct{}
	ranges    int
	mode      string // how it is broken
}

func newEtcd() *fakeEtcd {
	return &fakeEtcd{keys: map[string]string{}, revision: 1, changed: make(chan struct{})}
}

func (e *fakeEtcd) put(f func(keys map[string]string)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(e.keys)
	e.revision++
	e.events = append(e.events, `{"kv":{"key":"eA=="}}`)
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *fakeEtcd) set(f func(*fakeEtcd)) { e.mu.Lock(); defer e.mu.Unlock(); f(e) }

func (e *fakeEtcd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Key    []byte `json:"key"`
		End    []byte `json:"range_end"`
		Create struct {
			Start string `json:"start_revision"`
			Key   []byte `json:"key"`
			End   []byte `json:"range_end"`
		} `json:"create_request"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	mode := e.mode
	e.mu.Unlock()
	switch {
	case mode == "hangs":
		<-r.Context().Done()
	case mode == "html":
		io.WriteString(w, "<html>")
	case mode == "500":
		http.Error(w, `{"error":"etcdserver: no leader","code":14}`, http.StatusServiceUnavailable)
	case r.URL.Path == "/v3/kv/range":
		e.rangeOf(w, string(in.Key), string(in.End))
	case r.URL.Path == "/v3/watch":
		start, _ := strconv.ParseInt(in.Create.Start, 10, 64)
		e.watch(w, r, start)
	default:
		http.NotFound(w, r)
	}
}

func (e *fakeEtcd) rangeOf(w http.ResponseWriter, from, to string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ranges++
	var kvs []string
	for k, v := range e.keys {
		if k >= from && k < to {
			b := base64.StdEncoding.EncodeToString
			kvs = append(kvs, fmt.Sprintf(`{"key":%q,"value":%q,"mod_revision":"2"}`, b([]byte(k)), b([]byte(v))))
		}
	}
	fmt.Fprintf(w, `{"header":{"cluster_id":"1","revision":"%d"}`, e.revision)
	if len(kvs) > 0 {
		fmt.Fprintf(w, `,"kvs":[%s],"count":"%d"`, strings.Join(kvs, ","), len(kvs))
	}
	fmt.Fprintln(w, "}")
}

func (e *fakeEtcd) watch(w http.ResponseWriter, r *http.Request, start int64) {
	flush := func() { w.(http.Flusher).Flush() }
	for first := true; ; first = false {
		e.mu.Lock()
		changed, compacted, broken := e.changed, e.compacted, e.mode == "cuts"
		var fresh []string
		if from := max(start-2, 0); from < int64(len(e.events)) {
			fresh = e.events[from:]
		}
		e.mu.Unlock()
		if first && start <= compacted {
			fmt.Fprintf(w, `{"result":{"header":{},"created":true,"canceled":true,"compact_revision":"%d"}}`+"\n", compacted)
			return
		}
		if first {
			fmt.Fprintln(w, `{"result":{"header":{},"created":true}}`)
			flush()
			if broken {
				return
			}
		}
		if len(fresh) > 0 {
			fmt.Fprintf(w, `{"result":{"header":{},"events":[%s]}}`+"\n", strings.Join(fresh, ","))
			flush()
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func newEtcdSource(timeout time.Duration, endpoints ...string) *Etcd {
	return &Etcd{
		Client: &etcd.Client{Endpoints: endpoints, HTTP: client, Timeout: timeout, Most: limits.mostOf()},
		Prefix: "/shop/", Wait: time.Minute, Limits: limits,
	}
}

// TestEtcd: the range is the truth, whatever becomes of the watch.
func TestEtcd(t *testing.T) {
	fake := newEtcd()
	srv := httptest.NewServer(fake)
	defer srv.Close()
	fake.put(func(k map[string]string) {
		k["/shop/a"], k["/shop/d/b"], k["/shop"], k["/shop0"], k["/other/a"] = "1", "1", "not below it", "nor this", "x"
	})
	e := newEtcdSource(5*time.Second, srv.URL)
	set, err := e.Next(t.Context(), "")
	if err != nil || set.Digest() != (Files{"a": "1", "d/b": "1"}).Digest() || set.Tag != "2" || set.Version != "revision 2" {
		t.Fatalf("%+v %v", set, err)
	}
	next := func() Set {
		t.Helper()
		got, err := e.Next(t.Context(), set.Tag)
		if err != nil {
			t.Fatal(err)
		}
		set = got
		return set
	}
	// A transaction while it watches: both keys at once.
	done := make(chan Set)
	go func() { done <- next() }()
	fake.put(func(k map[string]string) { k["/shop/a"], k["/shop/d/b"] = "2", "2" })
	if got := <-done; got.Files["a"] != "2" || got.Files["d/b"] != "2" {
		t.Errorf("%v", got)
	}
	// Changes while nobody watches are replayed; a deleted key is gone.
	fake.put(func(k map[string]string) { k["/shop/a"] = "3" })
	fake.put(func(k map[string]string) { delete(k, "/shop/d/b") })
	if got := next(); got.Files["a"] != "3" || len(got.Files) != 1 {
		t.Errorf("%v", got)
	}
	// Compacted meanwhile: nothing is lost, the deletion neither.
	fake.put(func(k map[string]string) { k["/shop/c"] = "4"; delete(k, "/shop/a") })
	fake.set(func(e *fakeEtcd) { e.compacted = e.revision })
	if got := next(); got.Files["c"] != "4" || len(got.Files) != 1 {
		t.Errorf("after a compaction: %v", got)
	}
	// A watch that is cut, or quiet for long: it is read again.
	fake.set(func(e *fakeEtcd) { e.mode = "cuts" })
	if got := next(); got.Files["c"] != "4" {
		t.Errorf("%v", got)
	}
	fake.set(func(e *fakeEtcd) { e.mode = "" })
	e.Wait = 30 * time.Millisecond
	before := fake.ranges
	if got := next(); got.Files["c"] != "4" || fake.ranges != before+1 {
		t.Errorf("%v", got)
	}
	e.Wait, e.Client.Timeout = time.Minute, 200*time.Millisecond
	for mode, want := range map[string]string{"hangs": "within 200ms", "html": "invalid character", "500": "no leader"} {
		fake.set(func(e *fakeEtcd) { e.mode = mode })
		for _, known := range []string{"", set.Tag} {
			if got, err := e.Next(t.Context(), known); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, known %q: %+v %v, want %q", mode, known, got, err, want)
			}
		}
	}
	// An empty prefix is no empty configuration.
	fake.set(func(e *fakeEtcd) { e.mode = ""; e.keys = map[string]string{"/other/a": "x"} })
	if got, err := e.Next(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "no key begins with /shop/") {
		t.Errorf("%+v %v", got, err)
	}
	fake.set(func(e *fakeEtcd) { e.keys = map[string]string{"/shop/../x": "x"} })
	if got, err := e.Next(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "not the name of a file") {
		t.Errorf("%+v %v", got, err)
	}
	fake.set(func(e *fakeEtcd) { e.keys = map[string]string{"/shop/x": strings.Repeat("x", 200000)} })
	if got, err := e.Next(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("%v", err)
	} else if len(got.Files) > 0 {
		t.Error("a set with an error")
	}
}

// TestEtcdEndpoints: the next one is asked when one does not answer.
func TestEtcdEndpoints(t *testing.T) {
	fake := newEtcd()
	srv := httptest.NewServer(fake)
	defer srv.Close()
	fake.put(func(k map[string]string) { k["/shop/a"] = "1" })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	e := newEtcdSource(time.Second, "http://"+ln.Addr().String(), srv.URL)
	if _, err := e.Next(t.Context(), ""); err == nil {
		t.Error("nobody there, and no error")
	}
	if set, err := e.Next(t.Context(), ""); err != nil || set.Files["a"] != "1" {
		t.Errorf("%+v %v", set, err)
	}
}

// FuzzAnswers: no answer of a source's ends the process, and none is a set that must not be.
func FuzzAnswers(f *testing.F) {
	for _, text := range []string{
		`{"version": 7, "files": {"a": "1"}}`, `{"files": {"../a": "1"}}`, `null`, `[]`, `{"version": {"a": [1]}, "files": {"a": "\u0000"}}`,
		`{"header":{"revision":"7"},"kvs":[{"key":"L3Nob3AvYQ==","value":"MQ=="}]}`, `{"header":{"revision":"7"},"kvs":[{"key":"L3g="}]}`,
	} {
		f.Add([]byte(text))
	}
	h := newHTTP("http://x/")
	e := newEtcdSource(time.Second)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, parse := range []func() (Set, error){
			func() (Set, error) { return h.parse(body, http.Header{}) }, func() (Set, error) {
				keys, revision, err := etcd.ParseRange(body, e.Prefix)
				if err != nil {
					return Set{}, err
				}
				return e.set(keys, revision)
			},
		} {
			if set, err := parse(); err == nil {
				if bad := limits.check(set.Files); bad != nil || set.Version == "" || set.Tag == "" || strings.ContainsAny(set.Version, "\n\x00") {
					t.Errorf("%q: %+v %v", body, set, bad)
				}
			}
		}
	})
}
