package fastpath

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"distlab/containers/internal/http1"
)

// earlyTripper returns the answer to the one request that it is given. The
// request goes nowhere: the app has it. like says how to treat answers.
func earlyTripper(e *http1.Early, like *http.Transport) http.RoundTripper {
	t := like.Clone()
	t.DisableKeepAlives = true
	t.DialContext = func(context.Context, string, string) (net.Conn, error) {
		return &earlyConn{early: e, asked: make(chan struct{})}, nil
	}
	return t
}

// earlyConn takes the request for sent, and then reads the answer: not before,
// for the transport would take it for one that nobody asked for.
type earlyConn struct {
	early *http1.Early
	asked chan struct{}
	once  sync.Once
}

func (c *earlyConn) Write(p []byte) (int, error) {
	c.once.Do(func() { close(c.asked) })
	return len(p), nil
}

func (c *earlyConn) Read(p []byte) (int, error) {
	<-c.asked
	e := c.early
	switch {
	case len(e.Begun) > 0:
		n := copy(p, e.Begun)
		e.Begun = e.Begun[n:]
		return n, nil
	case e.Err != nil:
		return 0, e.Err
	case e.Conn == nil:
		return 0, io.EOF
	}
	return e.Conn.Read(p)
}

func (c *earlyConn) Close() error {
	c.once.Do(func() { close(c.asked) })
	c.early.Close()
	return nil
}

func (c *earlyConn) LocalAddr() net.Addr                { return &net.TCPAddr{} }
func (c *earlyConn) RemoteAddr() net.Addr               { return &net.TCPAddr{} }
func (c *earlyConn) SetDeadline(t time.Time) error      { return c.set(net.Conn.SetDeadline, t) }
func (c *earlyConn) SetReadDeadline(t time.Time) error  { return c.set(net.Conn.SetReadDeadline, t) }
func (c *earlyConn) SetWriteDeadline(t time.Time) error { return c.set(net.Conn.SetWriteDeadline, t) }

func (c *earlyConn) set(f func(net.Conn, time.Time) error, t time.Time) error {
	if c.early.Conn == nil {
		return nil
	}
	return f(c.early.Conn, t)
}
