package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/coder/websocket"
)

func TestStream(t *testing.T) {
	whole, err := io.ReadAll(&Stream{Size: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(&Stream{Size: 1000}, whole); err != nil {
		t.Error(err)
	}
	// Labs compare these bytes: they must not change when the code does.
	if got, want := sum(string(whole)), "0795de7ac05ec9d8d4ad3e9f844b1d8d5d599009c355ace1768df7637f9f385f"; got != want {
		t.Errorf("SHA-256 of the first 1000 bytes %s, want %s", got, want)
	}
}

func TestBytes(t *testing.T) {
	s := open(t)
	resp, body := s.do(t, "GET", "/bytes?n=100000", nil)
	whole, _ := io.ReadAll(&Stream{Size: 100000})
	if body != string(whole) || resp.ContentLength != 100000 {
		t.Errorf("%d bytes, Content-Length %d", len(body), resp.ContentLength)
	}
	resp, body = s.do(t, "GET", "/bytes?n=100000", nil, "Range", "bytes=50003-50012")
	if resp.StatusCode != 206 || body != string(whole[50003:50013]) {
		t.Errorf("a range: %s, %d bytes", resp.Status, len(body))
	}
	if resp, body := s.do(t, "HEAD", "/bytes?n=1073741824", nil); resp.ContentLength != maxBytes || body != "" {
		t.Errorf("HEAD: %d, %d bytes", resp.ContentLength, len(body))
	}
	if resp, _ := s.do(t, "GET", "/bytes?n=1073741825", nil); resp.StatusCode != 400 {
		t.Errorf("too many: %s", resp.Status)
	}
}

// The first part comes before the delay is over, and the rest after it.
func TestSlowStreams(t *testing.T) {
	s := open(t)
	begin := time.Now()
	resp, err := http.Get("http://" + s.addr + "/slow?ms=300")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := bufio.NewReader(resp.Body)
	first, err := body.ReadString('\n')
	if err != nil || first != "Please wait 300 ms.\n" {
		t.Errorf("first part %q, %v", first, err)
	}
	if took := time.Since(begin); took >= 300*time.Millisecond {
		t.Errorf("the first part took %s", took)
	}
	rest, err := io.ReadAll(body)
	if err != nil || string(rest) != "Thank you for waiting.\n" {
		t.Errorf("rest %q, %v", rest, err)
	}
	if took := time.Since(begin); took < 300*time.Millisecond {
		t.Errorf("the rest took %s", took)
	}
	// Silent, not even the head comes before.
	begin = time.Now()
	if resp, body := s.do(t, "GET", "/slow?ms=200&silent=1", nil); resp.StatusCode != 200 || !strings.HasSuffix(string(body), "waiting.\n") {
		t.Errorf("silent: %d %q", resp.StatusCode, body)
	}
	silent, err := http.Get("http://" + s.addr + "/slow?ms=200&silent=1")
	if err != nil {
		t.Fatal(err)
	}
	silent.Body.Close()
	if took := time.Since(begin); took < 400*time.Millisecond {
		t.Errorf("two silent answers' heads took %s", took)
	}
	if resp, _ := s.do(t, "GET", "/slow?ms=60001", nil); resp.StatusCode != 400 {
		t.Errorf("more than a minute: %s", resp.Status)
	}
}

// A reader that leaves must not keep a slow page in flight.
func TestSlowEndsWithItsReader(t *testing.T) {
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+s.addr+"/slow?ms=60000", nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cancel()
	drain, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := s.srv.Shutdown(drain); err != nil {
		t.Errorf("still in flight: %v", err)
	}
}

func TestShutdownWaitsForSlow(t *testing.T) {
	s := open(t)
	resp, err := http.Get("http://" + s.addr + "/slow?ms=200")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	stopped := make(chan error, 1)
	go func() { stopped <- s.srv.Shutdown(t.Context()) }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasSuffix(string(body), "Thank you for waiting.\n") {
		t.Errorf("body %q, %v", body, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestWebSocket(t *testing.T) {
	s := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(2 * maxMessage)
	for _, msg := range []string{"hello", strings.Repeat("x", maxMessage)} {
		if err := conn.Write(ctx, websocket.MessageText, []byte(msg)); err != nil {
			t.Fatal(err)
		}
		if kind, got, err := conn.Read(ctx); err != nil || kind != websocket.MessageText || string(got) != msg {
			t.Fatalf("%d bytes came back, %v", len(got), err)
		}
	}
	// Shutdown says goodbye, and waits until the client has heard it.
	stopped := make(chan error, 1)
	go func() { stopped <- s.srv.Shutdown(ctx) }()
	if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("at shutdown: %v, want %v", err, websocket.StatusGoingAway)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// Shutdown does not wait for a WebSocket longer than it may.
func TestShutdownIsCut(t *testing.T) {
	s := open(t)
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A client that shakes hands and then never reads nor closes.
	io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want %v", err, context.DeadlineExceeded)
	}
}

func TestWebSocketRefuses(t *testing.T) {
	s := open(t)
	if resp, _ := s.do(t, "GET", "/ws", nil); resp.StatusCode != 426 {
		t.Errorf("no upgrade: %s", resp.Status)
	}
	_, resp, err := websocket.Dial(t.Context(), "ws://"+s.addr+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"http://evil.example"}}})
	if err == nil || resp.StatusCode != 403 {
		t.Errorf("another origin: %v, %v", resp, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	conn.Write(ctx, websocket.MessageBinary, make([]byte, maxMessage+1))
	if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("a large message: %v", err)
	}
}
