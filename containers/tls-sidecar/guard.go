package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"sync"
	"time"
)

// poison is a line that no HTTP/1 parser accepts at any point of a head.
// net/http answers it with 400, in its turn after the answers to what came
// before, and closes.
const poison = "\x00\r\n\r\n"

// guardConn is the plaintext side of an HTTP/1 connection. What it hands to
// net/http has passed the framing scanner; in place of a byte that did not,
// net/http reads poison and then the end.
type guardConn struct {
	*tls.Conn
	wire    *wireConn
	refused func(framingError) // told of the first refusal

	mu      sync.Mutex // guards the following
	framing framing
	mode    guardMode
	pending string // rest of the poison
	err     error  // what follows it
}

type guardMode uint8

const (
	guarding guardMode = iota
	// undecided: an upgrade was asked for and not yet answered. What arrives
	// is passed on; it taints, for it was not looked at.
	undecided
	tainted
	upgraded // not HTTP any more
	dead     // refused
)

// Read has one caller at a time, net/http's reader of the connection.
func (g *guardConn) Read(p []byte) (int, error) {
	g.mu.Lock()
	if g.mode == dead {
		defer g.mu.Unlock()
		return g.readDead(p)
	}
	g.mu.Unlock()

	n, err := g.Conn.Read(p)

	g.mu.Lock()
	defer g.mu.Unlock()
	passed := g.follow(p[:n])
	if g.mode != dead || passed > 0 {
		return passed, err
	}
	return g.readDead(p)
}

// follow returns how many bytes of p may be passed on: all, unless the
// connection is dead now.
func (g *guardConn) follow(p []byte) int {
	n := 0
	for g.mode == guarding && n < len(p) {
		k, upgrade, err := g.framing.scan(p[n:])
		n += k
		if err != nil {
			g.die(err.(framingError))
			return n
		}
		if upgrade {
			g.mode = undecided
		}
	}
	if g.mode == undecided && n < len(p) {
		g.mode = tainted
	}
	return len(p)
}

func (g *guardConn) die(reason framingError) {
	g.mode = dead
	if g.framing.inHead() {
		g.pending, g.err = poison, io.EOF
	} else {
		g.err = reason // an error of the body
	}
	g.refused(reason)
}

func (g *guardConn) readDead(p []byte) (int, error) {
	if g.pending == "" {
		return 0, g.err
	}
	n := copy(p, g.pending)
	g.pending = g.pending[n:]
	return n, nil
}

// answered is told of the final status of an exchange. After a refused upgrade
// the connection is HTTP as before, unless something arrived in between: then
// nobody knows what it was meant to be, and keep is false: close after this.
func (g *guardConn) answered() (keep bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch g.mode {
	case undecided:
		g.mode = guarding
	case tainted:
		g.mode, g.err = dead, io.EOF
		return false
	}
	return true
}

// hijacked ends the guard: the connection is a tunnel now.
func (g *guardConn) hijacked() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mode = upgraded
	g.wire.unlimited()
}

// lingers is how long a refused client gets to read why: closing a connection
// with unread input resets it, and may destroy the answer.
const lingers = 500 * time.Millisecond

func (g *guardConn) Close() error {
	g.mu.Lock()
	refused := g.mode == dead
	g.mu.Unlock()
	if refused {
		g.Conn.CloseWrite()
		g.wire.linger(lingers)
	}
	return g.Conn.Close()
}

// guardOf finds the guard of an HTTP/1 request, nil in HTTP/2.
func guardOf(r *http.Request) *guardConn {
	g, _ := r.Context().Value(guardKey{}).(*guardConn)
	return g
}

type guardKey struct{}
