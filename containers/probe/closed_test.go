package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// outcome is what of an answer does not depend on the clock.
type outcome struct {
	Connections, Done int
	Bytes             int64
	Errors            map[errorKind]int
}

func outcomeOf(a closedAnswer) outcome { return outcome{a.Connections, a.Done, a.Bytes, a.Errors} }

func TestHandshakes(t *testing.T) {
	ca := newAuthority(t)
	var resumed atomic.Int32
	s := ca.httpsServer(http.NotFoundHandler(), func(s *httptest.Server) {
		s.TLS.VerifyConnection = func(cs tls.ConnectionState) error {
			if cs.DidResume || cs.Version != tls.VersionTLS13 || cs.CurveID != tls.X25519 {
				resumed.Add(1)
			}
			return nil
		}
	})
	to := strings.TrimPrefix(s.URL, "https://")
	a := ask[closedAnswer](t, "handshakes", "-connections", "3", "-requests", "4", "-ca", ca.pem, to)
	if diff := cmp.Diff(outcome{3, 12, 0, map[errorKind]int{}}, outcomeOf(a)); diff != "" {
		t.Errorf("%q:\n%s", a.First, diff)
	}
	if resumed.Load() != 0 || a.Latency.P50 <= 0 || a.Latency.P99 < a.Latency.P50 || a.Seconds <= 0 || a.CPU <= 0 {
		t.Errorf("%d handshakes were not full ones of TLS 1.3 with X25519; %+v", resumed.Load(), a)
	}
	// A duration ends it as well.
	if a := ask[closedAnswer](t, "handshakes", "-connections", "2", "-duration", "50ms", "-insecure", to); a.Done < 2 || a.Seconds < 0.05 {
		t.Errorf("by time: %+v", a)
	}
	// Errors: each worker ends with its first.
	var tried atomic.Int32
	for _, c := range []struct {
		name, to string
		flag     []string
		want     outcome
	}{
		{"refused", closedPort(t), nil, outcome{2, 0, 0, map[errorKind]int{refused: 2}}},
		{"not trusted", to, nil, outcome{2, 0, 0, map[errorKind]int{tlsFailed: 2}}},
		{"no TLS", serve(t, func(c net.Conn) { tried.Add(1); io.WriteString(c, "hello, this is not TLS at all\n") }), []string{"-insecure"}, outcome{2, 0, 0, map[errorKind]int{tlsFailed: 2}}},
	} {
		a := ask[closedAnswer](t, append(append([]string{"handshakes", "-connections", "2", "-requests", "5"}, c.flag...), c.to)...)
		if diff := cmp.Diff(c.want, outcomeOf(a)); diff != "" || len(a.First) != 2 {
			t.Errorf("%s: %q:\n%s", c.name, a.First, diff)
		}
	}
	if n := tried.Load(); n != 2 {
		t.Errorf("two workers tried %d times where each had an error at once", n)
	}
}

func TestTransfer(t *testing.T) {
	const down, up = 300000, 200000
	var mu sync.Mutex
	from := map[string]int{}
	var short atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		mu.Lock()
		from[fmt.Sprintf("%s %s %d %s", r.RemoteAddr, r.Method, n, r.Header.Get("Range"))]++
		mu.Unlock()
		if short.Load() {
			io.WriteString(w, "short")
			return
		}
		w.Write(make([]byte, down))
	}))
	defer s.Close()
	args := []string{"transfer", "-connections", "2", "-requests", "3", "-down", fmt.Sprint(down), "-data-size", fmt.Sprint(up), "-header", "Range: x", s.URL}
	a := ask[closedAnswer](t, args...)
	if diff := cmp.Diff(outcome{2, 6, 6 * (down + up), map[errorKind]int{}}, outcomeOf(a)); diff != "" {
		t.Errorf("%q:\n%s", a.First, diff)
	}
	if len(from) != 2 {
		t.Errorf("want two connections with one method and size: %v", from)
	}
	for key, n := range from {
		if n != 3 || !strings.HasSuffix(key, " POST 200000 x") {
			t.Errorf("%d of %q", n, key)
		}
	}
	short.Store(true)
	a = ask[closedAnswer](t, args...)
	if diff := cmp.Diff(outcome{2, 0, 0, map[errorKind]int{otherKind: 2}}, outcomeOf(a)); diff != "" || !strings.Contains(a.First[0], "5 bytes, not 300000") {
		t.Errorf("a short answer: %q:\n%s", a.First, diff)
	}
}

func TestIdle(t *testing.T) {
	ca := newAuthority(t)
	var asked atomic.Int32
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		io.WriteString(w, "the end")
	})
	plain := httptest.NewServer(page)
	defer plain.Close()
	secure := ca.httpsServer(page, nil)
	for _, c := range []struct {
		name string
		args []string
	}{
		{"plain", []string{strings.TrimPrefix(plain.URL, "http://")}},
		{"TLS", []string{"-tls", "-ca", ca.pem, strings.TrimPrefix(secure.URL, "https://")}},
	} {
		asked.Store(0)
		p := start(t, append([]string{"idle", "-n", "70", "-send", `GET / HTTP/1.1\r\nHost: x\r\n\r\n`, "-expect", "the end"}, c.args...)...)
		if diff := cmp.Diff(opened{"open", 70}, decode[opened](t, p.line())); diff != "" {
			t.Errorf("%s: first line:\n%s", c.name, diff)
		}
		if n := asked.Load(); n != 70 {
			t.Errorf("%s: the server answered %d", c.name, n)
		}
		p.stop()
		a := decode[closedAnswer](t, p.line())
		if diff := cmp.Diff(outcome{70, 70, 0, map[errorKind]int{}}, outcomeOf(a)); diff != "" {
			t.Errorf("%s: %q:\n%s", c.name, a.First, diff)
		}
		if code := <-p.exited; code != 0 {
			t.Errorf("%s: exit code %d", c.name, code)
		}
	}
}

// TestIdleDropped: connections that the peer has closed meanwhile are not counted.
func TestIdleDropped(t *testing.T) {
	drop, dropped := make(chan struct{}), make(chan struct{}, 10)
	var n atomic.Int32
	addr := serve(t, func(c net.Conn) {
		bufio.NewReader(c).ReadString('\n')
		io.WriteString(c, "+PONG\r\n")
		if n.Add(1) > 4 {
			<-drop
			c.Close()
			dropped <- struct{}{}
			return
		}
		io.Copy(io.Discard, c)
	})
	p := start(t, "idle", "-n", "10", "-send", `PING\r\n`, "-expect", `PONG\r\n`, addr)
	decode[opened](t, p.line())
	close(drop)
	for range 6 {
		<-dropped // closed on this machine, so the kernel has told the other side
	}
	p.stop()
	if a := decode[closedAnswer](t, p.line()); a.Done != 4 {
		t.Errorf("%d of 10 kept, want 4", a.Done)
	}
}

// TestIdleUnanswered: what never comes, and what ends first.
func TestIdleUnanswered(t *testing.T) {
	silent := serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	ends := serve(t, func(c net.Conn) { bufio.NewReader(c).ReadString('\n'); io.WriteString(c, "-ERR no\r\n") })
	for _, c := range []struct {
		name, to string
		timeout  string
		want     errorKind
	}{
		{"silent", silent, "200ms", timedOut},
		{"ends", ends, "30s", closed},
		{"refused", closedPort(t), "30s", refused},
	} {
		a := ask[closedAnswer](t, "idle", "-n", "1", "-timeout", c.timeout, "-send", `PING\r\n`, "-expect", "PONG", c.to)
		if diff := cmp.Diff(outcome{1, 0, 0, map[errorKind]int{c.want: 1}}, outcomeOf(a)); diff != "" {
			t.Errorf("%s: %q:\n%s", c.name, a.First, diff)
		}
	}
}
