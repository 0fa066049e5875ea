package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
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

// TestHostile sends what two parsers could read in two ways, with a second
// request hidden in it. No arm must see any of it, and the splitter go on. The
// same holds where HTTP/2 is spoken beside HTTP/1.
func TestHostile(t *testing.T) {
	const hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
	post := func(headers, body string) string {
		return "POST /a HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n" + body
	}
	tests := []struct{ name, text, want string }{
		{"both lengths", post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+hidden), "400"},
		{"both lengths, other order", post("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", "0\r\n\r\n"+hidden), "400"},
		{"two lengths", post("Content-Length: 0\r\nContent-Length: 44\r\n", hidden), "400"},
		{"folded", post("X: a\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n"+hidden), "400"},
		{"xchunked", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"+hidden), "400"},
		{"white space before colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"+hidden), "400"},
		{"chunked in 1.0", "POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, "400"},
		{"bare line feeds", "GET /a HTTP/1.1\nHost: localhost\n\n" + hidden, "400"},
		{"NUL", post("X: a\x00b\r\n", ""), "400"},
		{"signed length", post("Content-Length: +0\r\n", hidden), "400"},
		{"two hosts", "GET /a HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", "400"},
		{"no host", "GET /a HTTP/1.1\r\n\r\n", "400"},
		{"host with a path", "GET /a HTTP/1.1\r\nHost: localhost/evil\r\n\r\n", "400"},
		{"user in target", "GET http://me:pw@localhost/a HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		{"no path", "GET a HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		{"CONNECT", "CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n", "405"},
		{"TRACE", "TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", "405"},
		{"garbage", "\x16\x03\x01\x00\x05hello\r\n\r\n", "400"},
		{"large head", "GET /a HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "431"},
		{"many headers", "GET /a HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("A: b\r\n", 10<<10) + "\r\n", "431"},
		{"other expectation", post("Expect: tea\r\n", ""), "417"},
		{"a good one first", post("Content-Length: 3\r\n", "abc") + "GET /bad HTTP/1.1\r\nA : b\r\n\r\n", "200 400"},
		{"upgrade to h2c", "GET /up HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", "200"},
	}
	for _, h2c := range []bool{false, true} {
		arm := startWireArm(t)
		s := start(t, arm.spec(), func(p *Proxy) {
			impatient(p)
			p.Limits.HeaderBytes = 8 << 10
			p.H2C = h2c
		})
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s, h2c %v", tt.name, h2c), func(t *testing.T) {
				before := len(arm.seen())
				if got := s.send(t, tt.text); got != tt.want {
					t.Errorf("answered %q, want %q", got, tt.want)
				}
				seen := arm.seen()[before:]
				if len(seen) != strings.Count(tt.want, "200") {
					t.Errorf("the arm saw %q", seen)
				}
				if all := strings.Join(seen, ""); strings.Contains(all, "hidden") || strings.Contains(all, "Upgrade") {
					t.Errorf("the arm saw %q", seen)
				}
			})
		}
		if n := s.metric(t, "requests_refused_total", "reason=framing"); n < 8 {
			t.Errorf("counted %v refusals", n)
		}
	}
}

// A body that breaks a rule in the middle must not get an end that the client
// did not send.
func TestHostileChunks(t *testing.T) {
	arm := startWireArm(t)
	s := start(t, arm.spec(), impatient)
	head := "POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
	for _, rest := range []string{
		"3\nabc\r\n0\r\n\r\n", "3 ;x\r\nabc\r\n0\r\n\r\n", "2\r\nabc\r\n0\r\n\r\n", "-1\r\nabc\r\n0\r\n\r\n", "0\r\nContent-Length: 5\r\n\r\n",
	} {
		if got := s.send(t, head+rest); got != "400" {
			t.Errorf("%q: answered %q", rest, got)
		}
		if seen := arm.seen(); len(seen) != 0 {
			t.Fatalf("%q: the arm saw %q", rest, seen)
		}
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
