package fastpath

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"distlab/containers/internal/http1"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// proxy is a small plain-text proxy: what a container does, in short.
type proxy struct {
	*Path
	backend *Backend
	headers *http1.Forwarder
	addr    string

	begun, undone, careful atomic.Int64

	mu       sync.Mutex
	statuses []int
}

func (p *proxy) Begin(c *Client, r *http1.Request) *Backend {
	p.begun.Add(1)
	return p.backend
}

func (p *proxy) Lines(dst []byte, c *Client, r *http1.Request) []byte {
	return p.headers.Lines(dst, c.User.(*http1.About), r)
}

func (p *proxy) Answer(dst []byte, c *Client, r *http1.Response) ([]byte, bool, bool) {
	return dst, false, true
}

func (p *proxy) End(c *Client, status int, how Ending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.statuses = append(p.statuses, status)
}

func (p *proxy) ended() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprint(p.statuses)
}

func (p *proxy) Undo(c *Client) { p.undone.Add(1) }

func (p *proxy) BadBody(c *Client, slow bool) ([]byte, int) {
	if slow {
		return []byte("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), 408
	}
	return []byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), 400
}

// Careful has no careful path: package forward has, and the tests of both.
func (p *proxy) Careful(h *Handover) {
	p.careful.Add(1)
	if h.Early != nil {
		h.Early.Close()
	}
	h.Client.Socket.Close()
}

func (p *proxy) Closed(c *Client) { c.Socket.Close() }

// startProxy serves in front of app.
func startProxy(t *testing.T, app string, limits Limits) *proxy {
	t.Helper()
	p := &proxy{headers: &http1.Forwarder{Scheme: "http"}}
	p.backend = &Backend{Dial: func() (net.Conn, error) { return net.Dial("tcp", app) }}
	p.Path = &Path{Policy: p, Limits: limits}
	if err := p.Start(2); err != nil {
		t.Fatal(err)
	}
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	p.addr = ln.Addr().String()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			says := p.headers.About(http1.RemoteAddr(conn.RemoteAddr().String()), nil)
			if !p.Take(&Client{Socket: NewSocket(conn), User: says}) {
				conn.Close()
			}
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		p.Close()
	})
	return p
}

// app answers with raw bytes, by path, and keeps what it was asked.
type app struct {
	addr    string
	answers map[string]string
	conns   atomic.Int64

	mu    sync.Mutex
	asked []string
}

// What an answer ends with says what becomes of the connection.
const (
	hangsUp = "\x00hang up"
	silence = "\x00silence"
	unread  = "\x00unread" // at the beginning: the body is not waited for
	whole   = "\x00whole"  // behind unread: what follows is said when the body has come
)

func startApp(t *testing.T, answers map[string]string) *app {
	t.Helper()
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	a := &app{addr: ln.Addr().String(), answers: answers}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			a.conns.Add(1)
			go a.serve(conn)
		}
	}()
	return a
}

func (a *app) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		answer, ok := a.answers[req.URL.Path]
		if !ok {
			answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
		}
		early := strings.HasPrefix(answer, unread)
		answer = strings.TrimPrefix(answer, unread)
		if early {
			first, rest, two := strings.Cut(answer, whole)
			io.WriteString(conn, strings.TrimSuffix(first, hangsUp))
			if strings.HasSuffix(first, hangsUp) {
				return
			}
			if early = !two; two {
				answer = rest
			}
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		var text bytes.Buffer
		fmt.Fprintf(&text, "%s %s %s %d\n", req.Method, req.RequestURI, req.Host, len(body))
		req.Header.Write(&text)
		if len(body) < 100 {
			text.Write(body)
		}
		a.mu.Lock()
		a.asked = append(a.asked, text.String())
		a.mu.Unlock()
		switch {
		case strings.HasSuffix(answer, silence):
			io.WriteString(conn, strings.TrimSuffix(answer, silence))
			io.Copy(io.Discard, r)
			return
		case strings.HasSuffix(answer, hangsUp):
			if !early {
				io.WriteString(conn, strings.TrimSuffix(answer, hangsUp))
			}
			return
		case !early:
			io.WriteString(conn, answer)
		}
	}
}

func (a *app) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.asked...)
}

func dial(t *testing.T, p *proxy) *net.TCPConn {
	t.Helper()
	conn := must(net.Dial("tcp", p.addr)).(*net.TCPConn)
	conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { conn.Close() })
	return conn
}
