package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"distlab/containers/internal/fastpath"
	"distlab/containers/internal/http1"
	"distlab/containers/internal/lastcall"
)

// preface begins HTTP/2 (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// conn is an accepted connection below net/http. What comes in by HTTP/1
// passes the guard. It cuts a client that has stopped reading, and gives its
// place back when it is closed.
type conn struct {
	net.Conn
	guard atomic.Pointer[http1.Guard] // nil in HTTP/2, and until the first bytes tell

	decided   bool // only the reader touches it
	begun     []byte
	released  func(*conn)
	forgotten func(*conn)
	refused   func(http1.FramingError)
	once      sync.Once

	// idle is since when it has waited for a request, in Unix nanoseconds, or
	// 0: in use. asked is whether it ever had one.
	idle  atomic.Int64
	asked atomic.Bool

	// What the fast path leaves to its first request: where it goes, and the
	// answer, if it was sent.
	decision atomic.Pointer[Decision]
	early    atomic.Pointer[http1.Early]

	stall   time.Duration // how long one write may take; 0: for ever
	set     atomic.Int64  // when the deadline was set, in Unix nanoseconds
	foreign atomic.Bool   // somebody above has a deadline of their own
	tunnel  atomic.Bool
}

// Read has one caller at a time, net/http's reader of the connection.
func (c *conn) Read(p []byte) (int, error) {
	if !c.decided {
		if err := c.sniff(); err != nil {
			return 0, err
		}
	}
	if g := c.guard.Load(); g != nil {
		return g.Read(p)
	}
	if len(c.begun) > 0 {
		n := copy(p, c.begun)
		c.begun = c.begun[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// sniff reads until the client's protocol is plain, at most the preface.
func (c *conn) sniff() error {
	var first [len(preface)]byte
	n := len(c.begun)
	copy(first[:], c.begun)
	for n < len(preface) {
		k, err := c.Conn.Read(first[n:])
		n += k
		c.begun = append(c.begun[:0], first[:n]...)
		if !strings.HasPrefix(preface, string(first[:n])) {
			c.beGuarded()
			return nil
		}
		if err != nil {
			return err
		}
	}
	c.decided = true
	return nil
}

func (c *conn) beGuarded() {
	c.guard.Store(&http1.Guard{Conn: c.Conn, Begun: c.begun, Refused: c.refused})
	c.begun, c.decided = nil, true
}

func (c *conn) Write(p []byte) (int, error) {
	if c.stall > 0 && !c.foreign.Load() && !c.tunnel.Load() {
		now := time.Now()
		if at := now.UnixNano(); at-c.set.Load() > int64(c.stall/8) {
			c.set.Store(at)
			c.Conn.SetWriteDeadline(now.Add(c.stall))
		}
	}
	return c.Conn.Write(p)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.foreign.Store(!t.IsZero())
	c.set.Store(0)
	return c.Conn.SetWriteDeadline(t)
}

func (c *conn) SetDeadline(t time.Time) error {
	c.foreign.Store(!t.IsZero())
	c.set.Store(0)
	return c.Conn.SetDeadline(t)
}

// hijacked ends guard and deadlines: in a tunnel, silence is not a fault.
func (c *conn) hijacked() {
	c.tunnel.Store(true)
	c.Conn.SetWriteDeadline(time.Time{})
	if g := c.guard.Load(); g != nil {
		g.Hijacked()
	}
}

func (c *conn) CloseWrite() error { return closeWrite(c.Conn) }

func (c *conn) Close() error {
	var err error
	if g := c.guard.Load(); g != nil {
		err = g.Close()
	} else {
		err = c.Conn.Close()
	}
	c.once.Do(func() { c.released(c) })
	c.forgotten(c)
	return err
}

// resume begins again after the fast path, with what that has read.
func (c *conn) resume(begun []byte, skip int64, h2c bool) {
	n := min(len(begun), len(preface))
	if !h2c || string(begun[:n]) != preface[:n] {
		c.guard.Store(&http1.Guard{Conn: c.Conn, Begun: begun, Skip: skip, Refused: c.refused})
		c.begun, c.decided = nil, true
		return
	}
	c.begun, c.decided = begun, n == len(preface)
}

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// door is the listener that net/http sees: it makes connections of what it
// accepts, within the limit.
type door struct {
	*lastcall.Listener
	p *Proxy
}

func (d *door) Accept() (net.Conn, error) {
	for {
		raw, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if d.p.fast != nil {
			raw = fastpath.NewSocket(raw)
		}
		if c := d.p.admit(raw); c != nil && (d.p.fast == nil || !d.p.takeFast(c)) {
			return c, nil
		}
	}
}

// admit gives a connection a place. When all are taken, the one that has been
// idle for longest makes room, or the new one is closed: then it returns nil.
func (p *Proxy) admit(raw net.Conn) *conn {
	c := &conn{Conn: raw, stall: p.Limits.Send, released: p.release, forgotten: p.forget, refused: func(reason http1.FramingError) {
		p.Log.Debug("request refused", "remote", raw.RemoteAddr().String(), "reason", string(reason))
		p.Metrics.refused.WithLabelValues("framing").Inc()
	}}
	if !p.H2C {
		c.beGuarded()
	}
	c.idle.Store(time.Now().UnixNano())
	p.mu.Lock()
	var idlest *conn
	full := p.Limits.Connections > 0 && len(p.conns) >= p.Limits.Connections
	if full {
		idlest = p.idlest()
		delete(p.conns, idlest)
	}
	if !full || idlest != nil {
		p.conns[c] = struct{}{}
	}
	p.mu.Unlock()
	switch {
	case idlest != nil:
		p.Metrics.rejected.WithLabelValues("evicted").Inc()
		go idlest.Close()
	case full:
		p.Metrics.rejected.WithLabelValues("max_connections").Inc()
		raw.Close()
		return nil
	}
	p.Metrics.connections.Inc()
	return c
}

// idlest is nil if all are in use; the caller holds mu.
func (p *Proxy) idlest() (found *conn) {
	var since int64
	for c := range p.conns {
		if at := c.idle.Load(); at > 0 && (found == nil || at < since) {
			found, since = c, at
		}
	}
	return found
}

func (p *Proxy) release(c *conn) {
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

// forget is for a request that the fast path has left, and that never came to
// be served.
func (p *Proxy) forget(c *conn) {
	if d := c.decision.Swap(nil); d != nil && d.Arm != nil {
		p.Splitter.Done(d.Arm, Outcome{})
	}
	if early := c.early.Swap(nil); early != nil {
		early.Close()
	}
}

// queue is a listener of connections that were accepted elsewhere.
type queue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newQueue() *queue { return &queue{conns: make(chan net.Conn), done: make(chan struct{})} }

func (q *queue) put(c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.done:
		c.Close()
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }

// connState is told by the HTTP server.
func (p *Proxy) connState(nc net.Conn, state http.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	switch state {
	case http.StateIdle:
		c.idle.Store(time.Now().UnixNano())
	case http.StateActive:
		c.idle.Store(0)
		c.asked.Store(true)
	case http.StateHijacked:
		c.idle.Store(0)
	}
}

// idleTimer closes a tunnel that moves no byte in either direction.
type idleTimer struct {
	net.Conn
	first io.Reader // bytes that came early; nil: none
	after time.Duration
	timer *time.Timer
}

func newTunnel(c net.Conn, first io.Reader, after time.Duration) *idleTimer {
	t := &idleTimer{Conn: c, first: first, after: after}
	if after > 0 {
		t.timer = time.AfterFunc(after, func() { c.Close() })
	}
	return t
}

func (t *idleTimer) Read(p []byte) (int, error) {
	if t.first != nil {
		if n, _ := t.first.Read(p); n > 0 {
			return n, nil
		}
		t.first = nil
	}
	n, err := t.Conn.Read(p)
	t.alive()
	return n, err
}

func (t *idleTimer) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	t.alive()
	return n, err
}

func (t *idleTimer) alive() {
	if t.timer != nil {
		t.timer.Reset(t.after)
	}
}

func (t *idleTimer) CloseWrite() error { return closeWrite(t.Conn) }

func (t *idleTimer) Close() error {
	if t.timer != nil {
		t.timer.Stop()
	}
	return t.Conn.Close()
}
