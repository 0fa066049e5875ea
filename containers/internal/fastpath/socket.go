package fastpath

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"distlab/containers/internal/reactor"
)

// Socket is a client's TCP connection, which is at first, and may be again, one
// of Go's, and in between a loop's. In the loop it does not wait: a read of
// nothing fails with os.ErrDeadlineExceeded, which crypto/tls takes for what it
// is, a read to be tried again; a write takes everything, and what the kernel
// does not take is kept. The loop writes no more until that is gone.
//
// One goroutine at a time reads and writes it: the one that shakes hands, the
// loop, the careful path's. Any may close it.
type Socket struct {
	local, remote net.Addr

	mu     sync.Mutex // guards the following against Close
	conn   net.Conn   // Go's; nil in the loop
	client *Client    // in the loop
	closed bool

	// The loop's own.
	source   *reactor.Source
	readable bool   // there may be something to read
	hangup   bool   // the end is near: a short read does not mean that there is no more
	corked   bool   // writes are gathered in the worker's buffer
	out      []byte // what the kernel did not take
}

// NewSocket makes a socket of an accepted connection.
func NewSocket(conn net.Conn) *Socket {
	return &Socket{conn: conn, local: conn.LocalAddr(), remote: conn.RemoteAddr()}
}

// detached puts the socket into the loop of c.
func (s *Socket) detached(c *Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.client = nil, c
}

// attached gives it back to Go. It is false if it was closed meanwhile.
func (s *Socket) attached(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return false
	}
	s.conn, s.client, s.source = conn, nil, nil
	return true
}

// Close closes the connection, wherever it is. In a loop that is done soon.
func (s *Socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.conn != nil {
		return s.conn.Close()
	}
	if c := s.client; c != nil {
		c.worker.loop.Post(c.cut)
	}
	return nil
}

func (s *Socket) Read(p []byte) (int, error) {
	if s.source == nil {
		return s.conn.Read(p)
	}
	if !s.readable {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := s.source.Read(p)
	switch {
	case errors.Is(err, reactor.ErrAgain):
		s.readable = false
		return 0, os.ErrDeadlineExceeded
	case err == nil && n < len(p) && !s.hangup:
		s.readable = false
	}
	return n, err
}

func (s *Socket) Write(p []byte) (int, error) {
	switch {
	case s.source == nil:
		return s.conn.Write(p)
	case s.corked:
		w := s.client.worker
		w.cork = append(w.cork, p...)
		return len(p), nil
	}
	return len(p), s.send(p)
}

// send writes, and keeps what the kernel does not take.
func (s *Socket) send(p []byte) error {
	if len(s.out) > 0 {
		s.out = append(s.out, p...)
		return nil
	}
	n, err := s.source.Write(p)
	if errors.Is(err, reactor.ErrAgain) {
		s.out = append(s.client.worker.buffer(), p[n:]...)
		return nil
	}
	return err
}

// flush writes what was kept. moved says whether anything went.
func (s *Socket) flush() (moved bool, err error) {
	if len(s.out) == 0 {
		return false, nil
	}
	n, err := s.source.Write(s.out)
	rest := s.out[n:]
	if len(rest) == 0 {
		s.client.worker.release(s.out)
		s.out = nil
	} else {
		s.out = s.out[:copy(s.out, rest)]
	}
	if errors.Is(err, reactor.ErrAgain) {
		err = nil
	}
	return n > 0, err
}

// CloseWrite says to the client that nothing more will come.
func (s *Socket) CloseWrite() error {
	if s.source != nil {
		return s.source.CloseWrite()
	}
	if half, ok := s.conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return s.conn.Close()
}

func (s *Socket) LocalAddr() net.Addr  { return s.local }
func (s *Socket) RemoteAddr() net.Addr { return s.remote }

// Deadlines are Go's. The loop has its own.

func (s *Socket) SetDeadline(t time.Time) error {
	if s.source != nil {
		return nil
	}
	return s.conn.SetDeadline(t)
}

func (s *Socket) SetReadDeadline(t time.Time) error {
	if s.source != nil {
		return nil
	}
	return s.conn.SetReadDeadline(t)
}

func (s *Socket) SetWriteDeadline(t time.Time) error {
	if s.source != nil {
		return nil
	}
	return s.conn.SetWriteDeadline(t)
}

// again is true for an error that says only that there is nothing yet.
func again(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, reactor.ErrAgain)
}

var _ io.ReadWriteCloser = (*Socket)(nil)
