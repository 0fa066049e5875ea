package main

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// wireConn is an accepted connection below TLS. It counts bytes, gives its
// place back when it is closed, and cuts a client that has stopped reading.
type wireConn struct {
	net.Conn
	in, out  func(float64)
	released func(*wireConn)
	once     sync.Once

	fresh   *atomic.Int64 // counts it until its first request, or its end
	settled sync.Once

	// idle is since when it has waited for a request, in Unix nanoseconds, or
	// 0: in use.
	idle atomic.Int64

	// stall is how long one write may take, 0 for ever. The deadline is only
	// moved when it has become stale, and left alone while somebody above has
	// one of their own.
	stall   atomic.Int64
	foreign atomic.Bool
	set     atomic.Int64 // when the deadline was set, in Unix nanoseconds
}

func (c *wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in(float64(n))
	return n, err
}

func (c *wireConn) Write(p []byte) (int, error) {
	if stall := c.stall.Load(); stall > 0 && !c.foreign.Load() {
		now := time.Now()
		if at := now.UnixNano(); at-c.set.Load() > stall/8 {
			c.set.Store(at)
			c.Conn.SetWriteDeadline(now.Add(time.Duration(stall)))
		}
	}
	n, err := c.Conn.Write(p)
	c.out(float64(n))
	return n, err
}

func (c *wireConn) SetWriteDeadline(t time.Time) error {
	c.foreign.Store(!t.IsZero())
	c.set.Store(0)
	return c.Conn.SetWriteDeadline(t)
}

func (c *wireConn) SetDeadline(t time.Time) error {
	c.foreign.Store(!t.IsZero())
	c.set.Store(0)
	return c.Conn.SetDeadline(t)
}

// unlimited lets the client be slow from here on: in a tunnel, silence is not
// a fault.
func (c *wireConn) unlimited() {
	c.stall.Store(0)
	c.Conn.SetWriteDeadline(time.Time{})
}

// linger reads and throws away what the client still sends, for at most d.
func (c *wireConn) linger(d time.Duration) {
	c.Conn.SetReadDeadline(time.Now().Add(d))
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	io.CopyN(io.Discard, c.Conn, 1<<20)
}

func (c *wireConn) Close() error {
	err := c.Conn.Close()
	c.settle()
	c.once.Do(func() { c.released(c) })
	return err
}

// wireOf finds the wire below what the HTTP server knows.
func wireOf(c net.Conn) *wireConn {
	switch c := c.(type) {
	case *guardConn:
		return c.wire
	case *tls.Conn:
		return c.NetConn().(*wireConn)
	}
	return nil
}

// settle says that the client has had its first say: at the end, nobody waits
// for one any more.
func (c *wireConn) settle() { c.settled.Do(func() { c.fresh.Add(-1) }) }

// idleTimer closes a connection that moves no byte in either direction.
type idleTimer struct {
	net.Conn
	after time.Duration
	timer *time.Timer
}

// closeIdle wraps conn, whose reads and writes both count as life; it returns
// conn itself if after is 0.
func closeIdle(conn net.Conn, after time.Duration) net.Conn {
	if after <= 0 {
		return conn
	}
	c := &idleTimer{Conn: conn, after: after}
	c.timer = time.AfterFunc(after, func() { conn.Close() })
	return c
}

func (c *idleTimer) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.timer.Reset(c.after)
	return n, err
}

func (c *idleTimer) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.timer.Reset(c.after)
	return n, err
}

func (c *idleTimer) CloseWrite() error { return closeWrite(c.Conn) }

func (c *idleTimer) Close() error {
	c.timer.Stop()
	return c.Conn.Close()
}

// closeWrite ends one direction: a close_notify in TLS, a FIN in TCP.
func closeWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return conn.Close()
}
