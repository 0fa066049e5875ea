// Package httpcases is one table of raw HTTP for every container that proxies: what a
// client sends, what a server answers, and what must come of it, with the section of
// an RFC, or the program, that says so. Tests of the containers run it through each
// of their paths:
//
//	app := httpcases.NewApp()
//	for _, c := range httpcases.Requests {
//		for _, complaint := range c.Run(app, dial) { … }
//	}
//
// It is imported by tests alone.
package httpcases

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Patience is how long anything may take that must happen.
const Patience = 10 * time.Second

// App is a server that keeps the very bytes of each request, delimited as an old
// app would: a head up to the empty line, then Content-Length or chunks. It answers
// what it is told.
type App struct {
	Addr string

	ln     net.Listener
	mu     sync.Mutex
	script Script
	seen   []string
	conns  map[net.Conn]struct{}
	opened int
}

// Script is how the App answers; the zero value says ok. Requests for /probe, with
// which a case asks whether the connection goes on, and /end are always answered so.
type Script struct {
	Answer string            // raw; "": Fine
	Paths  map[string]string // answers by path, before that
	Early  bool              // it comes before the body is read
	Close  bool              // the connection is closed behind it
}

// Fine is the App's answer unless it is told another.
const Fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// NewApp listens on a port of its own.
func NewApp() (*App, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &App{Addr: ln.Addr().String(), ln: ln, conns: make(map[net.Conn]struct{})}
	go a.accept()
	return a, nil
}

// Close ends it, with all connections.
func (a *App) Close() {
	a.ln.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.conns {
		c.Close()
	}
}

// Reset forgets what was seen, and answers by another script from now on.
func (a *App) Reset(s Script) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.script, a.seen = s, nil
}

// Seen are the requests since then that came whole.
func (a *App) Seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.seen...)
}

// HangUp ends its side of all connections. They are gone when the other side has
// ended, too.
func (a *App) HangUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.conns {
		c.(*net.TCPConn).CloseWrite()
	}
}

// Open is how many connections there are.
func (a *App) Open() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.conns)
}

// Opened is how many connections there have been.
func (a *App) Opened() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.opened
}

func (a *App) accept() {
	for {
		c, err := a.ln.Accept()
		if err != nil {
			return
		}
		a.mu.Lock()
		a.conns[c] = struct{}{}
		a.opened++
		a.mu.Unlock()
		go func() {
			defer func() {
				c.Close()
				a.mu.Lock()
				delete(a.conns, c)
				a.mu.Unlock()
			}()
			a.serve(c)
		}()
	}
}

func (a *App) serve(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		head, err := readHead(r)
		if err != nil {
			return
		}
		a.mu.Lock()
		s := a.script
		a.mu.Unlock()
		if strings.HasPrefix(head, "GET /probe ") || strings.HasPrefix(head, "GET /end ") {
			s = Script{}
		}
		if _, target, ok := strings.Cut(head, " "); ok && s.Paths != nil {
			path, _, _ := strings.Cut(target, " ")
			path, _, _ = strings.Cut(path, "?")
			if answer, ok := s.Paths[path]; ok {
				s.Answer = answer
			}
		}
		if s.Answer == "" {
			s.Answer = Fine
		}
		if s.Early {
			io.WriteString(c, s.Answer)
			if s.Close {
				c.(*net.TCPConn).CloseWrite() // to close with unread input would be a reset
				io.Copy(io.Discard, c)
				return
			}
		}
		body, err := readBody(r, head)
		if err != nil {
			return
		}
		a.mu.Lock()
		a.seen = append(a.seen, head+body)
		a.mu.Unlock()
		if !s.Early {
			io.WriteString(c, s.Answer)
		}
		if s.Close {
			return
		}
	}
}

func readHead(r *bufio.Reader) (string, error) {
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		head.WriteString(line)
		if err != nil {
			return "", err
		}
		if strings.TrimRight(line, "\r\n") == "" {
			return head.String(), nil
		}
	}
}

func readBody(r *bufio.Reader, head string) (string, error) {
	lower := strings.ToLower(head)
	if _, after, ok := strings.Cut(lower, "\r\ncontent-length:"); ok {
		text, _, _ := strings.Cut(after, "\r\n")
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return "", err
		}
		var body strings.Builder
		_, err = io.CopyN(&body, r, n)
		return body.String(), err
	}
	if !strings.Contains(lower, "\r\ntransfer-encoding:") {
		return "", nil
	}
	var raw bytes.Buffer
	for {
		line, err := r.ReadString('\n')
		raw.WriteString(line)
		if err != nil {
			return "", err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(line), 16, 64)
		if err != nil {
			return "", err
		}
		if n == 0 {
			trailers, err := readHead(r)
			return raw.String() + trailers, err
		}
		if _, err := io.CopyN(&raw, r, n+2); err != nil {
			return "", err
		}
	}
}
