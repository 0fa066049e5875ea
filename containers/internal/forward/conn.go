package forward

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"distlab/containers/internal/http1"
)

// Conn is a client's connection, below its TLS. It counts bytes, gives its place
// back when it is closed, and cuts a client that has stopped reading.
type Conn struct {
	net.Conn
	User  any          // the container's
	Addr  netip.Addr   // who is connected
	About *http1.About // what servers are told of the client; HTTP only
	TLS   *tls.Conn    // above it; nil: plain text

	door    *Door
	in, out func(float64)
	once    sync.Once
	fresh   atomic.Bool // it has never asked for anything

	// idle is since when it has waited for a request, in Unix nanoseconds, or
	// 0: in use.
	idle atomic.Int64

	// stall is how long one write may take, 0 for ever. The deadline is only
	// moved when it has become stale, and left alone while somebody above has
	// one of their own.
	stall   atomic.Int64
	foreign atomic.Bool
	set     atomic.Int64 // when the deadline was set, in Unix nanoseconds

	early atomic.Pointer[http1.Early] // the answer to the first request, which the fast path has sent
}

func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.in != nil {
		c.in(float64(n))
	}
	return n, err
}

func (c *Conn) Write(p []byte) (int, error) {
	if stall := c.stall.Load(); stall > 0 && !c.foreign.Load() {
		now := time.Now()
		if at := now.UnixNano(); at-c.set.Load() > stall/8 {
			c.set.Store(at)
			c.Conn.SetWriteDeadline(now.Add(time.Duration(stall)))
		}
	}
	n, err := c.Conn.Write(p)
	if c.out != nil {
		c.out(float64(n))
	}
	return n, err
}

func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.foreign.Store(!t.IsZero())
	c.set.Store(0)
	return c.Conn.SetWriteDeadline(t)
}

func (c *Conn) SetDeadline(t time.Time) error {
	c.foreign.Store(!t.IsZero())
	c.set.Store(0)
	return c.Conn.SetDeadline(t)
}

// CloseWrite says that nothing more will come.
func (c *Conn) CloseWrite() error { return CloseWrite(c.Conn) }

// unlimited lets the client be slow from here on: in a tunnel, silence is not
// a fault.
func (c *Conn) unlimited() {
	c.stall.Store(0)
	c.Conn.SetWriteDeadline(time.Time{})
}

// Settle says that the client has had its first say: at the end, nobody waits
// for one any more.
func (c *Conn) Settle() {
	if c.fresh.CompareAndSwap(true, false) {
		c.door.fresh.Add(-1)
	}
}

// Busy and Idle say whether the client waits for an answer. An idle one may have
// to make room.
func (c *Conn) Busy() { c.idle.Store(0) }
func (c *Conn) Idle() { c.idle.Store(time.Now().UnixNano()) }

// Close gives the place back.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	c.Settle()
	c.once.Do(func() { c.door.release(c) })
	return err
}

// How long a client that is still sending gets to read why it is not listened to
// any more: in all, and without a byte. To close a connection with unread input
// resets it, and may destroy the answer on its way.
//
// Source: RFC 9112 section 9.6; the times are nginx's lingering_time and
// lingering_timeout.
const (
	lingers = 30 * time.Second
	quietly = 5 * time.Second
)

// linger ends the connection, above which everything has been said, when the
// client has read it: it says so, throws away what still comes, and closes. It
// returns at once.
func (c *Conn) linger(total, quiet time.Duration) {
	c.Idle() // it may have to make room meanwhile
	c.door.lingering.Add(1)
	go func() {
		defer c.door.lingering.Add(-1)
		defer c.Close()
		c.Conn.SetWriteDeadline(time.Now().Add(quiet))
		c.CloseWrite()
		buf := largeBuffers.Get().(*[]byte)
		defer largeBuffers.Put(buf)
		for end := time.Now().Add(total); time.Now().Before(end); {
			if c.door.retired.Load() {
				quiet = min(quiet, http1.Lingers)
				end = earlier(end, time.Now().Add(quiet))
			}
			c.Conn.SetReadDeadline(earlier(end, time.Now().Add(quiet)))
			if _, err := c.Conn.Read(*buf); err != nil {
				return
			}
		}
	}()
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// preface begins HTTP/2 (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// served is a connection as net/http's server sees it, but for HTTP/2 in TLS. What
// comes in by HTTP/1 passes the guard.
type served struct {
	net.Conn // the plaintext side
	wire     *Conn
	refused  func(http1.FramingError)
	guard    atomic.Pointer[http1.Guard] // nil in HTTP/2, and until the first bytes tell

	decided bool // only the reader touches it
	begun   []byte

	stopped   atomic.Bool // nothing more is read: the last answer has been given
	overtaken atomic.Bool // before its request had come whole
}

// serve makes it of a connection of which begun was read. h2c leaves it to the
// client what it speaks.
func (c *Conn) serve(refused func(http1.FramingError), begun []byte, h2c bool) *served {
	s := &served{Conn: c, wire: c, refused: refused, begun: begun}
	if c.TLS != nil {
		s.Conn = c.TLS
	}
	n := min(len(begun), len(preface))
	if h2c && string(begun[:n]) == preface[:n] {
		s.decided = n == len(preface)
	} else {
		s.beGuarded()
	}
	return s
}

func (s *served) beGuarded() {
	s.guard.Store(&http1.Guard{Conn: s.Conn, Begun: s.begun, Refused: s.refused})
	s.begun, s.decided = nil, true
}

// Read has one caller at a time, net/http's reader of the connection.
func (s *served) Read(p []byte) (int, error) {
	if !s.decided {
		if err := s.sniff(); err != nil {
			return 0, err
		}
	}
	if g := s.guard.Load(); g != nil {
		return g.Read(p)
	}
	if len(s.begun) > 0 {
		n := copy(p, s.begun)
		s.begun = s.begun[n:]
		return n, nil
	}
	return s.Conn.Read(p)
}

// sniff reads until the client's protocol is plain, at most the preface.
func (s *served) sniff() error {
	var first [len(preface)]byte
	n := copy(first[:], s.begun)
	for n < len(preface) {
		k, err := s.Conn.Read(first[n:])
		n += k
		s.begun = append(s.begun[:0], first[:n]...)
		if !strings.HasPrefix(preface, string(first[:n])) {
			s.beGuarded()
			return nil
		}
		if err != nil {
			return err
		}
	}
	s.decided = true
	return nil
}

// hijacked ends guard and deadlines: it is a tunnel now.
func (s *served) hijacked() {
	s.wire.unlimited()
	if g := s.guard.Load(); g != nil {
		g.Hijacked()
	}
}

// stop has nothing more be read as a request, and the client be let down gently:
// all the more if it is still sending.
func (s *served) stop(overtaken bool) {
	s.overtaken.Store(overtaken)
	s.stopped.Store(true)
	if g := s.guard.Load(); g != nil {
		g.Stop()
	}
}

func (s *served) CloseWrite() error { return CloseWrite(s.Conn) }

// Close lets a client that is still sending read its answer.
func (s *served) Close() error {
	if early := s.wire.early.Swap(nil); early != nil {
		early.Close() // nobody came for it
	}
	g := s.guard.Load()
	refused := g != nil && g.Dead() && !s.stopped.Load()
	if !refused && !s.stopped.Load() {
		return s.Conn.Close()
	}
	if s.wire.TLS != nil {
		s.wire.SetWriteDeadline(time.Now().Add(quietly))
		s.wire.TLS.CloseWrite()
	}
	if refused || s.overtaken.Load() {
		s.wire.linger(lingers, quietly)
	} else {
		s.wire.linger(http1.Lingers, http1.Lingers)
	}
	return nil
}
