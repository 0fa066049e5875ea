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
	Refused func(FramingError) // told of the first refusal; nil: nobody

	mu      sync.Mutex // guards the following
	framing Framing
	empty   int  // empty lines before the next request
	cr      bool // half of one has come
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
	for {
		g.mu.Lock()
		if g.mode == dead {
			defer g.mu.Unlock()
			return g.readDead(p)
		}
		g.mu.Unlock()

		n, err := g.read(p)

		g.mu.Lock()
		passed := g.follow(p[:n])
		if g.mode == dead && passed == 0 {
			defer g.mu.Unlock()
			return g.readDead(p)
		}
		g.mu.Unlock()
		if passed > 0 || n == 0 || err != nil {
			return passed, err
		}
	}
}

func (g *Guard) read(p []byte) (int, error) {
	if len(g.Begun) == 0 {
		return g.Conn.Read(p)
	}
	n := copy(p, g.Begun)
	if g.Begun = g.Begun[n:]; len(g.Begun) == 0 {
		g.Begun = nil
	}
	return n, nil
}

// follow returns how many bytes of p may be passed on, from its beginning: all, but
// for empty lines before a request, unless the connection is dead now.
func (g *Guard) follow(p []byte) int {
	out := 0
	for in := 0; in < len(p); {
		switch {
		case g.mode == dead:
			return out
		case g.mode == undecided:
			g.mode = tainted
		}
		if g.mode != guarding {
			return out + copy(p[out:], p[in:])
		}
		if g.emptyLine(p[in]) {
			in++
			continue
		}
		if g.mode == dead {
			return out
		}
		k, upgrade, err := g.framing.Scan(p[in:])
		if out != in {
			copy(p[out:], p[in:in+k])
		}
		in, out = in+k, out+k
		if err != nil {
			g.die(err.(FramingError))
			return out
		}
		if upgrade {
			g.mode = undecided
		}
		g.empty = 0
	}
	return out
}

// maxEmpty is how many empty lines before a request are nobody's business: some
// clients end a body with one (RFC 9112 section 2.2).
const maxEmpty = 4

// emptyLine takes out an empty line before a request, which net/http would not.
func (g *Guard) emptyLine(b byte) bool {
	switch {
	case g.cr && b == '\n':
		g.cr = false
		g.empty++
		return true
	case g.cr:
		g.die(FramingError("bare carriage return"))
	case b == '\r' && g.framing.Fresh() && g.empty < maxEmpty:
		g.cr = true
		return true
	}
	return false
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

// Stop ends the connection for its reader: what comes from now on is nobody's.
func (g *Guard) Stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mode != dead {
		g.mode, g.err = dead, io.EOF
	}
}

// Dead is whether it was refused, or stopped: then the client may still be
// sending, and should get to read why before the connection is closed.
func (g *Guard) Dead() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mode == dead
}

// Lingers is how long a client that has nothing left to say gets to see the end.
const Lingers = 500 * time.Millisecond

// CloseWrite ends one direction: a close_notify in TLS, a FIN in TCP.
func (g *Guard) CloseWrite() error {
	if half, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return g.Conn.Close()
}
