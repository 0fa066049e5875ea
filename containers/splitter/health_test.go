package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

func startHealth(t *testing.T, s *running, path string, rounds func()) {
	t.Helper()
	h := &Health{
		Splitter: s.Splitter, Interval: 5 * time.Millisecond, Timeout: 100 * time.Millisecond, Path: path, Rise: 2, Fall: 3,
		Transport: func(a *Arm) http.RoundTripper { return s.Engine().Transport(&a.Backend) }, Log: slog.New(slog.DiscardHandler), Checked: rounds,
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); h.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func TestHealthPath(t *testing.T) {
	var code atomic.Int64
	code.Store(500)
	var checks atomic.Int64
	a := startArm(t, "a", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() != "/healthz?deep=1" {
			return
		}
		checks.Add(1)
		switch c := int(code.Load()); c {
		case 0:
			<-r.Context().Done() // hangs
		default:
			w.WriteHeader(c)
		}
	})
	b := startArm(t, "b", nil)
	s := start(t, []ArmSpec{a.spec(""), b.spec("")}, nil)
	up := func(want bool) func() bool { return func() bool { return s.Splitter.states()[0].Up == want } }
	startHealth(t, s, "/healthz?deep=1", func() {})
	eventually(t, "the first check decides", up(false))
	for range 4 {
		if r := s.do(t, client(t), "GET", "/", ""); r.arm() != "b" {
			t.Errorf("answered by %s", r.arm())
		}
	}
	code.Store(302)
	eventually(t, "well again", up(true))
	for _, bad := range []int64{404, 0} {
		code.Store(bad)
		eventually(t, "out", up(false))
		code.Store(204)
		eventually(t, "in", up(true))
	}
	if s.metric(t, "health_checks_total", "arm=a", "result=error") < 7 {
		t.Error("errors are not counted")
	}
}

// One bad check of three is no news.
func TestHealthFlaps(t *testing.T) {
	s := &Splitter{Rules: Rules{Balance: "smooth", Fallback: true}}
	s.Set([]ArmSpec{armSpec("a=http://a")})
	var next error
	h := &Health{
		Splitter: s, Timeout: time.Second, Path: "/", Rise: 2, Fall: 3, Log: slog.New(slog.DiscardHandler),
		Transport: func(*Arm) http.RoundTripper { return failing{&next} },
		runs:      map[*Arm]*healthRun{},
	}
	for i, step := range []struct{ ok, want bool }{
		{true, true},
		{false, true},
		{false, true},
		{true, true},
		{false, true},
		{false, true},
		{false, false},
		{true, false},
		{false, false},
		{true, false},
		{true, true},
	} {
		next = nil
		if !step.ok {
			next = io.ErrUnexpectedEOF
		}
		h.round(t.Context())
		if got := s.states()[0].Healthy; got != step.want {
			t.Fatalf("step %d: healthy %v", i, got)
		}
	}
}

// failing answers 200, or fails.
type failing struct{ err *error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Body: http.NoBody}, *f.err
}

func TestHealthConnect(t *testing.T) {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	addr := ln.Addr().String()
	go http.Serve(ln, http.NotFoundHandler())
	s := start(t, []ArmSpec{armSpec("a=http://" + addr)}, nil)
	var usable atomic.Int64
	startHealth(t, s, "", func() { usable.Store(int64(s.Splitter.Usable())) })
	eventually(t, "up", func() bool { return usable.Load() == 1 })
	ln.Close()
	eventually(t, "down", func() bool { return usable.Load() == 0 })
	again := must(net.Listen("tcp", addr))
	defer again.Close()
	eventually(t, "up again", func() bool { return usable.Load() == 1 })
}

// An arm that hangs is left after its timeout, and the request goes on.
func TestTimeoutIsRetried(t *testing.T) {
	hang := make(chan struct{})
	a := startArm(t, "a", func(_ http.ResponseWriter, r *http.Request) { <-hang })
	defer close(hang)
	b := startArm(t, "b", nil)
	s := start(t, []ArmSpec{a.spec("weight=1 fail_timeout=1h"), b.spec("weight=1")}, func(p *Proxy) {
		p.Limits.Response = 50 * time.Millisecond
	})
	c := client(t)
	for i, want := range []string{"retry", "smooth", "smooth"} {
		if r := s.do(t, c, "GET", "/", ""); r.code != 200 || r.arm() != "b" || r.reason() != want {
			t.Errorf("request %d: %+v", i, r)
		}
	}
	s = start(t, []ArmSpec{a.spec("max_fails=0")}, func(p *Proxy) { p.Limits.Response = 50 * time.Millisecond })
	if r := s.do(t, c, "GET", "/", ""); r.code != 504 {
		t.Errorf("alone: %+v", r)
	}
}

// When all are out, one is tried all the same.
func TestPanic(t *testing.T) {
	a, b, arms := two(t, 1, 1)
	s := start(t, arms, nil)
	for _, arm := range s.Splitter.Arms() {
		s.Splitter.Health(arm, false)
	}
	c := client(t)
	for range 4 {
		if r := s.do(t, c, "GET", "/", ""); r.code != 200 {
			t.Errorf("answered %+v", r)
		}
	}
	if a.seen.Load() != 2 || b.seen.Load() != 2 {
		t.Errorf("the arms saw %d and %d", a.seen.Load(), b.seen.Load())
	}
	full := start(t, []ArmSpec{a.spec("max_conns=1")}, nil)
	d := full.Splitter.Decide(&Facts{Header: http.Header{}})
	if r := full.do(t, c, "GET", "/", ""); r.code != 503 || full.metric(t, "requests_refused_total", "reason=no_arm") != 1 {
		t.Errorf("full: %+v", r)
	}
	full.Splitter.Done(d.Arm, Outcome{})
	if r := full.do(t, c, "GET", "/", ""); r.code != 200 {
		t.Errorf("not full: %+v", r)
	}
}
