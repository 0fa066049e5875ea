package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
