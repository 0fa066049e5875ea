package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"distlab/containers/shard-ambassador/pool"
)

// strict ejects at the first failure: a test that nothing counts as one.
func strict(p *pool.Pool, _ *Server) {
	p.AutoEjectHosts, p.ServerFailureLimit, p.ServerRetryTimeout = true, 1, time.Hour
}

// innocent checks that no shard has been blamed.
func (r *rig) innocent() {
	r.t.Helper()
	for i := range r.shards {
		if s := r.shard(i); s.Ejections > 0 || s.Errors[ErrConnect]+s.Errors[ErrReply]+s.Errors[ErrBroken]+s.Errors[ErrClosed] > 0 {
			r.t.Errorf("shard %d is blamed: %+v", i, s.Errors)
		}
	}
}

// Another protocol's connection ends at its first line: what comes after it is executed by nobody.
func TestForeign(t *testing.T) {
	r := newRig(t, 1, nil)
	inputs := []string{
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\nSET ssrf 1\r\n",
		"GET / HTTP/1.1\r\nX: y\r\n\r\nSET ssrf 1\r\n",
		"DELETE /x HTTP/1.0\r\n\r\nSET ssrf 1\r\n",
		"hOsT: x\r\nSET ssrf 1\r\n",
		"*1\r\n$4\r\nPOST\r\n*3\r\n$3\r\nSET\r\n$4\r\nssrf\r\n$1\r\n1\r\n",
		"set k 0 60 12\r\nSET ssrf 1\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\r\nSET ssrf 1\r\n",
	}
	for _, in := range inputs {
		c := r.dial()
		c.send("GET echo:before")
		io.WriteString(c, in)
		if got := c.reply(); got != "echo:before" {
			t.Errorf("%.20q: before it came %q", in, got)
		}
		c.closed()
	}
	if got := r.dial().ask("GET ssrf"); got != "(nil)" {
		t.Errorf("executed: %q", got)
	}
	if got := r.srv.Snapshot()[0].Foreign; got != uint64(len(inputs)) {
		t.Errorf("%d counted, want %d", got, len(inputs))
	}
	for range 50 {
		c := r.dial()
		io.WriteString(c, inputs[0])
		c.closed()
	}
	said := 0
	for len(r.log.w) > 0 {
		if line := <-r.log.w; strings.Contains(line, "not RESP but") {
			if said++; !strings.Contains(line, `"client":"127.0.0.1:`) {
				t.Errorf("who was it? %s", line)
			}
		}
	}
	if said == 0 || said > 2*sayTimes {
		t.Errorf("%d lines in the log", said)
	}
}

// A server that does not know RESP3 serves all who do not ask for it, whoever does.
func TestServerWithoutRESP3(t *testing.T) {
	r := newRig(t, 2, strict)
	r.shards[1].old.Store(true)
	a, b, old := r.dial(), r.keyOf(0, 1), r.keyOf(1, 1)
	modern := r.dial()
	modern.ask("HELLO 3")
	for range 3 {
		if got := modern.ask("GET " + old); !strings.Contains(got, "unknown command `HELLO`") && !strings.Contains(got, "login") {
			t.Errorf("got %q", got)
		}
		if got := a.ask("GET " + old); got != old {
			t.Errorf("who does not ask for RESP3 gets %q", got)
		}
	}
	if got := modern.ask("GET " + b); got != b {
		t.Errorf("the other server: %q", got)
	}
	r.innocent()
	// Who comes now hears of it, as of any Redis that does not know it: libraries fall back.
	eventually(t, "refused", func() bool {
		modern.ask("GET " + old)
		return strings.HasPrefix(r.dial().ask("HELLO 3"), "NOPROTO")
	})
	if got := a.ask("HELLO 2"); got != "[server redis version 8.0.0 proto :2 id :1 mode standalone role master modules []]" {
		t.Errorf("HELLO 2: %q", got)
	}
	// A newer server in its place is asked anew.
	r.shards[1].old.Store(false)
	r.shards[1].cut()
	eventually(t, "RESP3", func() bool {
		a.ask("GET " + old)
		c := r.dial()
		return strings.HasPrefix(c.ask("HELLO 3"), "%") && c.ask("GET "+old) == old
	})
	if s := r.shard(1); s.Ejections > 0 {
		t.Errorf("%+v", s)
	}
}

// What a server says about a request, or what somebody's request has done to it, is no reason to take it from all.
func TestRepliesThatEject(t *testing.T) {
	for _, tt := range []struct {
		reply string
		eject bool
	}{
		{"LOADING Redis is loading the dataset in memory", true},
		{"BUSY Redis is busy running a script", false},
		{"OOM command not allowed when used memory > 'maxmemory'", false},
		{"MISCONF Redis is configured to save RDB snapshots", false},
		{"NOREPLICAS Not enough good replicas to write", false},
		{"READONLY You can't write against a read only replica", false},
		{"NOAUTH Authentication required", false},
		{"WRONGTYPE Operation against a key", false},
		{"ERR LOADING is only a word here", false},
		{"LOADINGS", false},
	} {
		t.Run(tt.reply, func(t *testing.T) {
			r := newRig(t, 1, strict)
			r.shards[0].refuse.Store(tt.reply)
			if got := r.dial().ask("GET echo:1"); got != tt.reply {
				t.Errorf("the client gets %q", got)
			}
			if got := r.shard(0); got.Ejected != tt.eject {
				t.Errorf("ejected %t, want %t", got.Ejected, tt.eject)
			}
		})
	}
}

// A server that refuses one client's large request, and ends its connection, is there for the others.
func TestRefusedUpload(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					if line == "$5000000\r\n" {
						io.WriteString(conn, "-ERR Protocol error: invalid bulk length\r\n")
						return
					}
					if strings.HasPrefix(line, "echo:") {
						io.WriteString(conn, bulk(strings.TrimSpace(line)))
					}
				}
			}()
		}
	}()
	r := newRig(t, 1, func(p *pool.Pool, s *Server) {
		strict(p, s)
		p.Servers[0].Addr.Address = ln.Addr().String()
	})
	for range 5 {
		c := r.dial()
		go fmt.Fprintf(c, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5000000\r\n%s\r\n", strings.Repeat("x", 5_000_000))
		if got := c.reply(); !strings.HasPrefix(got, "ERR ") {
			t.Errorf("got %q", got)
		}
	}
	if got := r.dial().ask("GET echo:1"); got != "echo:1" {
		t.Errorf("got %q", got)
	}
	r.innocent()
}

// What this machine lacks is no server's fault. The request fails, and the next one may not.
func TestLocalFailure(t *testing.T) {
	r := newRig(t, 1, strict)
	c := r.dial()
	w := r.srv.workers[0]
	for range 3 {
		r.srv.do(w, func() {
			// As if the system had no descriptor for the attempt that a client has begun.
			b := w.pools["test"].shards[0].conns[0][0]
			b.close()
			b.shard.dialAt[0] = 0
			b.connect()
			b.attempt.Stop()
			b.pending.push(entry{part: -1})
			b.dialed(-1, syscall.EMFILE)
		})
	}
	if s := r.shard(0); s.Errors[ErrLocal] != 3 || s.Ejected {
		t.Errorf("%+v", s)
	}
	c.until("echo:1", "echo:1")
	r.innocent()
}

// A server is found at any of its addresses, and again when it has moved.
func TestServerOfSeveralAddresses(t *testing.T) {
	r := newRig(t, 1, func(p *pool.Pool, s *Server) {
		strict(p, s)
		s.ResolvePeriod = time.Hour
		_, port, _ := net.SplitHostPort(p.Servers[0].Addr.Address)
		p.Servers[0].Addr.Address = "redis-a:" + port
	})
	nobody, here := netip.MustParseAddr("127.0.0.77"), netip.MustParseAddr("127.0.0.1")
	r.srv.names.Lookup = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.IPv6Loopback(), nobody, here}, nil
	}
	if got := r.dial().ask("GET echo:1"); got != "echo:1" {
		t.Errorf("got %q", got)
	}
	r.innocent()
}

func TestRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lines{make(chan string, 1000)}
		log := slog.New(slog.NewTextHandler(l, nil))
		var r rarely
		for range 100 {
			r.warn(log, "one")
		}
		r.warn(log, "other")
		if got := len(l.w); got != sayTimes+1 {
			t.Errorf("%d lines, want %d", got, sayTimes+1)
		}
		for len(l.w) > 0 {
			<-l.w
		}
		time.Sleep(sayPeriod)
		r.warn(log, "one")
		if line := <-l.w; !strings.Contains(line, "left_out=95") {
			t.Errorf("%s", line)
		}
	})
}
