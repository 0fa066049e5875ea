package main

import (
	"net"
	"sync"
	"time"

	"distlab/containers/internal/forward"
	"distlab/containers/internal/reactor"
)

// socket is a client's TCP connection below its TLS: Go's at first, then a
// loop's. There it does not wait: a read of nothing fails with
// os.ErrDeadlineExceeded, which crypto/tls takes for what it is, a read to be
// tried again, and a write keeps what the kernel does not take. Any goroutine may
// close it.
type socket struct {
	end
	local, remote net.Addr

	mu     sync.Mutex // guards the following
	conn   net.Conn   // Go's; nil in the loop
	duct   *duct      // in the loop
	closed bool
}

func newSocket(conn net.Conn) *socket {
	return &socket{conn: conn, local: conn.LocalAddr(), remote: conn.RemoteAddr()}
}

// detach takes it out of Go's hands.
func (s *socket) detach(d *duct) (fd int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return -1, false
	}
	fd, err := reactor.Detach(s.conn)
	if err != nil {
		return -1, false
	}
	s.conn, s.duct = nil, d
	return fd, true
}

func (s *socket) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close closes the connection. In a loop that is done soon.
func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.conn != nil {
		return s.conn.Close()
	}
	s.duct.on.loop.Post(s.duct.cut)
	return nil
}

func (s *socket) Read(p []byte) (int, error) {
	if s.source == nil {
		return s.conn.Read(p)
	}
	return s.end.read(p)
}

func (s *socket) Write(p []byte) (int, error) {
	switch {
	case s.source == nil:
		return s.conn.Write(p)
	case s.corked:
		s.duct.on.cork = append(s.duct.on.cork, p...)
		return len(p), nil
	}
	return len(p), s.end.write(s.duct.on, p)
}

func (s *socket) LocalAddr() net.Addr  { return s.local }
func (s *socket) RemoteAddr() net.Addr { return s.remote }

// CloseWrite is for the time before there is a loop.
func (s *socket) CloseWrite() error { return forward.CloseWrite(s.conn) }

// Deadlines are Go's. The loop has its own.

func (s *socket) SetDeadline(t time.Time) error      { return s.deadline(net.Conn.SetDeadline, t) }
func (s *socket) SetReadDeadline(t time.Time) error  { return s.deadline(net.Conn.SetReadDeadline, t) }
func (s *socket) SetWriteDeadline(t time.Time) error { return s.deadline(net.Conn.SetWriteDeadline, t) }

func (s *socket) deadline(set func(net.Conn, time.Time) error, t time.Time) error {
	if s.source != nil {
		return nil
	}
	return set(s.conn, t)
}
