package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"distlab/containers/internal/http1"
)

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
