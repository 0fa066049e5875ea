package http1

import (
	"io"
	"net"
	"sync"
	"time"
)

// poison is a line that no HTTP/1 parser accepts at any point of a head.
// net/http answers it with 400, in its turn after the answers to what came
// before, and closes.
const poison = "\x00\r\n\r\n"

// Guard is a connection of an HTTP/1 server. What it hands to net/http has
// passed the framing scanner; in place of a byte that did not, net/http reads
// poison and then the end. Fields must not be changed after the first Read.
type Guard struct {
	net.Conn
	Begun   []byte             // was read from Conn already, and comes first
	Skip    int64              // behind Begun: bytes that are nobody's any more
	Refused func(FramingError) // told of the first refusal; nil: nobody
	// Linger throws away what a refused client still sends: closing a
	// connection with unread input resets it, and may destroy the answer. nil:
	// from Conn, for half a second.
	Linger func()

	mu      sync.Mutex // guards the following
	framing Framing
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
func (g *Guard) Read(p []byte) (int, error) {
	g.mu.Lock()
	if g.mode == dead {
		defer g.mu.Unlock()
		return g.readDead(p)
	}
	g.mu.Unlock()

	n, err := g.read(p)

	g.mu.Lock()
	defer g.mu.Unlock()
	passed := g.follow(p[:n])
	if g.mode != dead || passed > 0 {
		return passed, err
	}
	return g.readDead(p)
}

func (g *Guard) read(p []byte) (int, error) {
	if len(g.Begun) == 0 {
		for g.Skip > 0 {
			n, err := g.Conn.Read(p[:min(int64(len(p)), g.Skip)])
			if g.Skip -= int64(n); err != nil {
				return 0, err
			}
		}
		return g.Conn.Read(p)
	}
	n := copy(p, g.Begun)
	if g.Begun = g.Begun[n:]; len(g.Begun) == 0 {
		g.Begun = nil
	}
	return n, nil
}

// follow returns how many bytes of p may be passed on: all, unless the
// connection is dead now.
func (g *Guard) follow(p []byte) int {
	n := 0
	for g.mode == guarding && n < len(p) {
		k, upgrade, err := g.framing.Scan(p[n:])
		n += k
		if err != nil {
			g.die(err.(FramingError))
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

func (g *Guard) die(reason FramingError) {
	g.mode = dead
	if g.framing.InHead() {
		g.pending, g.err = poison, io.EOF
	} else {
		g.err = reason // an error of the body
	}
	if g.Refused != nil {
		g.Refused(reason)
	}
}

func (g *Guard) readDead(p []byte) (int, error) {
	if g.pending == "" {
		return 0, g.err
	}
	n := copy(p, g.pending)
	g.pending = g.pending[n:]
	return n, nil
}

// Answered is told of the final status of an exchange. After a refused upgrade
// the connection is HTTP as before, unless something arrived in between: then
// nobody knows what it was meant to be, and keep is false: close after this.
func (g *Guard) Answered() (keep bool) {
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

// Hijacked ends the guard: the connection is a tunnel now.
func (g *Guard) Hijacked() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mode = upgraded
}

// Lingers is how long a refused client gets to read why.
const Lingers = 500 * time.Millisecond

// CloseWrite ends one direction: a close_notify in TLS, a FIN in TCP.
func (g *Guard) CloseWrite() error {
	if half, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return g.Conn.Close()
}

// Close lets a refused client read why.
func (g *Guard) Close() error {
	g.mu.Lock()
	refused := g.mode == dead
	g.mu.Unlock()
	if refused {
		g.CloseWrite()
		if g.Linger != nil {
			g.Linger()
		} else {
			g.Conn.SetReadDeadline(time.Now().Add(Lingers))
			io.CopyN(io.Discard, g.Conn, 1<<20)
		}
	}
	return g.Conn.Close()
}
