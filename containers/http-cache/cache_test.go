package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"distlab/containers/internal/http1"
	"distlab/containers/internal/httpcases"
)

func TestCollapses(t *testing.T) {
	b := start(t, slowly(300*time.Millisecond, mints("Cache-Control: max-age=60")), nil)
	for i, a := range b.together(100, func(int) answer { return b.get("/") }) {
		if a.Status != 200 || a.Body != "number 1 for " {
			t.Fatalf("%d: %d %q", i, a.Status, a.Body)
		}
	}
	if n := b.fetches(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestCollapsesByVariant(t *testing.T) {
	b := start(t, slowly(300*time.Millisecond, mints("Cache-Control: max-age=60", "Vary: Accept-Language")), nil)
	list := b.together(40, func(i int) answer { return b.get("/", "Accept-Language", []string{"de", "fr"}[i%2]) })
	for i, a := range list {
		if want := []string{"de", "fr"}[i%2]; a.Status != 200 || !strings.HasSuffix(a.Body, "for "+want) {
			t.Errorf("%d: %d %q, want %s", i, a.Status, a.Body, want)
		}
	}
	if n := b.fetches(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

// TestFailsOpen: what is for one alone holds nobody up, and is nobody else's.
func TestFailsOpen(t *testing.T) {
	for _, says := range []string{
		"Cache-Control: private", "Cache-Control: max-age=0", "Set-Cookie: id={id}", "Cache-Control: no-store", "Vary: *", "Cache-Control: no-cache",
	} {
		t.Run(says, func(t *testing.T) {
			var at, most atomic.Int64
			mint := mints(says, "Etag: \"{id}\"")
			b := start(t, func(w http.ResponseWriter, r *http.Request) {
				n := at.Add(1)
				defer at.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				time.Sleep(300 * time.Millisecond)
				mint(w, r)
			}, nil)
			seen := map[string]bool{}
			began := time.Now()
			for i, a := range b.together(50, func(int) answer { return b.get("/") }) {
				if a.Status != 200 || seen[a.Body] {
					t.Fatalf("%d: %d %q, which somebody else has", i, a.Status, a.Body)
				}
				seen[a.Body] = true
			}
			if n := b.fetches(); n != 50 || most.Load() < 40 {
				t.Errorf("%d fetches, at most %d at once, in %v", n, most.Load(), time.Since(began))
			}
		})
	}
}

func TestSlowFirst(t *testing.T) {
	first := make(chan struct{})
	defer close(first)
	var n atomic.Int64
	b := start(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			<-first
		}
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "ok")
	}, func(c *Cache) { c.Patience = 200 * time.Millisecond })
	go b.do("GET", "/")
	for b.fetches() == 0 {
		time.Sleep(time.Millisecond)
	}
	for _, a := range b.together(10, func(int) answer { return b.get("/") }) {
		if a.Status != 200 {
			t.Errorf("%d", a.Status)
		}
	}
}

// TestLeaderLeaves: the one who asked first hangs up; the others get the answer to that one question.
func TestLeaderLeaves(t *testing.T) {
	b := start(t, slowly(600*time.Millisecond, mints("Cache-Control: max-age=60")), nil)
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		req := must(http.NewRequestWithContext(ctx, "GET", b.URL+"/", nil))
		req.Host = "app.example"
		client.Do(req)
	}()
	for b.fetches() == 0 {
		time.Sleep(time.Millisecond)
	}
	time.AfterFunc(200*time.Millisecond, leave)
	for i, a := range b.together(20, func(int) answer { return b.get("/") }) {
		if a.Status != 200 || a.Body != "number 1 for " {
			t.Errorf("%d: %d %q", i, a.Status, a.Body)
		}
	}
	if n := b.fetches(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

// TestAllLeave: with the last who waits the question ends.
func TestAllLeave(t *testing.T) {
	gone := make(chan error, 1)
	b := start(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		gone <- r.Context().Err()
	}, nil)
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		for b.fetches() == 0 {
			time.Sleep(time.Millisecond)
		}
		leave()
	}()
	client.Do(must(http.NewRequestWithContext(ctx, "GET", b.URL+"/", nil)))
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the origin is still asked")
	}
}

// TestErrorsAreNotShared: an error is told to all who wait, after one more try for them together, and is not kept.
func TestErrorsAreNotShared(t *testing.T) {
	var n atomic.Int64
	b := start(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(200 * time.Millisecond)
		http.Error(w, fmt.Sprintf("secret %d", n.Add(1)), http.StatusServiceUnavailable)
	}, nil)
	secrets := 0
	for _, a := range b.together(50, func(int) answer { return b.get("/") }) {
		if a.Status != 503 {
			t.Errorf("%d", a.Status)
		}
		if strings.Contains(a.Body, "secret") {
			secrets++
		}
	}
	if n := b.fetches(); n > 4 || secrets != n {
		t.Errorf("%d fetches, %d clients were told what the origin said", n, secrets)
	}
	b.say(b.with("well", "Cache-Control: max-age=60"))
	if a := b.get("/"); a.Status != 200 {
		t.Errorf("%d after it", a.Status)
	}
}

func TestRevalidates(t *testing.T) {
	b := start(t, nil, nil)
	b.say(b.with("one", "Cache-Control: max-age=60", `Etag: "1"`, "X-A: old"))
	b.get("/")
	b.Pass(61 * time.Second)
	b.say(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != `"1"` {
			t.Errorf("asked with %q", r.Header)
		}
		w.Header().Set("Cache-Control", "max-age=100")
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("X-A", "new")
		w.Header().Set("Content-Type", "text/evil")
		w.WriteHeader(http.StatusNotModified)
	})
	a := b.get("/")
	if a.Status != 200 || a.Body != "one" || a.Header.Get("X-A") != "new" || a.result() != "stale" || a.Header.Get("Content-Type") == "text/evil" {
		t.Errorf("%+v", a)
	}
	b.Pass(90 * time.Second)
	if a := b.get("/"); a.result() != "hit" || a.Body != "one" {
		t.Errorf("%+v", a)
	}
	if n := b.fetches(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

func TestStale(t *testing.T) {
	well := func(b *bench, more string) http.HandlerFunc { return b.with("good", "Cache-Control: max-age=60"+more) }
	fails := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "bad", http.StatusInternalServerError) }
	for _, c := range []struct {
		name, more string
		after      time.Duration
		want       int
	}{
		{"in time", ", stale-if-error=100", 150 * time.Second, 200},
		{"too late", ", stale-if-error=100", 170 * time.Second, 500},
		{"not said", "", 61 * time.Second, 500},
		{"5.2.2.2: must-revalidate", ", must-revalidate, stale-if-error=100", 61 * time.Second, 500},
		{"5.2.2.10: s-maxage is proxy-revalidate", ", s-maxage=60, stale-if-error=100", 61 * time.Second, 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, nil, nil)
			b.say(well(b, c.more))
			b.get("/")
			b.Pass(c.after)
			b.say(fails)
			for range 3 {
				if a := b.get("/"); a.Status != c.want {
					t.Errorf("%d, want %d", a.Status, c.want)
				}
			}
			n := b.fetches()
			b.get("/")
			if again := b.fetches() > n; again != (c.want == 500) {
				t.Errorf("at once asked again: %v", again)
			}
			b.Pass(time.Second)
			b.say(b.with("better", "Cache-Control: max-age=60"))
			if a := b.get("/"); a.Body != "better" {
				t.Errorf("after it: %q", a.Body)
			}
		})
	}
	t.Run("origin gone", func(t *testing.T) {
		b := start(t, nil, nil)
		b.say(well(b, ", stale-if-error=100"))
		b.get("/")
		b.Pass(61 * time.Second)
		b.Origin.CloseClientConnections()
		b.Origin.Listener.Close()
		if a := b.get("/"); a.Status != 200 || a.Body != "good" {
			t.Errorf("%d %q", a.Status, a.Body)
		}
		if a := b.get("/other"); a.Status != 502 {
			t.Errorf("%d", a.Status)
		}
	})
}

// TestStaleWhileRevalidate: who asks does not wait, and one question is asked.
func TestStaleWhileRevalidate(t *testing.T) {
	b := start(t, nil, nil)
	b.say(b.with("one", "Cache-Control: max-age=60, stale-while-revalidate=30"))
	b.get("/")
	b.Pass(70 * time.Second)
	held := make(chan struct{})
	b.say(func(w http.ResponseWriter, r *http.Request) {
		<-held
		b.with("two", "Cache-Control: max-age=60")(w, r)
	})
	for _, a := range b.together(20, func(int) answer { return b.get("/") }) {
		if a.Body != "one" {
			t.Errorf("%q", a.Body)
		}
	}
	close(held)
	until(t, func() error {
		if a := b.get("/"); a.Body != "two" || a.result() != "hit" {
			return fmt.Errorf("%q", a.Body)
		}
		return nil
	})
	if n := b.fetches(); n != 2 {
		t.Errorf("%d fetches", n)
	}
	b.Pass(100 * time.Second)
	b.say(b.with("three", "Cache-Control: max-age=60"))
	if a := b.get("/"); a.Body != "three" {
		t.Errorf("too late: %q", a.Body)
	}
}

func until(t testing.TB, f func() error) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestRangesAndConditions(t *testing.T) {
	b := start(t, nil, nil)
	b.say(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Range", "If-None-Match", "If-Range", "If-Modified-Since"} {
			if r.Header.Get(name) != "" {
				t.Errorf("the origin was asked with %s", name)
			}
		}
		b.with("0123456789abcdef", "Cache-Control: max-age=60", `Etag: "v1"`, "Last-Modified: {now-1000}", "Content-Type: text/plain")(w, r)
	})
	modified := b.date(-1000 * time.Second)
	for i, c := range []struct {
		method, ask string
		status      int
		body, has   string
	}{
		{"GET", "Range: bytes=2-3", 206, "23", "Content-Range: bytes 2-3/16"}, // the first of all fetches the whole
		{"GET", "", 200, "0123456789abcdef", `Etag: "v1"`},
		{"GET", "Range: bytes=-2", 206, "ef", "Content-Range: bytes 14-15/16"},
		{"GET", "Range: bytes=14-", 206, "ef", "Content-Length: 2"},
		{"GET", "Range: bytes=14-99", 206, "ef", ""},
		{"GET", "Range: bytes=16-", 416, "", "Content-Range: bytes */16"},
		{"GET", "Range: bytes=0-1,4-5", 200, "0123456789abcdef", ""},
		{"GET", "Range: lines=0-1", 200, "0123456789abcdef", ""},
		{"GET", `Range: bytes=0-1|If-Range: "v1"`, 206, "01", ""},
		{"GET", `Range: bytes=0-1|If-Range: W/"v1"`, 200, "0123456789abcdef", ""},
		{"GET", `Range: bytes=0-1|If-Range: "v2"`, 200, "0123456789abcdef", ""},
		{"HEAD", "", 200, "", "Content-Length: 16"},
		{"GET", `If-None-Match: "v1"`, 304, "", `Etag: "v1"`},
		{"GET", `If-None-Match: W/"v1"`, 304, "", ""},
		{"GET", `If-None-Match: "a,b", "v1"`, 304, "", ""},
		{"GET", `If-None-Match: *`, 304, "", ""},
		{"GET", `If-None-Match: "v2"|If-Modified-Since: ` + modified, 200, "0123456789abcdef", ""},
		{"GET", `If-Modified-Since: ` + modified, 304, "", ""},
		{"HEAD", `If-None-Match: "v1"`, 304, "", ""},
	} {
		var ask []string
		for line := range strings.SplitSeq(c.ask, "|") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				ask = append(ask, name, value)
			}
		}
		a := b.do(c.method, "/", ask...)
		name, value, _ := strings.Cut(c.has, ": ")
		if a.Err != nil || a.Status != c.status || c.status != 416 && a.Body != c.body || a.Header.Get(name) != value {
			t.Errorf("%d: %s %s: %d %q %v %v", i, c.method, c.ask, a.Status, a.Body, a.Header, a.Err)
		}
	}
	if n := b.fetches(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestHeadFillsForGet(t *testing.T) {
	b := start(t, nil, nil)
	b.say(b.with("body", "Cache-Control: max-age=60"))
	if a := b.do("HEAD", "/"); a.Status != 200 || a.Body != "" || a.Header.Get("Content-Length") != "4" {
		t.Errorf("%+v", a)
	}
	until(t, func() error {
		if a := b.get("/"); a.Body != "body" || a.result() != "hit" {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
	if n := b.fetches(); n != 1 || b.last().Method != "GET" {
		t.Errorf("%d fetches, %s", n, b.last().Method)
	}
}

// TestUnsafe: what was changed is forgotten, and what the answer names; not when it was not changed.
func TestUnsafe(t *testing.T) {
	b := start(t, nil, nil)
	fill := func() {
		b.say(b.with("x", "Cache-Control: max-age=60"))
		b.get("/")
		b.get("/list")
		b.get("/else")
	}
	for _, c := range []struct {
		method   string
		status   int
		location string
		gone     []string
	}{
		{"POST", 200, "/list", []string{"/", "/list"}},
		{"PUT", 204, "", []string{"/"}},
		{"DELETE", 303, "http://app.example/list", []string{"/", "/list"}},
		{"PATCH", 200, "http://other.example/list", []string{"/"}},
		{"POST", 403, "/list", nil},
		{"OPTIONS", 200, "", nil},
	} {
		fill()
		b.say(func(w http.ResponseWriter, r *http.Request) {
			if c.location != "" {
				w.Header().Set("Content-Location", c.location)
			}
			w.WriteHeader(c.status)
		})
		if a := b.do(c.method, "/"); a.Status != c.status {
			t.Fatalf("%s: %d %v", c.method, a.Status, a.Err)
		}
		b.say(b.with("y", "Cache-Control: max-age=60"))
		var gone []string
		for _, path := range []string{"/", "/list", "/else"} {
			if b.get(path).Body == "y" {
				gone = append(gone, path)
			}
		}
		if fmt.Sprint(gone) != fmt.Sprint(c.gone) {
			t.Errorf("%s %d: gone %v, want %v", c.method, c.status, gone, c.gone)
		}
		b.do("PURGE", "/", "Authorization", "Bearer secret")
		b.do("PURGE", "/list", "Authorization", "Bearer secret")
		b.do("PURGE", "/else", "Authorization", "Bearer secret")
	}
}

func TestPurge(t *testing.T) {
	b := start(t, nil, nil)
	b.say(b.with("x", "Cache-Control: max-age=60", "Cache-Tag: all, red", "Surrogate-Key: blue green", "Vary: X-A"))
	fill := func() { b.get("/1", "X-A", "1"); b.get("/1", "X-A", "2"); b.get("/2") }
	for _, c := range []struct {
		target string
		header []string
		want   string
		status int
	}{
		{"/1", nil, "hit hit hit", 401},
		{"/1", []string{"Authorization", "Bearer wrong"}, "hit hit hit", 401},
		{"/1", []string{"Authorization", "Bearer secret"}, "vary-miss? hit", 200},
		{"/1?", []string{"Authorization", "Bearer secret"}, "hit hit hit", 200},
		{"/", []string{"Authorization", "Bearer secret", "Cache-Tag", "red"}, "no", 200},
		{"/", []string{"Authorization", "Bearer secret", "Surrogate-Key", "green"}, "no", 200},
		{"/", []string{"Authorization", "Bearer secret", "Cache-Tag", "gree"}, "hit hit hit", 200},
	} {
		fill()
		before := b.fetches()
		if a := b.do("PURGE", c.target, c.header...); a.Status != c.status {
			t.Errorf("%s %v: %d", c.target, c.header, a.Status)
		}
		got := []string{b.get("/1", "X-A", "1").result(), b.get("/1", "X-A", "2").result(), b.get("/2").result()}
		want := map[string]int{"hit hit hit": 0, "vary-miss? hit": 2, "no": 3}[c.want]
		if n := b.fetches() - before; n != want {
			t.Errorf("%s %v: %v, %d fetches, want %d", c.target, c.header, got, n, want)
		}
	}
}

// TestPurgeRace: what was on its way when it was purged is nobody's but those who waited for it.
func TestPurgeRace(t *testing.T) {
	for name, header := range map[string][]string{"url": nil, "tag": {"Cache-Tag", "red"}} {
		t.Run(name, func(t *testing.T) {
			held := make(chan struct{})
			b := start(t, nil, nil)
			b.say(func(w http.ResponseWriter, r *http.Request) {
				<-held
				b.with("old", "Cache-Control: max-age=60", "Cache-Tag: red")(w, r)
			})
			done := make(chan answer)
			go func() { done <- b.do("GET", "/") }()
			for b.fetches() == 0 {
				time.Sleep(time.Millisecond)
			}
			b.say(b.with("new", "Cache-Control: max-age=60", "Cache-Tag: red"))
			if a := b.do("PURGE", "/", append([]string{"Authorization", "Bearer secret"}, header...)...); a.Status != 200 {
				t.Fatalf("%d %v", a.Status, a.Err)
			}
			if a := b.get("/"); a.Body != "new" {
				t.Errorf("after the purge: %q", a.Body)
			}
			close(held)
			if a := <-done; a.Body != "old" {
				t.Errorf("who asked before: %q %v", a.Body, a.Err)
			}
			for range 3 {
				if a := b.get("/"); a.Body != "new" {
					t.Errorf("afterwards: %q", a.Body)
				}
			}
		})
	}
}

// reflects is an origin that puts all that it is told on the page, as bad ones do.
func reflects(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=60")
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s host=%s", r.Method, r.RequestURI, r.Host)
	for _, name := range []string{
		"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Scheme", "X-Host", "X-Original-Url",
		"X_forwarded_host", "Range", "If-None-Match", "Expect",
	} {
		if v := r.Header.Get(name); v != "" {
			fmt.Fprintf(w, " %s=%s", name, v)
		}
	}
	fmt.Fprintf(w, " %s", body)
}

// FuzzPoison: whatever header lines and body one client sends, the next one gets the page that it would have got
// without.
func FuzzPoison(f *testing.F) {
	for _, lines := range []string{
		"X-Forwarded-Host: evil\r\n\r\n", "Content-Length: 4\r\n\r\nevil", "Range: bytes=0-1\r\n\r\n", "Host: evil\r\n\r\n", " folded\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n", "Expect: 100-continue\r\n\r\n", "Connection: X-Forwarded-Host\r\n\r\n", "X-Original-URL : /evil\r\n\r\n",
	} {
		f.Add(lines)
	}
	b := start(f, reflects, nil)
	n := 0
	f.Fuzz(func(t *testing.T, lines string) {
		n++
		target := fmt.Sprint("/p/", n)
		conn, err := net.Dial("tcp", strings.TrimPrefix(b.URL, "http://"))
		if err != nil {
			t.Skip(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: app.example\r\n%s", target, lines)
		conn.(*net.TCPConn).CloseWrite()
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		io.Copy(io.Discard, conn)
		want := fmt.Sprintf("GET %s host=app.example X-Forwarded-Host=app.example X-Forwarded-Proto=http X-Forwarded-Port=80 ", target)
		if a := b.do("GET", target); a.Body != want {
			t.Errorf("after %q the next one gets %q %v", lines, a.Body, a.Err)
		}
		b.mu.Lock()
		b.asked = nil
		b.mu.Unlock()
	})
}

// TestPoisoning is what an attacker sends so that others get what they should not.
func TestPoisoning(t *testing.T) {
	for _, c := range []struct{ name, raw string }{
		{"X-Forwarded-Host", "GET /p HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-Host: evil\r\n"},
		{"X_Forwarded_Host", "GET /p HTTP/1.1\r\nHost: app.example\r\nX_Forwarded_Host: evil\r\n"},
		{"X-Forwarded-Scheme", "GET /p HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-Scheme: evil\r\n"},
		{"X-Forwarded-Proto", "GET /p HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-Proto: evil\r\n"},
		{"X-Forwarded-Port", "GET /p HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-Port: 666\r\n"},
		{"X-Host", "GET /p HTTP/1.1\r\nHost: app.example\r\nX-Host: evil\r\n"},
		{"X-Original-URL", "GET /p HTTP/1.1\r\nHost: app.example\r\nX-Original-URL: /evil\r\n"},
		{"Host", "GET /p HTTP/1.1\r\nHost: evil.example\r\n"},
		{"Host with a port", "GET /p HTTP/1.1\r\nHost: app.example:1337\r\n"},
		{"Host in capitals", "GET /p HTTP/1.1\r\nHost: APP.EXAMPLE\r\n"},
		{"absolute target", "GET http://evil.example/p HTTP/1.1\r\nHost: app.example\r\n"},
		{"fat GET", "GET /p HTTP/1.1\r\nHost: app.example\r\nContent-Length: 4\r\n\r\nevil"},
		{"encoded path", "GET /%70 HTTP/1.1\r\nHost: app.example\r\n"},
		{"dots", "GET /x/../p HTTP/1.1\r\nHost: app.example\r\n"},
		{"encoded dots", "GET /x/%2e%2e/p HTTP/1.1\r\nHost: app.example\r\n"},
		{"encoded slash", "GET /%2fp HTTP/1.1\r\nHost: app.example\r\n"},
		{"two slashes", "GET //p HTTP/1.1\r\nHost: app.example\r\n"},
		{"semicolon", "GET /p;evil HTTP/1.1\r\nHost: app.example\r\n"},
		{"backslash", "GET /\\p HTTP/1.1\r\nHost: app.example\r\n"},
		{"empty query", "GET /p? HTTP/1.1\r\nHost: app.example\r\n"},
		{"query", "GET /p?utm_content=evil HTTP/1.1\r\nHost: app.example\r\n"},
		{"query with NUL", "GET /p?a=%00 HTTP/1.1\r\nHost: app.example\r\n"},
		{"method override", "POST /p HTTP/1.1\r\nHost: app.example\r\nContent-Length: 0\r\n"},
		{"HEAD", "HEAD /p HTTP/1.1\r\nHost: app.example\r\n"},
		{"Range", "GET /p HTTP/1.1\r\nHost: app.example\r\nRange: bytes=1-2\r\n"},
		{"If-None-Match", "GET /p HTTP/1.1\r\nHost: app.example\r\nIf-None-Match: \"evil\"\r\n"},
		{"PURGE", "PURGE /p HTTP/1.1\r\nHost: app.example\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clean := start(t, reflects, nil).get("/p").Body
			b := start(t, reflects, nil)
			conn := must(net.Dial("tcp", strings.TrimPrefix(b.URL, "http://")))
			defer conn.Close()
			raw := c.raw
			if !strings.Contains(raw, "\r\n\r\n") {
				raw += "\r\n"
			}
			io.WriteString(conn, raw)
			conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			method, _, _ := strings.Cut(raw, " ")
			resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			if got := b.get("/p").Body; got != clean {
				t.Errorf("the next one gets %q", got)
			}
		})
	}
}

// TestSchemes: what was asked for by HTTPS is not the answer to HTTP, or a redirect to HTTPS would lead to itself.
func TestSchemes(t *testing.T) {
	b := start(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.Header.Get("X-Forwarded-Proto") != "https" {
			w.Header().Set("Location", "https://app.example/")
			w.WriteHeader(301)
		}
	}, func(c *Cache) {
		c.Forwarder = &http1.Forwarder{Scheme: "http", Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	})
	for range 2 {
		if a := b.get("/"); a.Status != 301 {
			t.Errorf("http: %d", a.Status)
		}
		if a := b.get("/", "X-Forwarded-Proto", "https"); a.Status != 200 {
			t.Errorf("https: %d", a.Status)
		}
	}
}

// TestDeception: a name that looks like a picture makes nothing public.
func TestDeception(t *testing.T) {
	b := start(t, nil, nil)
	for _, says := range []string{"Cache-Control: private", "Cache-Control: no-store", "X-A: nothing said"} {
		b.say(mints(says))
		for _, path := range []string{"/account/x.css", "/account%2fx.js", "/account;x.png", "/account/..%2fstatic/x.ico", "/static/..%2faccount"} {
			me, you := b.get(path, "Cookie", "session=me"), b.get(path)
			if me.Body == you.Body {
				t.Errorf("%s %s: %q is everybody's", says, path, you.Body)
			}
		}
	}
}

// TestPersonal: one with a password gets what is everybody's only where the origin says so, and gives nothing away.
func TestPersonal(t *testing.T) {
	for _, c := range []struct {
		says   string
		shared bool
	}{{"max-age=60", false}, {"public, max-age=60", true}, {"s-maxage=60", true}} {
		for _, header := range []string{"Cookie", "Authorization"} {
			b := start(t, mints("Cache-Control: "+c.says), nil)
			none, me, you, none2 := b.get("/"), b.get("/", header, "me"), b.get("/", header, "you"), b.get("/")
			if none.Body != none2.Body || (me.Body == you.Body) != c.shared || (me.Body == none.Body) != c.shared {
				t.Errorf("%s, %s: %q %q %q %q", c.says, header, none.Body, me.Body, you.Body, none2.Body)
			}
			if s := b.get("/", header, "they").Header.Get("Cache-Status"); c.shared != strings.Contains(s, "hit") {
				t.Errorf("%s", s)
			}
		}
	}
}

// TestLarge: what is too large to store goes through, with and without a length, to all who wait, and is not kept in
// memory.
func TestLarge(t *testing.T) {
	const size = 8 << 20
	for _, sized := range []bool{true, false} {
		t.Run(fmt.Sprintf("sized=%v", sized), func(t *testing.T) {
			b := start(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				if sized {
					w.Header().Set("Content-Length", fmt.Sprint(size))
				}
				part := []byte(strings.Repeat("0123456789abcdef", 1<<10))
				for range size / len(part) {
					w.Write(part)
				}
			}, nil)
			for i, a := range b.together(4, func(int) answer { return b.do("GET", "/") }) {
				if a.Status != 200 || len(a.Body) != size || !strings.HasSuffix(a.Body, "def") {
					t.Errorf("%d: %d %d bytes %v", i, a.Status, len(a.Body), a.Err)
				}
			}
			if _, n := b.Cache.Store.Stored(); n > 1<<20 {
				t.Errorf("%d bytes stored", n)
			}
			if n := b.Cache.held.Load(); n != 0 {
				until(t, func() error {
					if n := b.Cache.held.Load(); n != 0 {
						return fmt.Errorf("%d bytes held", n)
					}
					return nil
				})
			}
		})
	}
}

// TestTruncated: what broke off is told as such to all, and not stored.
func TestTruncated(t *testing.T) {
	b := start(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		time.Sleep(200 * time.Millisecond)
		panic(http.ErrAbortHandler)
	}, nil)
	for _, a := range b.together(5, func(int) answer { return b.do("GET", "/") }) {
		if a.Err == nil {
			t.Errorf("looks whole: %d %q", a.Status, a.Body)
		}
	}
	b.say(b.with("whole", "Cache-Control: max-age=60"))
	if a := b.get("/"); a.Body != "whole" {
		t.Errorf("%q", a.Body)
	}
}

// TestSlowReader: a client that does not read holds up nobody else.
func TestSlowReader(t *testing.T) {
	body := strings.Repeat("x", 900<<10)
	b := start(t, slowly(300*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, body)
	}), nil)
	conn := must(net.Dial("tcp", strings.TrimPrefix(b.URL, "http://")))
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: app.example\r\n\r\n")
	for b.fetches() == 0 {
		time.Sleep(time.Millisecond)
	}
	for _, a := range b.together(5, func(int) answer { return b.get("/") }) {
		if a.Body != body {
			t.Errorf("%d bytes", len(a.Body))
		}
	}
	if n := b.fetches(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

// TestBounded: the store stays within its size, and keeps what is asked for often through a scan.
func TestBounded(t *testing.T) {
	body := strings.Repeat("x", 10<<10)
	b := start(t, nil, func(c *Cache) { c.Store.Size = 1 << 20 })
	b.say(b.with(body, "Cache-Control: max-age=600"))
	const hot = 20
	for range 10 {
		for i := range hot {
			b.get(fmt.Sprint("/hot/", i))
		}
	}
	for i := range 500 {
		b.get(fmt.Sprint("/cold/", i))
		if i%5 == 0 {
			b.get(fmt.Sprint("/hot/", i/5%hot))
		}
	}
	until(t, func() error {
		if _, n := b.Cache.Store.Stored(); n > 1<<20 {
			return fmt.Errorf("%d bytes", n)
		}
		return nil
	})
	hits := 0
	for i := range hot {
		if b.get(fmt.Sprint("/hot/", i)).result() == "hit" {
			hits++
		}
	}
	if hits < hot*3/4 {
		t.Errorf("%d of %d hot ones are left", hits, hot)
	}
}

// TestVaryBomb: variants of one URL are few, whatever clients say.
func TestVaryBomb(t *testing.T) {
	b := start(t, mints("Cache-Control: max-age=600", "Vary: Accept-Language"), nil)
	b.get("/other")
	for i := range 200 {
		b.get("/", "Accept-Language", fmt.Sprint("x-", i))
	}
	_, o := b.Cache.Store.find("http\x00app.example\x00\x00/", Asked{}, http.Header{"Accept-Language": {"x-199"}})
	r, _ := b.Cache.Store.entries.GetIfPresent("http\x00app.example\x00\x00/")
	if o == nil || len(r.objects) != 8 {
		t.Errorf("%d variants", len(r.objects))
	}
	if b.get("/other").result() != "hit" {
		t.Error("another one is gone")
	}
}

func TestEncodings(t *testing.T) {
	b := start(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Accept-Encoding")
		io.WriteString(w, "for "+r.Header.Get("Accept-Encoding"))
	}, nil)
	for _, c := range [][2]string{
		{"gzip, deflate, br", "for br, gzip"}, {"br;q=1.0,gzip;q=0.5", "for br, gzip"}, {"gzip;q=0, br", "for br"}, {"", "for "}, {"identity", "for "}, {"GZIP", "for gzip"},
	} {
		if a := b.get("/", "Accept-Encoding", c[0]); a.Body != c[1] {
			t.Errorf("%q: %q", c[0], a.Body)
		}
	}
	if n := b.fetches(); n != 4 {
		t.Errorf("%d fetches", n)
	}
}

func TestOnlyIfCached(t *testing.T) {
	b := start(t, nil, nil)
	b.say(b.with("x", "Cache-Control: max-age=60"))
	if a := b.get("/", "Cache-Control", "only-if-cached"); a.Status != 504 {
		t.Errorf("%d", a.Status)
	}
	b.get("/")
	if a := b.get("/", "Cache-Control", "only-if-cached"); a.Status != 200 || b.fetches() != 1 {
		t.Errorf("%d", a.Status)
	}
}

func TestHeeds(t *testing.T) {
	b := start(t, nil, func(c *Cache) { c.Heed = true })
	b.say(b.with("x", "Cache-Control: max-age=60"))
	b.get("/")
	b.Pass(30 * time.Second)
	for i, c := range []struct {
		says string
		hit  bool
	}{{"max-age=40", true}, {"min-fresh=20", true}, {"min-fresh=40", false}, {"max-age=0", false}, {"no-cache", false}} {
		if i == 3 {
			b.Pass(time.Second)
		}
		if a := b.get("/", "Cache-Control", c.says); (a.result() == "hit") != c.hit {
			t.Errorf("%s: %s", c.says, a.Header["Cache-Status"])
		}
		if !c.hit {
			b.Pass(30 * time.Second)
		}
	}
	b.Pass(70 * time.Second)
	if a := b.get("/", "Cache-Control", "max-stale=60"); a.result() != "hit" {
		t.Errorf("max-stale: %s", a.Header["Cache-Status"])
	}
}

func TestOrigins(t *testing.T) {
	var o Origin
	for text, want := range map[string]string{
		"http://app:8080": "http://app:8080", "http://app": "http://app:80", "Shop.Example=http://shop:1/": "shop.example=http://shop:1",
		"http://[::1]:8080": "http://[::1]:8080",
	} {
		if err := o.UnmarshalText([]byte(text)); err != nil || string(must(o.MarshalText())) != want {
			t.Errorf("%s: %+v %v", text, o, err)
		}
	}
	for _, text := range []string{"", "app:8080", "https://app", "http://app/path", "http://u@app", "http://app:0", "http://"} {
		if err := o.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%s: %+v", text, o)
		}
	}
	b := start(t, nil, func(c *Cache) { c.Origins = must(NewOrigins([]Origin{{Host: "a.example", Addr: "127.0.0.1:9"}})) })
	if a := b.get("/", "Host", "b.example"); a.Status != 421 {
		t.Errorf("%d", a.Status)
	}
}

// TestRequests is the table of raw HTTP that every container which proxies answers alike.
func TestRequests(t *testing.T) {
	app := must(httpcases.NewApp())
	t.Cleanup(app.Close)
	b := start(t, nil, func(c *Cache) {
		c.Origins = must(NewOrigins([]Origin{{Addr: app.Addr}}))
		c.Upgrades = []string{"websocket"}
	})
	dial := func() (net.Conn, error) { return net.Dial("tcp", strings.TrimPrefix(b.URL, "http://")) }
	for _, c := range httpcases.Requests {
		t.Run(c.Name, func(t *testing.T) {
			for _, complaint := range c.Run(app, dial) {
				t.Error(complaint)
			}
		})
	}
}

// TestDrains: what is in flight ends, then the cache has ended.
func TestDrains(t *testing.T) {
	b := start(t, slowly(300*time.Millisecond, mints("Cache-Control: max-age=60")), nil)
	done := make(chan answer, 1)
	go func() { done <- b.do("GET", "/") }()
	for b.fetches() == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := b.Cache.Shutdown(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if a := <-done; a.Err != nil || a.Status != 200 {
		t.Errorf("%d %v", a.Status, a.Err)
	}
}
