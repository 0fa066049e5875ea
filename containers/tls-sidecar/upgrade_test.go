package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

func TestWebSocket(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			io.WriteString(w, "not today")
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, text, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			conn.Write(r.Context(), kind, append([]byte("echo "), text...))
		}
	})
	s := start(t, app, nil)
	ctx := within(t)
	conn, _, err := websocket.Dial(ctx, s.url("/ws"), &websocket.DialOptions{HTTPClient: s.client(t, 1, nil)})
	check(t, err)
	defer conn.CloseNow()
	for _, word := range []string{"one", "two", strings.Repeat("x", 20<<10)} {
		check(t, conn.Write(ctx, websocket.MessageText, []byte(word)))
		if _, got, err := conn.Read(ctx); err != nil || string(got) != "echo "+word {
			t.Errorf("got %.20q, %v", got, err)
		}
	}
	if n := s.inFlight(); n != 1 {
		t.Errorf("%d in flight while the tunnel is open", n)
	}
	check(t, conn.Close(websocket.StatusNormalClosure, ""))
	eventually(t, "the tunnel is gone", func() bool { return s.inFlight() == 0 && s.open() == 0 })
	if n := s.metric(t, "requests_total", "code=101"); n != 1 {
		t.Errorf("counted %v upgrades", n)
	}

	t.Run("refused by the app", func(t *testing.T) {
		// The connection is still HTTP, and still guarded.
		s := start(t, app, impatient)
		ask := "GET /no HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
		c := s.dial(t, tlsConfig("http/1.1"))
		r := bufio.NewReader(c)
		for range 2 {
			io.WriteString(c, ask)
			resp, err := http.ReadResponse(r, nil)
			check(t, err)
			if got := string(must(io.ReadAll(resp.Body))); got != "not today" {
				t.Errorf("got %q", got)
			}
		}
		io.WriteString(c, "GET /no HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		check(t, err)
		if resp.StatusCode != 400 {
			t.Errorf("then got %s, want 400", resp.Status)
		}
	})
}

// startUpgrader switches to any protocol that is asked for, or refuses to, and
// echoes bytes.
func startUpgrader(t *testing.T, agree bool) (addr string, asked func() []string) {
	var mu sync.Mutex
	var list []string
	addr = startApp(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		list = append(list, r.Header.Get("Upgrade"))
		mu.Unlock()
		if !agree || r.Header.Get("Upgrade") == "" {
			io.WriteString(w, "no")
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+r.Header.Get("Upgrade")+"\r\n\r\n")
		io.Copy(conn, rw)
		conn.(*net.TCPConn).CloseWrite()
	})
	return addr, func() []string { mu.Lock(); defer mu.Unlock(); return list }
}

// TestEarlyTunnelBytes: what a client sends on the heels of its upgrade is the
// tunnel's if the app agrees, and nobody's if not.
func TestEarlyTunnelBytes(t *testing.T) {
	const early = "\x00GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
	ask := "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	t.Run("agreed", func(t *testing.T) {
		app, _ := startUpgrader(t, true)
		s := start(t, app, nil)
		conn := s.dial(t, tlsConfig("http/1.1"))
		io.WriteString(conn, ask+early)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		check(t, err)
		if resp.StatusCode != 101 {
			t.Fatalf("got %s", resp.Status)
		}
		conn.CloseWrite()
		if got := string(must(io.ReadAll(r))); got != early {
			t.Errorf("echoed %q, want %q", got, early)
		}
	})
	t.Run("refused", func(t *testing.T) {
		app, asked := startUpgrader(t, false)
		s := start(t, app, impatient)
		if got := statusesOf(s.send(t, ask+early[1:])); got != "200" {
			t.Errorf("answered %q, want 200 and the end", got)
		}
		if n := len(asked()); n != 1 {
			t.Errorf("the app got %d requests", n)
		}
	})
}

// TestUpgradeOnlyAsAllowed: h2c would be a way around every check.
func TestUpgradeOnlyAsAllowed(t *testing.T) {
	app, asked := startUpgrader(t, true)
	s := start(t, app, impatient)
	for _, up := range []string{"h2c", "TLS/1.0", "websocket, h2c"} {
		got := s.send(t, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: "+up+"\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n")
		if statusesOf(got) != "200" {
			t.Errorf("%s: answered %q", up, got)
		}
	}
	if diff := cmp.Diff([]string{"", "", ""}, asked()); diff != "" {
		t.Errorf("the app was asked for (-want +got):\n%s", diff)
	}
}

// TestUnsolicitedSwitch: the app cannot make a tunnel that nobody asked for.
func TestUnsolicitedSwitch(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, _ := http.NewResponseController(w).Hijack()
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: evil\r\n\r\nhello")
	})
	both(t, func(t *testing.T, version int) {
		s := start(t, app, nil)
		if code, _ := get(t, s.client(t, version, nil), s.url("/")); code != http.StatusBadGateway {
			t.Errorf("got %d, want 502", code)
		}
	})
}

func TestTunnelTimeout(t *testing.T) {
	app, _ := startUpgrader(t, true)
	s := start(t, app, func(p *Proxy) { p.Limits.Tunnel = 100 * time.Millisecond })
	conn := s.dial(t, tlsConfig("http/1.1"))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	began := time.Now()
	if got := statusesOf(readAll(conn)); got != "101" {
		t.Errorf("answered %q", got)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("an idle tunnel was held for %s", took)
	}
}

// TestTunnelMayStall: in a tunnel silence is no fault, nor is a client that
// does not read for a while.
func TestTunnelMayStall(t *testing.T) {
	const size = 16 << 20 // more than the kernel holds
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		conn.Write(make([]byte, size))
	})
	s := start(t, app, func(p *Proxy) { p.Limits.Send = 50 * time.Millisecond })
	conn := s.dial(t, tlsConfig("http/1.1"))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(conn)
	must(http.ReadResponse(r, nil))
	<-time.After(200 * time.Millisecond) // time enough to be wrong
	if n, err := io.Copy(io.Discard, r); n != size {
		t.Errorf("got %d of %d bytes (%v)", n, size, err)
	}
}
