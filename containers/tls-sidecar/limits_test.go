package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestSlowClients: none of them holds its place longer than its limit.
func TestSlowClients(t *testing.T) {
	app := startWireApp(t)
	s := start(t, app.addr, func(p *Proxy) {
		p.Limits.Handshake = 100 * time.Millisecond
		p.Limits.Header = 100 * time.Millisecond
		p.Limits.Body = 100 * time.Millisecond
		p.Limits.Idle = 100 * time.Millisecond
	})
	t.Run("hello", func(t *testing.T) {
		conn := must(net.Dial("tcp", s.addr))
		defer conn.Close()
		conn.Write([]byte{0x16, 0x03})
		conn.SetDeadline(time.Now().Add(patience))
		if got := readAll(conn); got != "" {
			t.Errorf("answered %q", got)
		}
		eventually(t, "counted", func() bool { return s.metric(t, "handshakes_total", "result=timeout") == 1 })
	})
	for name, text := range map[string]string{
		"silence":      "",
		"request line": "GET /",
		"header":       "GET / HTTP/1.1\r\nHost: loc",
		"second head":  "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /",
	} {
		t.Run(name, func(t *testing.T) {
			conn := s.dial(t, tlsConfig("http/1.1"))
			io.WriteString(conn, text)
			began := time.Now()
			got := readAll(conn)
			if took := time.Since(began); took > patience/2 {
				t.Errorf("held for %s", took)
			}
			if strings.Contains(got, "200") != (name == "second head") {
				t.Errorf("answered %q", got)
			}
		})
	}
	t.Run("drip", func(t *testing.T) {
		// Each byte in time, the whole head not.
		conn := s.dial(t, tlsConfig("http/1.1"))
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
		ticks := time.NewTicker(20 * time.Millisecond)
		defer ticks.Stop()
		for range ticks.C {
			if _, err := io.WriteString(conn, "a"); err != nil {
				break
			}
		}
	})
	for _, kind := range []string{"Content-Length: 10", "Transfer-Encoding: chunked"} {
		t.Run("body by "+kind, func(t *testing.T) {
			conn := s.dial(t, tlsConfig("http/1.1"))
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: localhost\r\n"+kind+"\r\n\r\n5\r\nab")
			began := time.Now()
			if got := statusesOf(readAll(conn)); got != "408" {
				t.Errorf("answered %q, want 408", got)
			}
			if took := time.Since(began); took > patience/2 {
				t.Errorf("held for %s", took)
			}
		})
	}
	if seen := app.seen(); len(seen) != 1 {
		t.Errorf("the app saw %q", seen)
	}
}

// TestNotTLS: who does not speak TLS is told so if that can be done, and is
// counted by what it did.
func TestNotTLS(t *testing.T) {
	app := startWireApp(t)
	s := start(t, app.addr, nil)
	tests := []struct{ name, text, want, result string }{
		{"plain HTTP", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "400", "plain_http"},
		{"garbage", "\x00\x01\x02\x03\x04\x05\x06\x07", "", "not_tls"},
		{"SSH", "SSH-2.0-OpenSSH_9\r\n", "", "not_tls"},
		{"nothing", "", "", "closed"},
		{"huge record", "\x16\x03\x01\xff\xff" + strings.Repeat("a", 1<<16), "", "not_tls"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := must(net.Dial("tcp", s.addr))
			defer conn.Close()
			before := s.metric(t, "handshakes_total", "result="+tt.result)
			conn.SetDeadline(time.Now().Add(patience))
			io.WriteString(conn, tt.text)
			conn.(*net.TCPConn).CloseWrite()
			if got := statusesOf(readAll(conn)); got != tt.want {
				t.Errorf("answered %q, want %q", got, tt.want)
			}
			eventually(t, fmt.Sprintf("counted as %s", tt.result), func() bool {
				return s.metric(t, "handshakes_total", "result="+tt.result) == before+1
			})
		})
	}
	if seen := app.seen(); len(seen) != 0 {
		t.Errorf("the app saw %q", seen)
	}
}

// TestMaxRequests: many streams on few connections are bounded too.
func TestMaxRequests(t *testing.T) {
	both(t, func(t *testing.T, version int) {
		g := startGate(t)
		s := start(t, g.addr, func(p *Proxy) { p.Limits.Requests = 2 })
		c := s.client(t, version, nil)
		answers := make(chan int, 2)
		for range 2 {
			go func() {
				resp := must(c.Get(s.url("/")))
				resp.Body.Close()
				answers <- resp.StatusCode
			}()
			<-g.came
		}
		if code, _ := get(t, c, s.url("/")); code != 503 {
			t.Errorf("a third got %d, want 503", code)
		}
		close(g.open)
		if a, b := <-answers, <-answers; a != 200 || b != 200 {
			t.Errorf("the first two got %d and %d", a, b)
		}
		if code, _ := get(t, c, s.url("/")); code != 200 {
			t.Errorf("afterwards got %d", code)
		}
	})
}

// TestMaxConnections: who is in use stays, and who comes then is turned away.
func TestMaxConnections(t *testing.T) {
	tests := []struct {
		name string
		mode func(*Proxy)
	}{{"http", func(p *Proxy) {}}, {"tcp", inTCPMode(nil)}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := startGate(t)
			s := start(t, g.addr, func(p *Proxy) { tt.mode(p); p.Limits.Connections = 2 })
			var busy []*tls.Conn
			for range 2 {
				conn := s.dial(t, tlsConfig("http/1.1"))
				io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
				<-g.came
				busy = append(busy, conn)
			}
			if conn, err := s.tryDial(tlsConfig()); err == nil {
				conn.Close()
				t.Error("a third connection was let in")
			}
			if n := s.metric(t, "connections_rejected_total", "reason=max_connections"); n != 1 {
				t.Errorf("counted %v rejections, want 1", n)
			}
			close(g.open)
			for _, conn := range busy {
				if got := statusesOf(readAll(conn)); got != "200" {
					t.Errorf("one that was in use got %q", got)
				}
				conn.Close()
			}
			eventually(t, "a place is given to another", func() bool { return pingsHTTP(s) })
		})
	}
}

func pingsHTTP(s *sidecar) bool {
	conn, err := s.tryDial(tlsConfig("http/1.1"))
	if err != nil {
		return false
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	return statusesOf(readAll(conn)) == "200"
}

// TestIdleMakesRoom: idle connections of every kind go, the idlest first.
func TestIdleMakesRoom(t *testing.T) {
	app := startWireApp(t)
	s := start(t, app.addr, func(p *Proxy) { p.Limits.Connections = 4 })
	silent := must(net.Dial("tcp", s.addr))
	defer silent.Close()
	eventually(t, "one is open", func() bool { return s.open() == 1 })
	fresh := s.dial(t, tlsConfig("http/1.1"))
	used := s.dial(t, tlsConfig("http/1.1"))
	io.WriteString(used, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	must(used.Read(make([]byte, 1<<10)))
	// The client may have its answer before the server has noted the end.
	eventually(t, "three are idle", func() bool { return s.door.Waiting() == 3 })
	second := s.h2(t)
	if got := second.ask([][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/"}}, ""); got != "200" {
		t.Fatalf("HTTP/2 answered %q", got)
	}
	eventually(t, "all are idle", func() bool { return s.door.Waiting() == 4 })
	for i, old := range []net.Conn{silent, fresh, used, second.conn} {
		if !pingsHTTP(s) {
			t.Errorf("no room, %d", i)
		}
		eventually(t, "its place is free", func() bool { return s.open() == 3 })
		// Somebody idle again in it.
		s.dial(t, tlsConfig("http/1.1"))
		old.SetDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, old); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the idlest, %d, is still there", i)
		}
	}
	if n := s.metric(t, "connections_rejected_total", "reason=evicted"); n != 4 {
		t.Errorf("counted %v, want 4", n)
	}
}
