package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func withMirror(addr string, edit func(*Mirror)) func(*Proxy) {
	return func(p *Proxy) {
		m := &Mirror{
			Addr: addr, Percent: 100, Concurrency: 4, BodyLimit: 16, Timeout: patience,
			Metrics: p.Metrics, Transport: p.Limits.NewTransport(false),
		}
		if edit != nil {
			edit(m)
		}
		p.Mirror = m
	}
}

func TestMirror(t *testing.T) {
	got := make(chan string, 100)
	shadow := startArm(t, "shadow", func(w http.ResponseWriter, r *http.Request) {
		got <- fmt.Sprint(r.Method, " ", r.URL, " ", string(must(io.ReadAll(r.Body))), " ", r.Header.Get("X-Forwarded-For"))
	})
	a := startArm(t, "a", nil)
	s := start(t, []ArmSpec{a.spec("")}, withMirror(shadow.addr, nil))
	c := client(t)
	for _, tt := range []struct{ method, body string }{
		{"GET", ""}, {"POST", "short"}, {"POST", "exactly 16 bytes"},
	} {
		if r := s.do(t, c, tt.method, "/a?b=c", tt.body); r.body != "a" {
			t.Fatalf("answered %+v", r)
		}
		if m, want := <-got, fmt.Sprintf("%s /a?b=c %s 127.0.0.1", tt.method, tt.body); m != want {
			t.Errorf("the mirror saw %q, want %q", m, want)
		}
	}
	s.do(t, c, "POST", "/", "seventeen bytes..")
	req := must(http.NewRequest("POST", s.url("/"), io.NopCloser(strings.NewReader("longer, and its length is not told"))))
	resp, err := c.Do(req)
	check(t, err)
	resp.Body.Close()
	eventually(t, "two were too long", func() bool { return s.metric(t, "mirror_dropped_total", "reason=body") == 2 })
	if a.seen.Load() != 5 || len(got) != 0 {
		t.Errorf("the arm saw %d, the mirror %d more", a.seen.Load(), len(got))
	}
}

// A mirror that hangs costs the primary nothing.
func TestMirrorHangs(t *testing.T) {
	hang := make(chan struct{})
	shadow := startArm(t, "shadow", func(http.ResponseWriter, *http.Request) { <-hang })
	defer close(hang)
	a := startArm(t, "a", nil)
	s := start(t, []ArmSpec{a.spec("")}, withMirror(shadow.addr, nil))
	c := client(t)
	for range 100 {
		if r := s.do(t, c, "GET", "/", ""); r.body != "a" {
			t.Fatalf("answered %+v", r)
		}
	}
	eventually(t, "96 were dropped", func() bool { return s.metric(t, "mirror_dropped_total", "reason=concurrency") == 96 })
	if got := s.metric(t, "mirror_in_flight"); got != 4 {
		t.Errorf("in flight: %v", got)
	}
	if a.seen.Load() != 100 {
		t.Errorf("the arm saw %d", a.seen.Load())
	}
}

func TestMirrorBlocking(t *testing.T) {
	hang := make(chan struct{})
	shadow := startArm(t, "shadow", func(http.ResponseWriter, *http.Request) { <-hang })
	a := startArm(t, "a", nil)
	s := start(t, []ArmSpec{a.spec("")}, withMirror(shadow.addr, func(m *Mirror) { m.Blocking = true }))
	var answered atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		resp, err := http.Get(s.url("/"))
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
		answered.Store(true)
	}()
	eventually(t, "both were asked", func() bool { return a.seen.Load() == 1 && shadow.seen.Load() == 1 })
	time.Sleep(50 * time.Millisecond) // a wrong answer would be there by now; a right one can not
	if answered.Load() {
		t.Error("answered before the mirror")
	}
	close(hang)
	<-done
	if !answered.Load() {
		t.Error("not answered")
	}
}

func TestMirrorPercent(t *testing.T) {
	shadow, a := startArm(t, "shadow", nil), startArm(t, "a", nil)
	s := start(t, []ArmSpec{a.spec("")}, withMirror(shadow.addr, func(m *Mirror) { m.Percent, m.Concurrency = 12.5, 100 }))
	c := client(t)
	for range 80 {
		s.do(t, c, "GET", "/", "")
	}
	eventually(t, "ten copies", func() bool { return s.metric(t, "mirror_requests_total", "result=2xx") == 10 })
	if shadow.seen.Load() != 10 {
		t.Errorf("the mirror saw %d", shadow.seen.Load())
	}
}
