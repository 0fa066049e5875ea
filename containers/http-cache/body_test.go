package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

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
