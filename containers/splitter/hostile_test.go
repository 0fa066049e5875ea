package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"distlab/containers/internal/httpcases"
)

// wireArm keeps the very bytes of each request as an old app would delimit
// it: by a head up to the empty line and Content-Length, or chunks. It answers
// 200 to all.
type wireArm struct {
	addr string

	mu       sync.Mutex
	requests []string
}

func startWireArm(t *testing.T) *wireArm {
	t.Helper()
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { ln.Close() })
	a := &wireArm{addr: ln.Addr().String()}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go a.serve(c)
		}
	}()
	return a
}

func (a *wireArm) serve(c net.Conn) {
	defer c.Close()
	var raw bytes.Buffer
	r := bufio.NewReader(io.TeeReader(c, &raw))
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		a.mu.Lock()
		a.requests = append(a.requests, raw.String())
		a.mu.Unlock()
		raw.Reset()
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

func (a *wireArm) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.requests...)
}

func (a *wireArm) spec() []ArmSpec { return []ArmSpec{armSpec("a=http://" + a.addr + " max_fails=0")} }

// send writes raw bytes and returns the statuses of all that comes back.
func (s *running) send(t *testing.T, text string) string {
	t.Helper()
	c := s.dial(t)
	io.WriteString(c, text) // a refused client may be cut in the middle
	answers, _ := io.ReadAll(c)
	return statusesOf(string(answers))
}

func statusesOf(answers string) string {
	var list []string
	for line := range strings.Lines(answers) {
		// A body does not end its line: the next status may follow "ok".
		if _, after, ok := strings.Cut(line, "HTTP/1."); ok && len(after) > 5 {
			list = append(list, after[2:5])
		}
	}
	return strings.Join(list, " ")
}

// impatient makes the end of the answers come by itself. A request may take its
// time: the machine may be busy.
func impatient(p *Proxy) { p.Limits.Idle, p.Limits.Header = time.Second, patience/2 }

// TestRequests holds all paths, HTTP/2 cleartext among them, to the table of all
// containers; with an arm of either kind.
func TestRequests(t *testing.T) {
	for name, edit := range map[string]func(*Proxy){
		"fast": nil, "careful": func(p *Proxy) { p.Careful = true },
		"beside h2c": func(p *Proxy) { p.H2C = true }, "careful, beside h2c": func(p *Proxy) { p.H2C, p.Careful = true, true },
		// With a mirror there is no fast path, either, but a copy of all.
		"mirror": func(p *Proxy) { withMirror(startWireArm(t).addr, nil)(p) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := must(httpcases.NewApp())
			defer app.Close()
			s := start(t, []ArmSpec{armSpec("a=http://" + app.Addr + " max_fails=0")}, edit)
			dial := func() (net.Conn, error) { return net.Dial("tcp", s.addr) }
			for _, c := range httpcases.Requests {
				if c.NoH2C && s.H2C {
					continue
				}
				for _, complaint := range c.Run(app, dial) {
					t.Errorf("%s (%s): %s", c.Name, c.Why, complaint)
				}
			}
			if n := s.metric(t, "requests_refused_total", "reason=framing"); n < 100 {
				t.Errorf("counted %v refusals", n)
			}
			if !s.H2C {
				return
			}
			for _, c := range httpcases.Requests2 {
				for _, complaint := range c.Run(app, dial) {
					t.Errorf("HTTP/2, %s (%s): %s", c.Name, c.Why, complaint)
				}
			}
		})
	}
}

// None holds its place longer than its limit.
func TestSlowClients(t *testing.T) {
	arm := startWireArm(t)
	for _, h2c := range []bool{false, true} {
		s := start(t, arm.spec(), func(p *Proxy) {
			impatient(p)
			p.Limits.Header, p.Limits.Body = time.Second, time.Second
			p.H2C = h2c
		})
		var wg sync.WaitGroup
		for name, text := range map[string]string{
			"silence": "", "preface": "PRI * HTT", "request line": "GET /", "header": "GET / HTTP/1.1\r\nHost: loc",
			"second head": "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /",
		} {
			wg.Go(func() {
				began := time.Now()
				if got := s.send(t, text); strings.Contains(got, "200") != (name == "second head") {
					t.Errorf("%s: answered %q", name, got)
				}
				if took := time.Since(began); took > patience*9/10 {
					t.Errorf("%s: held for %s", name, took)
				}
			})
		}
		for _, kind := range []string{"Content-Length: 10", "Transfer-Encoding: chunked"} {
			wg.Go(func() {
				if got := s.send(t, "POST / HTTP/1.1\r\nHost: localhost\r\n"+kind+"\r\n\r\n5\r\nab"); got != "408" {
					t.Errorf("body by %s: answered %q", kind, got)
				}
			})
		}
		wg.Wait()
	}
	// A client that does not read its answer.
	full := startArm(t, "full", func(w http.ResponseWriter, _ *http.Request) {
		for range 1000 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	s := start(t, []ArmSpec{full.spec("")}, func(p *Proxy) { p.Limits.Send = 200 * time.Millisecond })
	c := s.dial(t)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	eventually(t, "the request is on its way", func() bool { return full.seen.Load() == 1 })
	eventually(t, "it was cut", func() bool { return s.Engine().InFlight() == 0 })
}

func TestMaxConnections(t *testing.T) {
	hold := make(chan struct{})
	arm := startArm(t, "a", func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			<-hold
		}
	})
	s := start(t, []ArmSpec{arm.spec("")}, func(p *Proxy) { p.Limits.Connections = 2 })
	busy := s.dial(t)
	io.WriteString(busy, "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
	eventually(t, "one is in use", func() bool { return arm.seen.Load() == 1 })
	idle := s.dial(t)
	eventually(t, "one is idle", func() bool { return s.Engine().Door.Open() == 2 })
	next := s.dial(t) // the idle one makes room
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the idle one: %v", err)
	}
	io.WriteString(next, "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
	eventually(t, "two are in use", func() bool { return arm.seen.Load() == 2 })
	last := s.dial(t)
	if _, err := last.Read(make([]byte, 1)); err == nil {
		t.Error("one too many was let in")
	}
	close(hold)
	for _, c := range []net.Conn{busy, next} {
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 200 {
			t.Errorf("in use: %v", err)
		}
	}
	if got := s.metric(t, "connections_rejected_total", "reason=evicted") + s.metric(t, "connections_rejected_total", "reason=max_connections"); got != 2 {
		t.Errorf("counted %v", got)
	}
}

func TestMaxRequests(t *testing.T) {
	hold := make(chan struct{})
	arm := startArm(t, "a", func(http.ResponseWriter, *http.Request) { <-hold })
	s := start(t, []ArmSpec{arm.spec("")}, func(p *Proxy) { p.Limits.Requests = 1 })
	c := s.dial(t)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	eventually(t, "one is in flight", func() bool { return arm.seen.Load() == 1 })
	if r := s.do(t, client(t), "GET", "/", ""); r.code != 503 || r.header.Get("Retry-After") == "" {
		t.Errorf("answered %+v", r)
	}
	close(hold)
}
