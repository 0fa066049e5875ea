package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// both runs a test over HTTP/1.1 and over HTTP/2.
func both(t *testing.T, f func(t *testing.T, version int)) {
	t.Run("HTTP/1.1", func(t *testing.T) { f(t, 1) })
	t.Run("HTTP/2", func(t *testing.T) { f(t, 2) })
}

func TestSameBytes(t *testing.T) {
	large := make([]byte, 3<<20)
	rand.Read(large)
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Path", r.RequestURI)
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.WriteHeader(http.StatusAccepted)
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	})
	both(t, func(t *testing.T, version int) {
		s := start(t, app, nil)
		c := s.client(t, version, nil)
		resp, err := c.Post(s.url("/a%2fb//c?x=1;y&%zz"), "application/octet-stream", bytes.NewReader(large))
		check(t, err)
		defer resp.Body.Close()
		if resp.ProtoMajor != version {
			t.Errorf("spoke %s", resp.Proto)
		}
		if resp.StatusCode != http.StatusAccepted || resp.Header.Get("X-Path") != "/a%2fb//c?x=1;y&%zz" {
			t.Errorf("got %s, path %q", resp.Status, resp.Header.Get("X-Path"))
		}
		if diff := cmp.Diff([]string{"a=1", "b=2"}, resp.Header["Set-Cookie"]); diff != "" {
			t.Errorf("cookies (-want +got):\n%s", diff)
		}
		if got := must(io.ReadAll(resp.Body)); !bytes.Equal(got, large) {
			t.Errorf("%d bytes came back, not the %d that were sent", len(got), len(large))
		}
		if n := s.metric(t, "requests_total", "code=202"); n != 1 {
			t.Errorf("counted %v requests", n)
		}
		if n := s.metric(t, "bytes_total", "direction=out"); n < float64(len(large)) {
			t.Errorf("counted %v bytes out", n)
		}
	})
}

// TestStreaming: each side hears what the other has said before it has ended.
func TestStreaming(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		control.EnableFullDuplex()
		w.WriteHeader(http.StatusOK)
		control.Flush()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintf(w, "echo %s\n", lines.Text())
			control.Flush()
		}
	})
	both(t, func(t *testing.T, version int) {
		s := start(t, app, nil)
		r, w := io.Pipe()
		req := must(http.NewRequestWithContext(within(t), "POST", s.url("/"), r))
		resp, err := s.client(t, version, nil).Do(req)
		check(t, err)
		defer resp.Body.Close()
		answers := bufio.NewReader(resp.Body)
		for _, word := range []string{"one", "two", "three"} {
			fmt.Fprintln(w, word)
			if got := must(answers.ReadString('\n')); got != "echo "+word+"\n" {
				t.Errorf("got %q", got)
			}
		}
		w.Close()
		if rest := must(io.ReadAll(answers)); len(rest) != 0 {
			t.Errorf("more came: %q", rest)
		}
	})
}

// TestEarlyParts: the parts of an answer arrive as they are made.
func TestEarlyParts(t *testing.T) {
	next := make(chan string)
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for part := range next {
			io.WriteString(w, part)
			http.NewResponseController(w).Flush()
		}
	})
	s := start(t, app, nil)
	resp := make(chan *http.Response, 1)
	go func() { resp <- must(s.client(t, 1, nil).Get(s.url("/"))) }()
	next <- "data: 1\n\n"
	body := (<-resp).Body
	defer body.Close()
	buf := make([]byte, 9)
	must(io.ReadFull(body, buf))
	next <- "data: 2\n\n"
	must(io.ReadFull(body, buf))
	if string(buf) != "data: 2\n\n" {
		t.Errorf("got %q", buf)
	}
	close(next)
}

func TestTrailers(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		body := must(io.ReadAll(r.Body))
		fmt.Fprintf(w, "%s %v", body, r.Trailer)
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"X-Late", "yes")
	})
	both(t, func(t *testing.T, version int) {
		s := start(t, app, nil)
		req := must(http.NewRequest("POST", s.url("/"), io.MultiReader(strings.NewReader("body"))))
		req.Trailer = http.Header{"X-Check": {"ok"}, "X-Forwarded-For": {"6.6.6.6"}}
		resp, err := s.client(t, version, nil).Do(req)
		check(t, err)
		defer resp.Body.Close()
		if got := string(must(io.ReadAll(resp.Body))); got != "body map[X-Check:[ok]]" {
			t.Errorf("the app got %q", got)
		}
		if diff := cmp.Diff(http.Header{"X-Sum": {"42"}, "X-Late": {"yes"}}, resp.Trailer); diff != "" {
			t.Errorf("trailers (-want +got):\n%s", diff)
		}
	})
}

func TestInformational(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		io.Copy(w, r.Body)
	})
	both(t, func(t *testing.T, version int) {
		s := start(t, app, nil)
		var hints []string
		continued := false
		ctx := httptrace.WithClientTrace(within(t), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if code == http.StatusEarlyHints {
					hints = append(hints, h.Get("Link"))
				}
				return nil
			},
			Got100Continue: func() { continued = true },
		})
		req := must(http.NewRequestWithContext(ctx, "POST", s.url("/"), strings.NewReader("hello")))
		req.Header.Set("Expect", "100-continue")
		c := s.client(t, version, nil)
		c.Transport.(*http.Transport).ExpectContinueTimeout = patience
		resp, err := c.Do(req)
		check(t, err)
		defer resp.Body.Close()
		if got := string(must(io.ReadAll(resp.Body))); got != "hello" || !continued {
			t.Errorf("got %q, 100 Continue %v", got, continued)
		}
		if diff := cmp.Diff([]string{"</style.css>; rel=preload"}, hints); diff != "" {
			t.Errorf("hints (-want +got):\n%s", diff)
		}
	})
	t.Run("HTTP/1.0", func(t *testing.T) {
		s := start(t, app, impatient)
		got := s.send(t, "GET / HTTP/1.0\r\n\r\n")
		if statusesOf(got) != "200" {
			t.Errorf("answered %q", got)
		}
	})
}

// TestKeepAlive: many requests take few connections to the app.
func TestKeepAlive(t *testing.T) {
	app := startWireApp(t)
	s := start(t, app.addr, nil)
	c := s.client(t, 1, nil)
	for range 20 {
		get(t, c, s.url("/"))
	}
	app.mu.Lock()
	defer app.mu.Unlock()
	if app.conns != 1 || s.accepted.Load() != 1 {
		t.Errorf("20 requests took %d connections to the app and %d to the sidecar", app.conns, s.accepted.Load())
	}
}

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
	if n := s.inFlight.Load(); n != 1 {
		t.Errorf("%d in flight while the tunnel is open", n)
	}
	check(t, conn.Close(websocket.StatusNormalClosure, ""))
	eventually(t, "the tunnel is gone", func() bool { return s.inFlight.Load() == 0 && s.open() == 0 })
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

func TestAppErrors(t *testing.T) {
	silent := must(net.Listen("tcp", "127.0.0.1:0"))
	defer silent.Close()
	away := must(net.Listen("tcp", "127.0.0.1:0"))
	away.Close()
	broken := startApp(t, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	garbage := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, _ := http.NewResponseController(w).Hijack()
		io.WriteString(conn, "hello\r\n\r\n")
		conn.Close()
	})
	tests := []struct {
		name, app, reason string
		want              int
	}{
		{"away", away.Addr().String(), "dial", 502},
		{"silent", silent.Addr().String(), "timeout", 504},
		{"broken off", broken, "broken", 502},
		{"not HTTP", garbage, "broken", 502},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			both(t, func(t *testing.T, version int) {
				var failed atomic.Int32
				s := start(t, tt.app, func(p *Proxy) {
					p.Limits.Response = 100 * time.Millisecond
					p.AppFailed = func(error) { failed.Add(1) }
				})
				code, text := get(t, s.client(t, version, nil), s.url("/"))
				if code != tt.want || !strings.HasPrefix(text, fmt.Sprint(tt.want)) {
					t.Errorf("got %d %q, want %d", code, text, tt.want)
				}
				if n := s.metric(t, "upstream_errors_total", "reason="+tt.reason); n != 1 {
					t.Errorf("counted %v as %s", n, tt.reason)
				}
				if (failed.Load() > 0) != (tt.reason == "dial") {
					t.Errorf("AppFailed was called %d times", failed.Load())
				}
			})
		})
	}
}

// TestCutAnswer: an answer that the app broke off must not look whole.
func TestCutAnswer(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	both(t, func(t *testing.T, version int) {
		s := start(t, app, nil)
		resp, err := s.client(t, version, nil).Get(s.url("/"))
		check(t, err)
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("read %q without an error", text)
		}
	})
}

// TestClientLeaves: the app hears of it, and nothing is left behind.
func TestClientLeaves(t *testing.T) {
	gone, came := make(chan struct{}, 2), make(chan struct{}, 2)
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		came <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	})
	both(t, func(t *testing.T, version int) {
		s := start(t, app, nil)
		ctx, cancel := context.WithCancel(within(t))
		done := make(chan error, 1)
		go func() {
			_, err := s.client(t, version, nil).Do(must(http.NewRequestWithContext(ctx, "GET", s.url("/"), nil)))
			done <- err
		}()
		<-came
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		<-gone
		eventually(t, "ended", func() bool { return s.metric(t, "requests_total", "code=499") == 1 })
	})
}

// TestStalledReader: a client that asks for much and reads nothing does not
// hold its place, nor the app's, for ever.
func TestStalledReader(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		chunk := make([]byte, 64<<10)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	s := start(t, app, func(p *Proxy) { p.Limits.Send = 200 * time.Millisecond })
	conn := s.dial(t, tlsConfig("http/1.1"))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	eventually(t, "in flight", func() bool { return s.inFlight.Load() == 1 })
	eventually(t, "cut", func() bool { return s.inFlight.Load() == 0 && s.open() == 0 })
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
