package main

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const limit = 200 * time.Millisecond

// check asks a server through a Health, as the program does.
func check(t *testing.T, s *Server, q Question) (Report, time.Duration) {
	t.Helper()
	h := &Health{Name: "ready", Timeout: limit, Ask: func(ctx context.Context) (Finding, error) { return s.Ask(ctx, q) }}
	begun := time.Now()
	r := h.Get(t.Context())
	return r, time.Since(begun)
}

// eventually waits for a condition, for long enough on any machine.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !so(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func one(value any) func(string) [][]any {
	return func(string) [][]any { return [][]any{{"x"}, {value}} }
}

// TestBroken: whatever is wrong with a server, the answer comes within the time, says why in words of ours alone, and
// leaves no connection behind.
func TestBroken(t *testing.T) {
	for _, tt := range []struct {
		name   string
		serve  func(net.Conn)
		tls    *tls.Config
		query  Question
		reason string
	}{
		{name: "accepts and is silent", serve: silent, reason: "no answer within 200ms"},
		{name: "closes at once", serve: func(net.Conn) {}, reason: "the server closed the connection"},
		{name: "half a head", serve: says("\x05"), reason: "no answer within 200ms"},
		{name: "HTTP", serve: says("HTTP/1.1 200 OK\r\n\r\n"), reason: ""},
		{name: "an empty packet", serve: says("\x00\x00\x00\x00"), reason: ""},
		{name: "a short handshake", serve: says("\x02\x00\x00\x00\x0a8"), reason: ""},
		{name: "too many connections", serve: (&minimal{refuse: 1040}).serve, reason: "too many connections (error 1040)"},
		{name: "wrong password", serve: (&minimal{login: 1045}).serve, reason: "login refused: wrong user or password (error 1045)"},
		{name: "blocked", serve: (&minimal{refuse: 1129}).serve, reason: "this host is blocked after too many errors (error 1129)"},
		{name: "no TLS", serve: (&minimal{}).serve, tls: &tls.Config{InsecureSkipVerify: true}, reason: "tls: the server does not speak it"},
		{name: "hangs in the query", serve: (&minimal{answer: func(string) [][]any { return [][]any{{hang{}}} }}).serve, reason: "no answer within 200ms"},
		{name: "an unknown error", serve: (&minimal{answer: func(string) [][]any { return [][]any{{uint16(4711)}} }}).serve, reason: "the server reports an error (error 4711)"},
		{name: "read-only for a write", serve: (&minimal{answer: func(string) [][]any { return [][]any{{uint16(1290)}} }}).serve, reason: "the server is read-only (error 1290)"},
		{name: "no row", serve: (&minimal{answer: func(string) [][]any { return [][]any{{"x"}} }}).serve, reason: errNoRow.Error()},
		{name: "NULL", serve: (&minimal{answer: one(nil)}).serve, reason: errFalse.Error()},
		{name: "zero", serve: (&minimal{answer: one("0")}).serve, reason: errFalse.Error()},
		{
			name: "read-only", query: Question{Writable: true},
			serve: (&minimal{answer: func(string) [][]any { return [][]any{{"a", "b"}, {"1", "0"}} }}).serve, reason: errReadOnly.Error(),
		},
		{
			name: "read-only in words", query: Question{Writable: true},
			serve: (&minimal{answer: func(string) [][]any { return [][]any{{"a", "b"}, {"NO_LOCK", "0"}} }}).serve, reason: errReadOnly.Error(),
		},
		{
			name: "switches that it does not tell", query: Question{Writable: true},
			serve: (&minimal{answer: func(string) [][]any { return [][]any{{"a", "b"}, {nil, "0"}} }}).serve, reason: errNoSwitch.Error(),
		},
		{
			name: "no switches at all", query: Question{Writable: true},
			serve: (&minimal{answer: func(string) [][]any { return [][]any{{"a", "b"}} }}).serve, reason: errNoSwitch.Error(),
		},
		{
			name: "a statement's success for switches", query: Question{Writable: true},
			serve: (&minimal{answer: func(string) [][]any { return nil }}).serve, reason: errNoSwitch.Error(),
		},
		{
			name: "far behind", query: Question{MaxLag: time.Minute},
			serve:  (&minimal{answer: replica("Yes", "Yes", "61")}).serve,
			reason: "the replica is 1m1s behind, more than 1m0s",
		},
		{
			name: "may not see the replication", query: Question{MaxLag: time.Minute},
			serve:  (&minimal{answer: func(string) [][]any { return [][]any{{uint16(1227)}} }}).serve,
			reason: "the user lacks a privilege (error 1227)",
		},
		{
			name: "knows no replication", query: Question{MaxLag: time.Minute},
			serve:  (&minimal{answer: func(string) [][]any { return [][]any{{uint16(syntaxError)}} }}).serve,
			reason: "the server knows no command that shows its replication",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, tt.serve)
			if tt.query.Query == "" {
				tt.query.Query = "SELECT 1"
			}
			s := &Server{Addr: f.addr, User: "health", Password: "hunter2", TLS: tt.tls, MaxAge: time.Hour, Limit: limit}
			for range 5 {
				r, took := check(t, s, tt.query)
				if r.Up || r.Reason == "" || tt.reason != "" && r.Reason != tt.reason {
					t.Fatalf("got %+v, want down: %s", r, tt.reason)
				}
				if strings.Contains(r.Reason, "hunter2") || strings.Contains(r.Reason, "10.9.8.7") {
					t.Errorf("reason %q shows what the server sent", r.Reason)
				}
				if took > limit+2*time.Second { // the bound proper is in TestTimeout, where time stands still
					t.Errorf("took %s", took)
				}
			}
			eventually(t, "no connection left", func() bool { return f.open() == 0 })
		})
	}
}

func TestRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	if r, _ := check(t, &Server{Addr: addr}, Question{Query: "SELECT 1"}); r.Reason != "connection refused" {
		t.Errorf("got %+v", r)
	}
	if r, _ := check(t, &Server{Addr: "/no/such.sock"}, Question{Query: "SELECT 1"}); r.Reason != "no such socket" {
		t.Errorf("got %+v", r)
	}
}

// TestOneConnection: a healthy server sees one connection, and the queries that were set and no more.
func TestOneConnection(t *testing.T) {
	m := &minimal{answer: one("1")}
	f := newFake(t, m.serve)
	s := &Server{Addr: f.addr, User: "health", Password: "hunter2", MaxAge: time.Hour, Limit: limit}
	for range 20 {
		if r, _ := check(t, s, Question{Query: "SELECT 1"}); !r.Up {
			t.Fatalf("got %+v", r)
		}
	}
	if n := f.opened.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	asked := m.queries()
	for _, bound := range []string{"max_execution_time = 200", "lock_wait_timeout = 1,"} {
		if !slices.ContainsFunc(asked, func(q string) bool { return strings.Contains(q, bound) }) {
			t.Errorf("the server was not told %s: %q", bound, asked[:3])
		}
	}
	if n := len(asked); n != 22 {
		t.Errorf("%d queries, want 20 and the two that bound them", n)
	}
}

// TestReconnect: a kept connection that the server has closed is made anew within the same check.
func TestReconnect(t *testing.T) {
	f := newFake(t, (&minimal{answer: one("1")}).serve)
	var opened, closed int
	s := &Server{Addr: f.addr, MaxAge: time.Hour, Opened: func() { opened++ }, Closed: func() { closed++ }}
	for i := range 3 {
		if r, _ := check(t, s, Question{Query: "SELECT 1"}); !r.Up {
			t.Fatalf("check %d: %+v", i, r)
		}
		f.cut()
		eventually(t, "cut", func() bool { return f.open() == 0 })
	}
	if opened != 3 || closed != 2 {
		t.Errorf("%d opened and %d closed, want 3 and 2", opened, closed)
	}
}

// TestMaxAge: zero logs in for each check.
func TestMaxAge(t *testing.T) {
	f := newFake(t, (&minimal{answer: one("1")}).serve)
	s := &Server{Addr: f.addr}
	for range 3 {
		if r, _ := check(t, s, Question{Query: "SELECT 1"}); !r.Up {
			t.Fatalf("got %+v", r)
		}
	}
	if n := f.opened.Load(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
	eventually(t, "no connection left", func() bool { return f.open() == 0 })
}

// replica answers as a server with one channel.
func replica(io, sql, behind any) func(string) [][]any {
	return func(string) [][]any {
		return [][]any{{"Slave_IO_Running", "Slave_SQL_Running", "Seconds_Behind_Master"}, {io, sql, behind}}
	}
}

// TestLag: a replica within the bounds is healthy and says how far it is behind, by whichever command its server knows; and
// with each new login the server may be another.
func TestLag(t *testing.T) {
	knows := func(command string, answer [][]any) func(string) [][]any {
		return func(query string) [][]any {
			switch query {
			case command:
				return answer
			case "SELECT 1":
				return [][]any{{"x"}, {"1"}}
			}
			return [][]any{{uint16(syntaxError)}}
		}
	}
	two := [][]any{{"x", "Slave_IO_Running", "Slave_SQL_Running", "Seconds_Behind_Master"}, {"a", "Yes", "Yes", "3"}, {"b", "Yes", "Yes", "7"}}
	for _, command := range lagCommands {
		m := &minimal{answer: knows(command, two)}
		f := newFake(t, m.serve)
		s := &Server{Addr: f.addr, MaxAge: time.Hour}
		for range 2 {
			r, _ := check(t, s, Question{Query: "SELECT 1", MaxLag: time.Minute})
			if !r.Up || !r.Finding.Replica || r.Finding.Lag != 7*time.Second {
				t.Errorf("%s: got %+v", command, r)
			}
		}
		if n := len(m.queries()); n > len(lagCommands)+3 {
			t.Errorf("%s: %d queries: what it does not know is asked again", command, n)
		}
	}

	// An old MySQL becomes a MariaDB with a named connection that is broken, which the old command does not show.
	var now atomic.Pointer[func(string) [][]any]
	old := knows("SHOW SLAVE STATUS", [][]any{two[0]})
	now.Store(&old)
	f := newFake(t, (&minimal{answer: func(query string) [][]any { return (*now.Load())(query) }}).serve)
	s := &Server{Addr: f.addr, MaxAge: time.Hour}
	if r, _ := check(t, s, Question{Query: "SELECT 1", MaxLag: time.Minute}); !r.Up || r.Finding.Replica {
		t.Errorf("a server without sources: %+v", r)
	}
	maria := func(query string) [][]any {
		switch query {
		case "SHOW ALL SLAVES STATUS":
			return [][]any{two[0], {"src1", "Connecting", "Yes", nil}}
		case "SHOW REPLICA STATUS", "SHOW SLAVE STATUS":
			return [][]any{two[0]}
		}
		return [][]any{{"x"}, {"1"}}
	}
	now.Store(&maria)
	f.cut()
	eventually(t, "cut", func() bool { return f.open() == 0 })
	if r, _ := check(t, s, Question{Query: "SELECT 1", MaxLag: time.Minute}); r.Up || r.Reason != "the replication has stopped" {
		t.Errorf("after the upgrade: %+v", r)
	}
}

// TestKnock: an open port is all that it wants.
func TestKnock(t *testing.T) {
	f := newFake(t, silent)
	s := &Server{Addr: f.addr}
	if _, err := s.Knock(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "no connection left", func() bool { return f.open() == 0 })
}

// FuzzServer: no bytes that a server may send can hang a check, crash it, or get into its reason.
func FuzzServer(f *testing.F) {
	hello := greeting(false)
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add(append([]byte{byte(len(hello)), 0, 0, 0}, hello...))
	f.Add([]byte("\x02\x00\x00\x00\x0a8"))
	f.Add([]byte("\x03\x00\x00\x00\xff\x10\x04"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		srv := newFake(t, func(conn net.Conn) {
			conn.Write(sent)
			conn.(*net.TCPConn).CloseWrite()
			silent(conn)
		})
		s := &Server{Addr: srv.addr, User: "health", Password: "hunter2"}
		r, _ := check(t, s, Question{Query: "SELECT 1"})
		if strings.Contains(r.Reason, "hunter2") || !r.Up && r.Reason == "" {
			t.Errorf("got %+v", r)
		}
		eventually(t, "no connection left", func() bool { return srv.open() == 0 })
	})
}
